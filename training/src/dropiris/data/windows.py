"""Cut a window at any place, spacing and rotation out of a volume, in one resampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F


@dataclass(frozen=True)
class Placement:
    """Where a window lies, in millimetres of the volume's own (canonical, unrotated) axes.

    Attributes
    ----------
    centre : (3,) mm from the volume's first voxel.
    spacing : (3,) mm per window voxel.
    rotation : (3, 3) window axes to volume axes; a mirror is a negative determinant.
    """

    centre: np.ndarray
    spacing: np.ndarray
    rotation: np.ndarray


def random_rotation(rng: np.random.Generator, angle: float) -> np.ndarray:
    """Rotation by up to ``angle`` radians about each axis."""
    matrix = np.eye(3)
    for axis, a in enumerate(rng.uniform(-angle, angle, 3)):
        i, j = [n for n in range(3) if n != axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(a)
        turn[i, j], turn[j, i] = -np.sin(a), np.sin(a)
        matrix = matrix @ turn
    return matrix


def cut_window(
    array: np.ndarray,
    voxel: Sequence[float] | np.ndarray,
    placement: Placement,
    side: Sequence[int],
    mode: str = "bilinear",
    outside: float | None = None,
) -> torch.Tensor:
    """Sample a window (C, D, H, W) from a (C, I, J, K) array.

    Parameters
    ----------
    voxel : (3,) voxel size of the array, mm.
    mode : {"bilinear", "nearest"}
    outside : float or None
        Value beyond the volume's border; None repeats the border.
    """
    half = (np.array(side) - 1) / 2.0
    scale = placement.rotation * placement.spacing  # window voxels -> mm
    # Only the part of the array under the window is converted to float and sampled.
    reach = np.abs(scale) @ half
    voxel = np.asarray(voxel, dtype=float)
    low = np.floor((placement.centre - reach) / voxel).astype(int) - 1
    high = np.ceil((placement.centre + reach) / voxel).astype(int) + 2
    shape = np.array(array.shape[1:])
    low, high = np.clip(low, 0, shape - 1), np.clip(high, 1, shape)
    high = np.maximum(high, low + 1)
    part = torch.from_numpy(np.ascontiguousarray(array[(slice(None), *map(slice, low, high))], dtype=np.float32))
    size = (high - low).astype(float)
    # affine_grid works in units where the part spans -1..1 (outer edges), last axis first
    origin = (placement.centre / voxel - low - (size - 1) / 2) * 2 / size
    matrix = scale / voxel[:, None] * 2 / size[:, None] * (np.array(side) / 2)
    theta = np.concatenate([matrix[::-1, ::-1], origin[::-1, None]], axis=1)
    grid = F.affine_grid(torch.from_numpy(theta[None].copy()).float(), [1, 1, *side], align_corners=False)
    if outside is None:
        return F.grid_sample(part[None], grid, mode=mode, padding_mode="border", align_corners=False)[0]
    shifted = F.grid_sample(part[None] - outside, grid, mode=mode, padding_mode="zeros", align_corners=False)[0]
    return shifted + outside


def averaged_levels(array: np.ndarray, voxel: np.ndarray, coarsest: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """The array itself and versions averaged over 2, 4, ... voxels along its finest axes, with their voxel sizes.

    Sampling a coarse window from the level nearest below its spacing keeps small bright things from aliasing.
    """
    levels = [(array, np.asarray(voxel, dtype=float))]
    while True:
        array, voxel = levels[-1]
        factor = np.where(voxel * 2 <= coarsest, 2, 1)
        factor = np.where(np.array(array.shape) >= 16, factor, 1)
        if (factor == 1).all():
            return levels
        smooth = array
        for axis in np.flatnonzero(factor == 2):
            smooth = ndimage.uniform_filter1d(smooth, 2, axis=int(axis), origin=-1, mode="nearest")
        coarse = np.ascontiguousarray(smooth[tuple(slice(None, None, f) for f in factor)])
        levels.append((coarse, voxel * factor))


def level_origin(voxel: np.ndarray, finest: np.ndarray) -> np.ndarray:
    """Where a level's first voxel centre lies, mm from the finest level's first voxel centre."""
    return (np.asarray(voxel) - np.asarray(finest)) / 2
