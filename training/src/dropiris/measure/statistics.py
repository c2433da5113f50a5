"""Voxels, volume, mean and spread of intensity, and centre of each structure.

The figures of Slicer's SegmentStatistics: it counts voxels whose centre lies in the segment, takes the sample standard
deviation (n - 1) of ``vtkImageAccumulate``, and the centroid of the voxel centres in world coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dropiris.errors import InputError
from dropiris.trust import StructureTrust
from dropiris.volume import LabelMap, Volume

_NOWHERE = (math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class StructureStatistics:
    """One row of the results table.

    Attributes
    ----------
    name : str
        Of the structure or segment.
    voxels : int
        Voxels of the scan's grid.
    volume_ml : float
        Millilitres (cm³).
    mean, sd : float
        Of the scan's intensities, in their own unit (HU in CT). ``sd`` divides by n - 1 and is 0 for one voxel. Both
        are NaN when the structure is empty or no scan was given.
    centre_ras : (x, y, z)
        Mean of the voxel centres, world RAS, mm; NaN when the structure is empty.
    trust : StructureTrust or None
        What a check of the result said of it, if there was one.
    """

    name: str
    voxels: int
    volume_ml: float
    mean: float
    sd: float
    centre_ras: tuple[float, float, float] = _NOWHERE
    trust: StructureTrust | None = None

    @property
    def is_empty(self) -> bool:
        return self.voxels == 0


def segment_statistics(volume: Volume | None, labels: LabelMap | Sequence[LabelMap]) -> list[StructureStatistics]:
    """Measure every structure of a label map, or of several layers of one, in their order.

    Memory stays below a few planes beside the scan, whatever its size.

    Parameters
    ----------
    volume : Volume or None
        The scan, on the grid of the labels; None measures size and place only.
    labels : LabelMap or sequence of LabelMap
        Layers may overlap: each structure is measured whole.

    Raises
    ------
    InputError
        A label map has another shape than the scan or lies elsewhere.
    """
    rows: list[StructureStatistics] = []
    for layer in [labels] if isinstance(labels, LabelMap) else labels:
        if volume is not None:
            _check_same_grid(volume, layer)
        rows += _layer_statistics(None if volume is None else volume.array, layer)
    return rows


def _check_same_grid(volume: Volume, labels: LabelMap) -> None:
    # A tenth of a voxel at the far corner: float32 headers move an affine by 1e-7, a wrong scan by far more.
    far = np.abs((labels.affine - volume.affine) @ np.array([*volume.shape, 1.0])).max()
    if labels.shape != volume.shape or far > 0.1 * float(volume.spacing.min()):
        who = f"{labels.name or 'The label map'} lies on another grid than {volume.name or 'the scan'}"
        raise InputError(f"{who}; measure it on the scan it belongs to.")


def _layer_statistics(intensities: np.ndarray | None, labels: LabelMap) -> list[StructureStatistics]:
    size = max((s.label for s in labels.structures), default=0) + 1
    voxels, sums = np.zeros(size, np.int64), np.zeros(size)
    index_sums = np.zeros((3, size))
    for k, (values, i, j) in enumerate(_planes(labels.array, size)):
        voxels += np.bincount(values, minlength=size)
        index_sums[0] += np.bincount(values, i, size)
        index_sums[1] += np.bincount(values, j, size)
        index_sums[2] += k * np.bincount(values, minlength=size)
        if intensities is not None:
            sums += np.bincount(values, intensities[i, j, k], size)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums / voxels
        centres = index_sums / voxels
    # A second pass: the difference of two large sums would lose the spread of a scan with a large offset.
    squares = np.zeros(size)
    if intensities is not None:
        for k, (values, i, j) in enumerate(_planes(labels.array, size)):
            squares += np.bincount(values, (intensities[i, j, k] - means[values]) ** 2, size)
    voxel_ml = abs(float(np.linalg.det(labels.affine[:3, :3]))) / 1000.0
    rows = []
    for structure in labels.structures:
        n, count = structure.label, int(voxels[structure.label])
        measured = count > 0 and intensities is not None
        centre = labels.affine[:3, :3] @ centres[:, n] + labels.affine[:3, 3]
        rows.append(
            StructureStatistics(
                name=structure.name,
                voxels=count,
                volume_ml=count * voxel_ml,
                mean=float(means[n]) if measured else math.nan,
                sd=math.sqrt(squares[n] / max(count - 1, 1)) if measured else math.nan,
                centre_ras=(float(centre[0]), float(centre[1]), float(centre[2])) if count else _NOWHERE,
            )
        )
    return rows


def _planes(labels: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Per plane k: the labels of its labelled voxels and their i and j; labels nobody named count as none."""
    for k in range(labels.shape[2]):
        plane = labels[:, :, k]
        i, j = np.nonzero((plane > 0) & (plane < size))
        yield plane[i, j], i, j
