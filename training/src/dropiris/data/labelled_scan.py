"""A label map to render: what its numbers are called, which of them look alike, and what surrounds what is labelled."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage
from scipy.cluster.vq import kmeans2

from dropiris.data.nnunet import Case, Dataset
from dropiris.errors import InputError
from dropiris.geometry import CanonicalGrid

UNNAMED = 0
# What is stripped from a head to leave the brain, as SynthSeg's label maps call it.
OUTER = "extra cerebral"
_SIDE = re.compile(r"\b(left|right|l|r)\b")
_PART = re.compile(r"\bpart \d+$")
# Parts of a head that only intensity tells apart: one name for all of them.
_NUMBERED = re.compile(r"^(extra cerebral|unnamed) \d+$")


@dataclass(frozen=True, eq=False)
class LabelledScan:
    """A label map in canonical orientation: ``labels`` (I, J, K) of 0..n.

    Attributes
    ----------
    voxel : (3,) mm
    values : (n,) ids as the file numbers them; surroundings that were only guessed have negative ones.
    names : (n,) what the ids are called without their side, "" for surroundings; several may share one
    alike : (n + 1,) whole numbers, the same for numbers with one intensity (left and right of a structure)
    dataset : name of the dataset
    affine : (4, 4) IJK of ``labels`` to RAS, mm
    """

    name: str
    labels: np.ndarray
    voxel: np.ndarray
    values: np.ndarray
    names: tuple[str, ...] = ()
    alike: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    dataset: str = ""
    affine: np.ndarray = field(default_factory=lambda: np.eye(4))

    @property
    def outer(self) -> np.ndarray:
        """Numbers of what lies outside the brain."""
        return np.array([n for n, name in enumerate(self.names, start=1) if name.startswith(OUTER)], dtype=int)


def load_labelled_scan(case: Case, dataset: Dataset | None = None, clusters: int = 0) -> LabelledScan:
    """Read a case's label map, its ids renumbered 1..n without gaps.

    Parameters
    ----------
    dataset : Dataset, optional
        Gives names and, under ``generation_class`` of its ``dataset.json`` (as SynthSeg), ids of one intensity.
    clusters : int
        Where the case has an image, what is not labelled is cut into so many parts of like intensity, as SynthSeg does
        around the brain: organs nobody drew must not be rendered as air.
    """
    volume, label_map = replace(case, merged=None).read()
    grid = CanonicalGrid.over(label_map.shape, label_map.affine, None)
    labels = grid.labels_to_model(label_map.array)
    values = np.unique(labels)
    values = values[values > 0]
    if len(values) + clusters > 255:
        raise InputError(f"{case.labels} has {len(values)} labels; at most {255 - clusters} can be rendered.")
    numbered = np.where(labels > 0, np.searchsorted(values, labels) + 1, 0).astype(np.uint8)
    called = {} if dataset is None else {value: name for name, value in dataset.structures.items()}
    names = [without_side(called.get(int(value), f"label {value}")) for value in values]
    alike = looking_alike(names, [int(v) for v in values], dataset)
    names = [_NUMBERED.sub(r"\1", name) for name in names]
    if clusters and volume is not None:
        extra = surroundings(grid.image_to_model(volume.array), numbered == 0, clusters)
        numbered = np.where(extra > 0, extra + len(values), numbered).astype(np.uint8)
        values = np.concatenate([values, -np.arange(1, clusters + 1)])
        names += [""] * clusters
        alike = np.concatenate([alike, alike.max() + np.arange(1, clusters + 1)])
    folder = dataset.name if dataset else ""
    return LabelledScan(case.name, numbered, grid.spacing, values, tuple(names), alike, folder, grid.affine)


def without_side(name: str) -> str:
    """A structure's name without left, right and "part 25": "left_kidney" and "kidney_right" are "kidney"."""
    words = _SIDE.sub(" ", name.replace("_", " ").lower())
    return " ".join(_PART.sub("", " ".join(words.split())).split())


def looking_alike(names: Sequence[str], values: Sequence[int], dataset: Dataset | None = None) -> np.ndarray:
    """Groups (n + 1,) of numbers with one intensity: one name, or one ``generation_class`` of ``dataset.json``."""
    classes: dict[str, int] = {}
    if dataset is not None:
        content = json.loads((dataset.folder / "dataset.json").read_text(encoding="utf-8"))
        classes = content.get("generation_class", {})
    group = list(range(len(names) + 1))
    seen: dict[object, int] = {}
    for number, (name, value) in enumerate(zip(names, values, strict=True), start=1):
        for key in (name, classes.get(str(value))):
            if key is None:
                continue
            first = seen.setdefault(key, group[number])
            group = [group[number] if g == first else g for g in group]
            seen = {k: group[number] if g == first else g for k, g in seen.items()}
    return np.unique(group, return_inverse=True)[1]


def surroundings(image: np.ndarray, unlabelled: np.ndarray, clusters: int) -> np.ndarray:
    """Unlabelled voxels in ``clusters`` parts of like intensity, (I, J, K) uint8 from 1; the darkest stays 0, as air.

    Smoothed over about a voxel first, so that noise makes no parts.
    """
    smooth = ndimage.gaussian_filter(image.astype(np.float32), 0.7)
    inside = smooth[unlabelled]
    if inside.size < 100 * (clusters + 1) or inside.min() == inside.max():
        return np.zeros(image.shape, np.uint8)
    low, high = np.percentile(inside, (1, 99))
    sample = np.clip(inside[:: max(1, inside.size // 20_000)], low, high)
    start = np.percentile(sample, np.linspace(2, 98, clusters + 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a part may stay empty
        centres = np.sort(kmeans2(sample[:, None], start[:, None], minit="matrix")[0][:, 0])
    edges = (centres[1:] + centres[:-1]) / 2
    parts = np.zeros(image.shape, np.uint8)
    parts[unlabelled] = np.searchsorted(edges, inside)
    return parts
