"""From a scan's own grid to a model's canonical grid and back, exactly.

The canonical grid keeps the scan's own (oblique) axes: they are only permuted and flipped to lie as close as
possible to right-anterior-superior, which is lossless. Where the model wants another voxel size the grid is
resampled with aligned outer edges, so nothing shifts by half a voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

# Spacings closer than this (relative) count as equal: no resampling, labels come back bit for bit.
SAME_SPACING = 0.02


def closest_axes(affine: np.ndarray) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Which array axis runs closest to R, A, S, and whether it must be flipped.

    Returns
    -------
    axes : tuple of int
        ``axes[n]`` is the array axis that becomes axis n of the canonical array.
    flips : tuple of bool
        Whether canonical axis n runs against the array axis.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    best: tuple[float, tuple[int, int, int]] = (-1.0, (0, 1, 2))
    # All six assignments: a greedy choice can hand one axis out twice on strongly oblique scans.
    for axes in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        score = sum(abs(directions[world, axis]) for world, axis in enumerate(axes))
        if score > best[0] + 1e-9:
            best = (score, axes)
    axes = best[1]
    flips = tuple(bool(directions[world, axis] < 0) for world, axis in enumerate(axes))
    return axes, flips  # type: ignore[return-value]


@dataclass(frozen=True)
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
        """Lay the model's grid over a source grid; ``spacing`` (mm, along R, A, S) None keeps the source's own."""
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
        if spacing is not None:
            for n, wanted in enumerate(spacing):
                if abs(own[n] / wanted - 1.0) > SAME_SPACING:
                    model_shape[n] = max(1, round(oriented_shape[n] * own[n] / wanted))
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

    def _orient(self, array: np.ndarray) -> np.ndarray:
        turned = array.transpose(self.axes)
        return turned[tuple(slice(None, None, -1) if f else slice(None) for f in self.flips)]

    def _unorient(self, array: np.ndarray) -> np.ndarray:
        turned = array[tuple(slice(None, None, -1) if f else slice(None) for f in self.flips)]
        return turned.transpose(np.argsort(self.axes))

    def image_to_model(self, array: np.ndarray) -> np.ndarray:
        """Resample intensities (source shape) to the model's grid: float32, contiguous.

        Trilinear; an axis that gets coarser is first averaged over the new voxel, so thin bright things do
        not alias.
        """
        turned = self._orient(array)
        if not self.resamples:
            return np.ascontiguousarray(turned, dtype=np.float32)
        return resample_linear(np.asarray(turned, dtype=np.float32), self.shape)

    def mask_to_model(self, mask: np.ndarray) -> np.ndarray:
        """Resample a boolean mask to the model's grid as a float32 share of each voxel, 0 to 1."""
        return self.image_to_model(mask.astype(np.float32) if self.resamples else mask)

    def labels_to_model(self, array: np.ndarray) -> np.ndarray:
        """Resample integer labels to the model's grid, each label by its share of the voxel."""
        return np.ascontiguousarray(resample_labels(self._orient(array), self.shape))

    def labels_to_source(self, labels: np.ndarray) -> np.ndarray:
        """Bring integer labels on the model's grid back to the scan's own grid (bit-exact without resampling)."""
        if tuple(labels.shape) != self.shape:
            raise ValueError(f"labels have shape {labels.shape}, the grid {self.shape}")
        return np.ascontiguousarray(self._unorient(resample_labels(labels, self.oriented_shape)))


def resample_linear(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Trilinear resampling with aligned outer edges, (I, J, K) float32 to ``shape``.

    Separable: one pass per axis that changes, each a sparse two-neighbour (or averaging) product. Axes that shrink
    go first, so later passes see less data.
    """
    order = sorted(range(3), key=lambda n: shape[n] / array.shape[n])
    for axis in order:
        if array.shape[axis] != shape[axis]:
            array = _resample_axis(array, axis, int(shape[axis]))
    return np.ascontiguousarray(array, dtype=np.float32)


def _resample_axis(array: np.ndarray, axis: int, size: int) -> np.ndarray:
    old = array.shape[axis]
    ratio = old / size
    if ratio > 1.0:
        array = ndimage.uniform_filter1d(array, max(1, round(ratio)), axis=axis, mode="nearest") if ratio >= 1.5 else array
        if ratio >= 1.5 and round(ratio) % 2 == 0:
            # An even box is centred half a voxel early; reading half a voxel later undoes it.
            shift = 0.5
        else:
            shift = 0.0
    else:
        shift = 0.0
    at = np.clip((np.arange(size) + 0.5) * ratio - 0.5 + shift, 0.0, old - 1.0)
    low = np.minimum(at.astype(np.int64), old - 1)
    high = np.minimum(low + 1, old - 1)
    weight = (at - low).astype(np.float32)
    weight = weight.reshape([-1 if n == axis else 1 for n in range(array.ndim)])
    first = np.take(array, low, axis=axis)
    if not weight.any():
        return first
    second = np.take(array, high, axis=axis)
    second -= first
    second *= weight
    second += first
    return second


def resample_labels(labels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Resample integer labels: each voxel takes the label with the largest linear share.

    Only two full-size arrays beside the result exist at a time, whatever the number of labels; each label is
    worked on inside its own bounding box.
    """
    if tuple(labels.shape) == tuple(shape):
        return labels
    result = np.zeros(tuple(shape), dtype=labels.dtype)
    best = np.zeros(tuple(shape), dtype=np.float32)
    old, new = np.array(labels.shape), np.array(shape)
    # find_objects gives every label's box in one pass over the data
    for label, box in enumerate(ndimage.find_objects(labels.astype(np.int32, copy=False)), start=1):
        if box is None:
            continue
        # A whole number of old voxels around the box, wide enough that cut edges never matter.
        margin = np.ceil(np.maximum(old / new, 1.0)).astype(int) + 1
        low = np.maximum([s.start for s in box] - margin, 0)
        high = np.minimum([s.stop for s in box] + margin, old)
        new_low = np.floor(low * new / old).astype(int)
        new_high = np.minimum(np.ceil(high * new / old).astype(int), new)
        share = _resample_window((labels[tuple(map(slice, low, high))] == label), low, old, new, new_low, new_high)
        window = tuple(map(slice, new_low, new_high))
        # Background holds 1 - sum of shares; a label must have at least half or beat every other label there.
        better = share > best[window]
        result[window][better] = label
        np.maximum(best[window], share, out=best[window])
    background = resample_linear((labels == 0).astype(np.float32), shape)
    result[background > best] = 0
    return result


def _resample_window(
    mask: np.ndarray, low: np.ndarray, old: np.ndarray, new: np.ndarray, new_low: np.ndarray, new_high: np.ndarray
) -> np.ndarray:
    """Share of ``mask`` (a window of the old grid starting at ``low``) in new voxels new_low..new_high."""
    share = mask.astype(np.float32)
    for axis in range(3):
        ratio = old[axis] / new[axis]
        if old[axis] == new[axis]:
            share = np.take(share, np.arange(new_low[axis], new_high[axis]) - low[axis], axis=axis, mode="clip")
            continue
        at = (np.arange(new_low[axis], new_high[axis]) + 0.5) * ratio - 0.5
        at = np.clip(at, 0.0, old[axis] - 1.0) - low[axis]
        shift = 0.0
        if ratio >= 1.5:
            share = ndimage.uniform_filter1d(share, round(ratio), axis=axis, mode="nearest")
            shift = 0.5 if round(ratio) % 2 == 0 else 0.0
        at = np.clip(at + shift, 0.0, share.shape[axis] - 1.0)
        below = at.astype(np.int64)
        above = np.minimum(below + 1, share.shape[axis] - 1)
        weight = (at - below).astype(np.float32).reshape([-1 if n == axis else 1 for n in range(3)])
        share = np.take(share, below, axis=axis) * (1 - weight) + np.take(share, above, axis=axis) * weight
    return share
