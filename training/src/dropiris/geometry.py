"""From a scan's own grid to a model's canonical grid and back, exactly.

The canonical grid keeps the scan's own (oblique, even sheared) axes: they are only permuted and flipped to lie as
close as possible to right-anterior-superior, which is lossless. Where the model wants another voxel size the grid
is resampled with aligned outer edges, so nothing shifts by half a voxel.

All resampling is one thing, :func:`axis_shares` along each axis, and runs plane by plane: beside the result only a
few planes are held in memory, whatever the number of labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from scipy import ndimage

from dropiris.errors import InputError

# Spacings closer than this (relative) count as equal: no resampling, labels come back bit for bit.
SAME_SPACING = 0.02
# 8 GB of float32: a larger model grid means that the header is wrong, not that the scan is large.
MOST_VOXELS = 2**31
# Shares are float32 sums; two that differ by less are a tie, which the background wins.
_TIE = 1e-5


def closest_axes(affine: np.ndarray) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Which array axis runs closest to R, A, S, and whether it must be flipped.

    For axes at right angles the result is always right-handed, so a scan is never mirrored for the network: the
    best of the 24 proper assignments has a trace of at least 1.91, an improper one at most 1.

    Returns
    -------
    axes : tuple of int
        ``axes[n]`` is the array axis that becomes axis n of the canonical array.
    flips : tuple of bool
        Whether canonical axis n runs against the array axis.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    axes, best = (0, 1, 2), -1.0
    # All six assignments: a greedy choice can hand one axis out twice on strongly oblique scans.
    for candidate in permutations((0, 1, 2)):
        score = sum(abs(directions[world, axis]) for world, axis in enumerate(candidate))
        if score > best + 1e-9:
            axes, best = candidate, score  # type: ignore[assignment]
    flips = tuple(bool(directions[world, axis] < 0) for world, axis in enumerate(axes))
    return axes, flips  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class CanonicalGrid:
    """A source grid, its canonical orientation, and the model's grid laid over it.

    Attributes
    ----------
    source_shape : tuple
        Shape of the scan as it came.
    source_affine : ndarray (4, 4)
    axes, flips
        See :func:`closest_axes`.
    oriented_shape : tuple
        Shape after permuting and flipping, before resampling.
    shape : tuple
        Shape of the model's grid.
    affine : ndarray (4, 4)
        IJK to RAS of the model's grid.
    """

    source_shape: tuple[int, int, int]
    source_affine: np.ndarray
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    oriented_shape: tuple[int, int, int]
    oriented_affine: np.ndarray
    shape: tuple[int, int, int]
    affine: np.ndarray

    @classmethod
    def over(cls, shape: Sequence[int], affine: np.ndarray, spacing: Sequence[float] | None) -> CanonicalGrid:
        """Lay the model's grid over a source grid; ``spacing`` (mm, along R, A, S) None keeps the source's own.

        The outer edges stay where they are and the number of voxels is whole, so the model's voxel size can differ
        from ``spacing`` by up to half a voxel shared among all voxels of the axis.
        """
        axes, flips = closest_axes(affine)
        oriented_shape = tuple(int(shape[a]) for a in axes)
        turn = np.zeros((4, 4))
        turn[3, 3] = 1.0
        for new, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
            turn[axis, new] = -1.0 if flip else 1.0
            turn[axis, 3] = shape[axis] - 1 if flip else 0.0
        oriented_affine = affine @ turn
        own = np.linalg.norm(oriented_affine[:3, :3], axis=0)
        model_shape = list(oriented_shape)
        for n, wanted in enumerate(spacing if spacing is not None else own):
            if abs(own[n] / wanted - 1.0) > SAME_SPACING:
                model_shape[n] = max(1, round(oriented_shape[n] * own[n] / wanted))
        if np.prod(model_shape, dtype=float) > MOST_VOXELS:
            size = " x ".join(f"{n * s:.0f}" for n, s in zip(oriented_shape, own, strict=True))
            raise InputError(f"The scan measures {size} mm, too much for this model's voxels; correct its spacing.")
        ratio = np.array(oriented_shape) / np.array(model_shape)
        stretch = np.diag([*ratio, 1.0])
        stretch[:3, 3] = (ratio - 1.0) / 2.0  # outer edges stay where they are
        return cls(
            source_shape=tuple(int(n) for n in shape),  # type: ignore[arg-type]
            source_affine=affine,
            axes=axes,
            flips=flips,
            oriented_shape=oriented_shape,  # type: ignore[arg-type]
            oriented_affine=oriented_affine,
            shape=tuple(model_shape),  # type: ignore[arg-type]
            affine=oriented_affine @ stretch,
        )

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size of the model's grid along its axes, mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def resamples(self) -> bool:
        return self.shape != self.oriented_shape

    def turned(self, array: np.ndarray) -> np.ndarray:
        """View of an array on the source grid with its axes turned to the canonical ones."""
        if tuple(array.shape) != self.source_shape:
            raise ValueError(f"the array has shape {array.shape}, the scan {self.source_shape}")
        turned = array.transpose(self.axes)
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def image_to_model(self, array: np.ndarray) -> np.ndarray:
        """Resample intensities (source shape) to the model's grid: float32, C-contiguous.

        Trilinear; an axis that gets coarser is averaged over the new voxel instead, so thin bright things do not
        alias.
        """
        turned = self.turned(array)
        if not self.resamples:
            return np.ascontiguousarray(turned, dtype=np.float32)
        return resample_linear(turned, self.shape)

    def mask_to_model(self, mask: np.ndarray) -> np.ndarray:
        """Resample a boolean mask to the model's grid as a float32 share of each voxel, 0 to 1."""
        return self.image_to_model(mask)

    def labels_to_model(self, array: np.ndarray) -> np.ndarray:
        """Resample integer labels (source shape) to the model's grid, each label by its share of the voxel."""
        turned = self.turned(array)
        if not self.resamples:
            return np.ascontiguousarray(turned)
        result = np.zeros(self.shape, turned.dtype)
        resample_labels(turned, result)
        return result

    def labels_to_source(self, labels: np.ndarray) -> np.ndarray:
        """Bring integer labels on the model's grid back to the scan's own grid (bit-exact without resampling)."""
        if tuple(labels.shape) != self.shape:
            raise ValueError(f"labels have shape {labels.shape}, the grid {self.shape}")
        result = np.zeros(self.source_shape, labels.dtype)
        turned = self.turned(result)
        if self.resamples:
            resample_labels(labels, turned)
        else:
            turned[...] = labels
        return result


def axis_shares(old: int, new: int) -> np.ndarray:
    """Share of every old voxel in every new voxel along one axis: (new, old) float32, each row sums to 1.

    A box as wide as the larger of the two voxels is laid around each new centre and counts how much of it every
    old voxel fills. Where voxels get smaller that is linear interpolation, where they get larger the average over
    the new voxel, with nothing abrupt in between.
    """
    ratio = old / new
    centre = ((np.arange(new) + 0.5) * ratio - 0.5)[:, None]
    half = max(ratio, 1.0) / 2.0
    index = np.arange(old)
    overlap = np.minimum(index + 0.5, centre + half) - np.maximum(index - 0.5, centre - half)
    overlap[overlap < 1e-9] = 0.0
    return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)


def _planes(
    array: np.ndarray, result: np.ndarray
) -> tuple[Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]], np.ndarray, np.ndarray]:
    """Walk along the slowest axis in memory: (old planes, their weights, new plane), and the in-plane shares.

    Contiguous planes take a 512 x 512 x 400 scan to 1.5 mm in 0.8 s, strided ones in 1.1 s.
    """
    order = np.argsort([-abs(s) for s in (array if array.size > result.size else result).strides], kind="stable")
    old, new = array.transpose(order), result.transpose(order)
    across, rows, columns = (axis_shares(o, n) for o, n in zip(old.shape, new.shape, strict=True))

    def walk() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for weights, plane in zip(across, new, strict=True):
            used = np.flatnonzero(weights)
            span = slice(used[0], used[-1] + 1)
            yield old[span], weights[span], plane

    return walk(), rows, columns


def resample_linear(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Resample (I, J, K) intensities or a mask to ``shape`` with aligned outer edges: float32."""
    result = np.empty(tuple(shape), np.float32)
    planes, rows, columns = _planes(array, result)
    for old, weights, new in planes:
        plane = np.zeros(old.shape[1:], np.float32)
        for weight, source in zip(weights, old, strict=True):
            plane += np.multiply(source, weight, dtype=np.float32)
        if rows.shape[0] != rows.shape[1]:
            plane = rows @ plane
        new[...] = plane if columns.shape[0] == columns.shape[1] else plane @ columns.T
    return result


def resample_labels(labels: np.ndarray, result: np.ndarray) -> None:
    """Resample labels (>= 0) into ``result`` (of the wanted shape): each voxel takes the label of the largest share.

    The background takes part with its own share, so a thin structure does not grow.
    """
    planes, rows, columns = _planes(labels, result)
    row_ends, column_ends = reach(rows), reach(columns)
    for old, weights, new in planes:
        best = np.zeros(new.shape, np.float32)
        total = np.zeros(new.shape, np.float32)
        winner = np.zeros(new.shape, result.dtype)
        # Each label is worked on inside its own box; find_objects gives all of them in one pass.
        for label, box in enumerate(ndimage.find_objects(old.astype(np.int32)), start=1):
            if box is None:
                continue
            deep, high, wide = box
            share = np.tensordot(weights[deep], (old[box] == label).astype(np.float32), axes=1)
            down, right = reached(row_ends, high), reached(column_ends, wide)
            share = rows[down, high] @ share @ columns[right, wide].T
            better = share > best[down, right] + _TIE
            np.copyto(best[down, right], share, where=better)
            np.copyto(winner[down, right], label, where=better, casting="unsafe")
            total[down, right] += share
        winner[best <= 1.0 - total + _TIE] = 0
        new[...] = winner


def reach(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last old voxel that takes part in each new one; both never decrease."""
    taking = shares > 0
    return taking.argmax(axis=1), shares.shape[1] - 1 - taking[:, ::-1].argmax(axis=1)


def reached(ends: tuple[np.ndarray, np.ndarray], box: slice) -> slice:
    """The new voxels that any old voxel of ``box`` takes part in, by what :func:`reach` gives."""
    first, last = ends
    return slice(int(np.searchsorted(last, box.start)), int(np.searchsorted(first, box.stop)))
