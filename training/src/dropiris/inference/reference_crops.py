"""Where to look at a reference: one window around its structures, or several that cover a structure larger than one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from dropiris.geometry import CanonicalGrid, axis_shares


@dataclass(frozen=True, eq=False)
class PlacedMask:
    """A structure's mask on the model's grid, cut to where it is.

    Attributes
    ----------
    share : ndarray (i, j, k) of float32
        How much of each voxel the structure covers, 0 to 1.
    start : tuple of 3 int
        Voxel of the grid at which ``share`` begins.
    """

    share: np.ndarray
    start: tuple[int, int, int]

    @property
    def stop(self) -> tuple[int, int, int]:
        return tuple(a + n for a, n in zip(self.start, self.share.shape, strict=True))  # type: ignore[return-value]

    def cut(self, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
        """The mask in a window of the grid (zero where there is nothing), (D, H, W) float32."""
        result = np.zeros(tuple(size), np.float32)
        low = [max(a, b) for a, b in zip(start, self.start, strict=True)]
        high = [min(a + n, b) for a, n, b in zip(start, size, self.stop, strict=True)]
        if all(a < b for a, b in zip(low, high, strict=True)):
            there = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
            here = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, self.start, strict=True))
            result[there] = self.share[here]
        return result


def place_mask(grid: CanonicalGrid, mask: np.ndarray) -> PlacedMask | None:
    """Resample a boolean mask (source shape) to the model's grid; None for an empty one.

    Only the mask's own box is worked on: a hundred structures of a whole-body scan take seconds, not minutes.
    """
    turned = mask.transpose(grid.axes)[tuple(slice(None, None, -1 if flip else 1) for flip in grid.flips)]
    box = ndimage.find_objects(turned.astype(np.uint8))
    if not box:
        return None
    share, start = turned[box[0]].astype(np.float32), []
    for axis, (part, old, new) in enumerate(zip(box[0], grid.oriented_shape, grid.shape, strict=True)):
        if old == new:
            start.append(part.start)
            continue
        weights = axis_shares(old, new)[:, part]
        touched = np.flatnonzero(weights.any(axis=1))
        span = slice(touched[0], touched[-1] + 1)
        share = np.moveaxis(np.tensordot(weights[span], share, axes=(1, axis)), 0, axis)
        start.append(int(span.start))
    return PlacedMask(np.ascontiguousarray(share), (start[0], start[1], start[2]))


def covering_windows(low: Sequence[int], high: Sequence[int], window: Sequence[int]) -> list[tuple[int, int, int]]:
    """First voxels of the fewest windows that cover a box; a box of at most a window is centred in it.

    Windows may begin before the volume and end after it (the caller repeats the edge), so that a structure at the
    border is still seen in the middle.
    """
    along = []
    for a, b, w in zip(low, high, window, strict=True):
        count = max(1, -(-(b - a) // w))
        if count == 1:
            along.append([(a + b - w) // 2])
        else:
            along.append([round(a + n * (b - a - w) / (count - 1)) for n in range(count)])
    return [(i, j, k) for i in along[0] for j in along[1] for k in along[2]]


def cut_image(image: np.ndarray, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """A window (D, H, W) of an image; the image's lowest value, air, where the window leaves it (as in training)."""
    window = np.full(tuple(size), image.min(), image.dtype)
    low = [max(0, a) for a in start]
    high = [min(side, a + n) for a, n, side in zip(start, size, image.shape, strict=True)]
    target = tuple(slice(b - a, e - a) for a, b, e in zip(start, low, high, strict=True))
    window[target] = image[tuple(map(slice, low, high))]
    return window


def plan_crops(masks: Sequence[PlacedMask], window: Sequence[int]) -> list[tuple[tuple[int, int, int], list[int]]]:
    """Windows, and the structures each one is for.

    All structures together in one window if they fit, else each structure by itself. Windows that would lie in the
    same place are one.
    """
    low = np.min([m.start for m in masks], axis=0)
    high = np.max([m.stop for m in masks], axis=0)
    if (high - low <= np.array(window)).all():
        return [(covering_windows(low.tolist(), high.tolist(), window)[0], list(range(len(masks))))]
    crops: dict[tuple[int, int, int], list[int]] = {}
    for n, mask in enumerate(masks):
        for start in covering_windows(mask.start, mask.stop, window):
            if mask.cut(start, window).any():
                crops.setdefault(start, []).append(n)
    return list(crops.items())
