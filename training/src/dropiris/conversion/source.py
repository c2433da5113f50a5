"""A dataset to convert, whatever its layout: which cases there are, and how one of them is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dropiris.curation.grid import Grid, corners_apart
from dropiris.errors import InputError
from dropiris.files.label_grid import on_grid_of
from dropiris.files.label_table import label_values
from dropiris.volume import LabelMap, Structure, Volume

# Of a voxel: what the headers of scan and labels may differ by.
_ROUNDING = 0.1


@dataclass(frozen=True, eq=False)
class ReadCase:
    """One case in memory.

    Attributes
    ----------
    channels : tuple of Volume
        All on one grid.
    labels : LabelMap or None
        On the same grid; its structures carry the source's names, colours and codes.
    remark : str
        What was decided on the way (overlapping structures, ...), or "".
    """

    channels: tuple[Volume, ...]
    labels: LabelMap | None
    remark: str = ""


@dataclass(frozen=True)
class SourceCase:
    """A case by name; ``read`` brings it into memory. ``split`` is "Tr" or, without labels, "Ts"."""

    name: str
    read: Callable[[], ReadCase]
    split: str = "Tr"


@dataclass(frozen=True)
class Source:
    """A dataset before it is converted.

    Attributes
    ----------
    layout : str
        "msd", "bids", "dicom" or "monailabel".
    name : str
    channels : tuple of str
        Empty where only the cases know (the modality of their series).
    cases : tuple of SourceCase
    structures : tuple of Structure
        With the ids they keep; empty where structures are numbered as they occur.
    about : dict
        Keys for ``dataset.json``: licence, source, notes, ...
    """

    layout: str
    name: str
    channels: tuple[str, ...]
    cases: tuple[SourceCase, ...]
    structures: tuple[Structure, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Drawn:
    """One structure's voxels on a grid, as indices into the flattened array (C order)."""

    structure: Structure
    voxels: np.ndarray


def paint(drawn: Iterable[Drawn], scan: Volume, name: str) -> tuple[LabelMap, str]:
    """One label map out of structures that may overlap, and a remark on those that do.

    Where two overlap the smaller one stays: a tumour on its organ, organs on the body's outline. Structures are
    numbered 1, 2, ... in their order.
    """
    present = [one for one in drawn if len(one.voxels)]
    flat = np.zeros(scan.shape, np.uint16 if len(present) > 255 else np.uint8).reshape(-1)
    covered: dict[str, int] = {}
    numbered = sorted(enumerate(present, start=1), key=lambda item: -len(item[1].voxels))
    for number, one in numbered:
        before = flat[one.voxels]
        for label in np.unique(before[before > 0]).tolist():
            under = present[label - 1].structure.name
            covered[under] = covered.get(under, 0) + int(np.count_nonzero(before == label))
        flat[one.voxels] = number
    structures = tuple(replace(one.structure, label=number) for number, one in enumerate(present, start=1))
    remark = "; ".join(f"{under} gave {count} voxels to smaller structures on it" for under, count in covered.items())
    return LabelMap(flat.reshape(scan.shape), scan.affine, structures, name), remark


def flattened(layers: Iterable[LabelMap], scan: Volume, name: str) -> tuple[LabelMap, str]:
    """Layers on the scan's grid as one label map; see :func:`paint`."""
    maps = list(layers)
    if len(maps) == 1:
        return maps[0], ""
    return paint(
        (Drawn(s, np.flatnonzero(layer.array.reshape(-1) == s.label)) for layer in maps for s in layer.structures),
        scan,
        name,
    )


def place_labels(scan: Volume, labels: LabelMap) -> LabelMap:
    """Labels on the scan's very grid.

    Headers that differ by less than a tenth of a voxel are rounding: the scan's counts. Turned and cropped labels are
    put in place voxel by voxel; everything else is refused, since resampling would move borders.
    """
    grid = Grid(scan.shape, scan.affine)
    if labels.shape == scan.shape:
        if corners_apart(scan.affine, labels.affine, grid) < _ROUNDING * float(grid.spacing.min()):
            return replace(labels, affine=scan.affine)
    return on_grid_of(scan, labels)


def integer_labels(array: np.ndarray, name: str) -> np.ndarray:
    """Labels as uint8 or uint16; fractions are refused."""
    return label_values(array, name)


def plain_case(name: str) -> str:
    """A case name that every file system and nnU-Net take: letters, digits, "-", "_" and "."."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")
    if not plain:
        raise InputError(f"The case {name!r} has no name that a file can have; rename it.")
    return plain


def named_once(cases: Iterable[SourceCase]) -> tuple[SourceCase, ...]:
    """Cases with plain names; a name that comes back gets "_2", "_3", ..."""
    found: list[SourceCase] = []
    taken: set[str] = set()
    for case in cases:
        plain = plain_case(case.name)
        name, n = plain, 1
        while name.casefold() in taken:  # Windows and macOS take A and a for one file
            n += 1
            name = f"{plain}_{n}"
        taken.add(name.casefold())
        found.append(replace(case, name=name))
    return tuple(found)
