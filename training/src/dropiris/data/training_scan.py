"""A case held in memory for training: canonical orientation, scaled intensities, what it contains and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from scipy import ndimage

from dropiris.data.labelled_scan import looking_alike, without_side
from dropiris.data.nnunet import Case, Dataset
from dropiris.data.volume_cache import Prepared, VolumeCache
from dropiris.data.windows import averaged_levels, level_origin
from dropiris.geometry import CanonicalGrid
from dropiris.inference.working_spacing import COARSEST, structure_spacing
from dropiris.intensity import IntensityRule, looks_like_ct


@dataclass(frozen=True)
class Content:
    """One structure of a scan: where it lies and the voxel size it is best seen at."""

    name: str
    value: int
    low: np.ndarray  # mm from the first voxel, corner of its box
    high: np.ndarray
    spacing: float  # mm


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
        all scans of a dataset.
    """

    name: str
    levels: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    labels: np.ndarray
    voxel: np.ndarray
    contents: dict[str, Content]
    groups: np.ndarray

    @property
    def extent(self) -> np.ndarray:
        """Size of the volume in mm."""
        return np.array(self.labels.shape) * self.voxel

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
    left_out: Sequence[str] = (),
) -> TrainingScan:
    """A case ready for training, from the cache where it has been prepared before.

    Parameters
    ----------
    known_spacings : dict, optional
        Working spacings measured on another case of the dataset, used instead of measuring them again (a whole-brain
        label map with 40 structures takes 20 s).
    left_out : sequence of str
        Patterns of structures that are shown, but never asked for ("extra_cerebral_*").
    """
    recipe = {
        "for": "TrainingScan 2",  # count up when prepare_scan changes what it makes
        "rule": rule.to_json(),
        "structures": dataset.structures,
        "annotated": dataset.partially_labelled.get(case.name),
        "spacings": known_spacings or {},
        "coarsest": COARSEST,
        "left_out": list(left_out),
    }
    prepared = (cache or VolumeCache(False)).get(
        case, recipe, lambda: _to_entry(prepare_scan(case, dataset, rule, known_spacings, left_out))
    )
    return _from_entry(case.name, prepared)


def _to_entry(scan: TrainingScan) -> Prepared:
    arrays = {f"level{n}": array for n, (array, _, _) in enumerate(scan.levels)} | {"labels": scan.labels}
    contents = [[c.name, c.value, list(c.low), list(c.high), c.spacing] for c in scan.contents.values()]
    grids = [[list(voxel), list(origin)] for _, voxel, origin in scan.levels]
    facts = {"grids": grids, "voxel": list(scan.voxel), "contents": contents, "groups": scan.groups.tolist()}
    return Prepared(arrays, facts)


def _from_entry(name: str, prepared: Prepared) -> TrainingScan:
    arrays, facts = prepared
    grids = [(np.array(voxel), np.array(origin)) for voxel, origin in facts["grids"]]
    contents = [Content(c, value, np.array(low), np.array(high), mm) for c, value, low, high, mm in facts["contents"]]
    return TrainingScan(
        name=name,
        levels=[(arrays[f"level{n}"], voxel, origin) for n, (voxel, origin) in enumerate(grids)],
        labels=arrays["labels"],
        voxel=np.array(facts["voxel"]),
        contents={content.name: content for content in contents},
        groups=np.array(facts["groups"]),
    )


def prepare_scan(
    case: Case,
    dataset: Dataset,
    rule: IntensityRule,
    known_spacings: dict[str, float] | None = None,
    left_out: Sequence[str] = (),
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
        image = rule.apply(grid.image_to_model(volume.array), looks_like_ct(volume))
        levels = [
            (a[None], v, level_origin(v, grid.spacing)) for a, v in averaged_levels(image, grid.spacing, COARSEST)
        ]
    allowed = dataset.partially_labelled.get(case.name, list(dataset.structures))
    boxes = ndimage.find_objects(numbered)
    contents = {}
    for name, value in dataset.structures.items():
        if name not in allowed or value not in values or any(fnmatchcase(name, pattern) for pattern in left_out):
            continue
        number = int(np.searchsorted(values, value)) + 1
        box = boxes[number - 1]
        mask = numbered[box] == number
        if mask.sum() < 8:
            continue
        wanted = (known_spacings or {}).get(name) or structure_spacing(mask, grid.spacing)
        low, high = (np.array([getattr(s, end) for s in box]) * grid.spacing for end in ("start", "stop"))
        contents[name] = Content(name, number, low, high, float(wanted))
    return TrainingScan(case.name, levels, numbered, grid.spacing, contents, groups_of(values, dataset))


def groups_of(values: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Groups (n + 1,) of a scan's values, as all scans of the dataset number them; 0 is what has no label."""
    known = list(dataset.structures.items())
    alike = looking_alike([without_side(name) for name, _ in known], [value for _, value in known], dataset)
    group = {value: int(alike[place]) for place, (_, value) in enumerate(known, start=1)}
    unnamed = int(alike.max()) + 1
    return np.array([0, *(group.get(int(value), unnamed) for value in values)])
