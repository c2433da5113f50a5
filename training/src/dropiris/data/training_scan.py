"""A case held in memory for training: canonical orientation, scaled intensities, what it contains and where."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property

import numpy as np
from scipy import ndimage

from dropiris.data.labelled_scan import OUTER, looking_alike, surroundings, without_side
from dropiris.data.nnunet import Case, Dataset
from dropiris.data.sequences import tissues_of
from dropiris.data.volume_cache import Prepared, VolumeCache
from dropiris.data.windows import averaged_levels, level_origin
from dropiris.geometry import CanonicalGrid
from dropiris.inference.working_spacing import COARSEST, spacing_together, structure_spacing
from dropiris.intensity import IntensityRule, looks_like_ct


@dataclass(frozen=True)
class Content:
    """One structure of a scan: where it lies and the voxel size it is best seen at."""

    name: str
    values: tuple[int, ...]  # several for a union, such as both sides
    low: np.ndarray  # mm from the first voxel, corner of its box
    high: np.ndarray
    spacing: float  # mm


@dataclass(frozen=True)
class Asked:
    """Which structures of a dataset episodes ask for.

    Attributes
    ----------
    left_out : sequence of str
        Patterns of structures that are shown, but never asked for ("extra_cerebral_*").
    unions : dict
        Name to patterns of structures that are asked for as one as well ("kidneys": ["*_kidney"]).
    """

    left_out: Sequence[str] = ()
    unions: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def of(self, structures: Mapping[str, int], annotated: Collection[str]) -> dict[str, list[int]]:
        """Ids of each annotated structure, and of each union of two or more that are all annotated."""
        wanted = [name for name in structures if name in annotated and not _matches(name, self.left_out)]
        found = {name: [structures[name]] for name in wanted}
        for union, patterns in self.unions.items():
            parts = [name for name in structures if _matches(name, patterns)]
            if len(parts) > 1 and all(name in annotated for name in parts):
                found[union] = [structures[name] for name in parts]
        return found


EVERYTHING = Asked()


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


@dataclass
class TrainingScan:
    """One case in memory.

    Attributes
    ----------
    levels : list of (array (1, I, J, K), voxel (3,), origin (3,))
        Image from fine to coarse; empty for a label map without an image.
    labels : ndarray (I, J, K)
        Values renumbered 1..n in the order of ``contents``'s dataset; other ids of the file keep a number too, so
        rendering can give them an intensity.
    groups : ndarray (n + 1,)
        What a number looks like when it is rendered: left and right of a structure are one group, which is the same in
        all scans of a dataset. Last come the parts of what nobody labelled.
    outer : tuple of int
        Numbers of what lies outside the brain.
    tissues : ndarray (n + 1,) or empty
        Of a brain: each number's tissue in :mod:`dropiris.data.sequences`, -1 where it has none.
    """

    name: str
    levels: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    labels: np.ndarray
    voxel: np.ndarray
    contents: dict[str, Content]
    groups: np.ndarray
    outer: tuple[int, ...] = ()
    tissues: np.ndarray = field(default_factory=lambda: np.empty(0, int))

    @property
    def extent(self) -> np.ndarray:
        """Size of the volume in mm."""
        return np.array(self.labels.shape) * self.voxel

    def spacing_of(self, name: str) -> float:
        """Working voxel size of a structure (mm), as inference chooses it where everything is labelled."""
        return max(self.contents[name].spacing, self._together)

    @cached_property
    def _together(self) -> float:
        low = np.min([content.low for content in self.contents.values()], axis=0)
        high = np.max([content.high for content in self.contents.values()], axis=0)
        return spacing_together(high - low)

    def level_for(self, spacing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The coarsest level that is still finer than the wanted spacing."""
        fitting = [level for level in self.levels if level[1].min() <= max(spacing, self.voxel.min()) + 1e-6]
        return fitting[-1] if fitting else self.levels[0]


def load_scan(
    case: Case,
    dataset: Dataset,
    rule: IntensityRule,
    known_spacings: dict[str, float] | None = None,
    cache: VolumeCache | None = None,
    asked: Asked = EVERYTHING,
    clusters: int = 0,
) -> TrainingScan:
    """A case ready for training, from the cache where it has been prepared before.

    Parameters
    ----------
    known_spacings : dict, optional
        Working spacings measured on another case of the dataset, used instead of measuring them again (a whole-brain
        label map with 40 structures takes 20 s).
    asked : Asked
        Its structures and unions become ``contents``.
    clusters : int
        Where there is an image: parts of like intensity that its unlabelled surroundings are cut into, to be rendered.
    """
    recipe = {
        "for": "TrainingScan 7",  # count up when prepare_scan changes what it makes
        "rule": rule.to_json(),
        "structures": dataset.structures,
        "annotated": dataset.partially_labelled.get(case.name),
        "spacings": known_spacings or {},
        "coarsest": COARSEST,
        "left_out": list(asked.left_out),
        "unions": {name: list(parts) for name, parts in asked.unions.items()},
        "clusters": clusters,
    }
    prepared = (cache or VolumeCache(False)).get(
        case, recipe, lambda: _to_entry(prepare_scan(case, dataset, rule, known_spacings, asked, clusters))
    )
    return _from_entry(case.name, prepared)


def _to_entry(scan: TrainingScan) -> Prepared:
    arrays = {f"level{n}": array for n, (array, _, _) in enumerate(scan.levels)} | {"labels": scan.labels}
    contents = [[c.name, list(c.values), list(c.low), list(c.high), c.spacing] for c in scan.contents.values()]
    grids = [[list(voxel), list(origin)] for _, voxel, origin in scan.levels]
    facts = {"grids": grids, "voxel": list(scan.voxel), "contents": contents, "groups": scan.groups.tolist()}
    facts |= {"outer": list(scan.outer), "tissues": scan.tissues.tolist()}
    return Prepared(arrays, facts)


def _from_entry(name: str, prepared: Prepared) -> TrainingScan:
    arrays, facts = prepared
    grids = [(np.array(voxel), np.array(origin)) for voxel, origin in facts["grids"]]
    contents = [
        Content(name, tuple(values), np.array(low), np.array(high), mm)
        for name, values, low, high, mm in facts["contents"]
    ]
    return TrainingScan(
        name=name,
        levels=[(arrays[f"level{n}"], voxel, origin) for n, (voxel, origin) in enumerate(grids)],
        labels=arrays["labels"],
        voxel=np.array(facts["voxel"]),
        contents={content.name: content for content in contents},
        groups=np.array(facts["groups"]),
        outer=tuple(facts["outer"]),
        tissues=np.array(facts["tissues"], int),
    )


def prepare_scan(
    case: Case,
    dataset: Dataset,
    rule: IntensityRule,
    known_spacings: dict[str, float] | None = None,
    asked: Asked = EVERYTHING,
    clusters: int = 0,
) -> TrainingScan:
    """Read a case into memory; parameters as in :func:`load_scan`."""
    volume, label_map = case.read()
    grid = CanonicalGrid.over(label_map.shape, label_map.affine, None)
    labels = grid.labels_to_model(label_map.array)
    values = np.unique(labels)
    values = values[values > 0]
    numbered = np.searchsorted(values, labels) + 1
    numbered = np.where(labels > 0, numbered, 0).astype(np.uint8 if len(values) < 255 else np.uint16)
    levels: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    if volume is not None:
        turned = grid.image_to_model(volume.array)
        image = rule.apply(turned, looks_like_ct(volume))
        levels = [
            (a[None], v, level_origin(v, grid.spacing)) for a, v in averaged_levels(image, grid.spacing, COARSEST)
        ]
    allowed = dataset.partially_labelled.get(case.name, list(dataset.structures))
    boxes = ndimage.find_objects(numbered)
    contents = {}
    for name, ids in asked.of(dataset.structures, allowed).items():
        numbers = [int(np.searchsorted(values, value)) + 1 for value in ids if value in values]
        if not numbers:
            continue
        box = _around([boxes[number - 1] for number in numbers])
        mask = np.isin(numbered[box], numbers)
        if mask.sum() < 8:
            continue
        wanted = (known_spacings or {}).get(name) or structure_spacing(mask, grid.spacing)
        low, high = (np.array([getattr(s, end) for s in box]) * grid.spacing for end in ("start", "stop"))
        contents[name] = Content(name, tuple(numbers), low, high, float(wanted))
    groups = groups_of(values, dataset)
    if clusters and volume is not None and len(values) + clusters < 255:
        parts = surroundings(turned, numbered == 0, clusters)
        numbered = np.where(parts > 0, parts + len(values), numbered).astype(np.uint8)
        beyond = 2 + len(dataset.structures)  # the same groups in every scan of the dataset
        groups = np.concatenate([groups, beyond + np.arange(clusters)])
    outer = outside_the_brain(values, dataset)
    called = {value: without_side(name) for name, value in dataset.structures.items()}
    tissues = tissues_of([called.get(int(value), "") for value in values])
    if not (tissues >= 0).any():
        tissues = tissues[:0]
    return TrainingScan(case.name, levels, numbered, grid.spacing, contents, groups, outer, tissues)


def _around(boxes: Sequence[tuple[slice, ...]]) -> tuple[slice, ...]:
    """The smallest box that holds all of them."""
    return tuple(slice(min(s.start for s in along), max(s.stop for s in along)) for along in zip(*boxes, strict=True))


def outside_the_brain(values: np.ndarray, dataset: Dataset) -> tuple[int, ...]:
    """Numbers of the values that are parts of a head, not of its brain."""
    ids = {value for name, value in dataset.structures.items() if without_side(name).startswith(OUTER)}
    return tuple(number for number, value in enumerate(values.tolist(), start=1) if value in ids)


def groups_of(values: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Groups (n + 1,) of a scan's values, as all scans of the dataset number them; 0 is what has no label."""
    known = list(dataset.structures.items())
    alike = looking_alike([without_side(name) for name, _ in known], [value for _, value in known], dataset)
    group = {value: int(alike[place]) for place, (_, value) in enumerate(known, start=1)}
    unnamed = int(alike.max()) + 1
    return np.array([0, *(group.get(int(value), unnamed) for value in values)])
