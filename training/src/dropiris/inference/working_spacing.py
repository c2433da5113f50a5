"""The voxel size Iris works at: it follows the size and thickness of the structures asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

# A structure's longest side should span this many voxels of the 64-voxel window: enough shape, enough surroundings.
VOXELS_ALONG = 24.0
# Sheets (cortex) need about two voxels across, or they vanish between voxels.
VOXELS_ACROSS = 2.0
# What is labelled together spans at most this many voxels: a nucleus of the brain is told from its neighbours by where
# it lies among them, and a window as small as the nucleus asks for shows none of that.
VOXELS_TOGETHER = 72.0
COARSEST_TOGETHER = 2.5  # mm; a gland of a whole body must not vanish
COARSEST = 6.0  # mm
FINEST = 0.5  # mm


def structure_spacing(mask: np.ndarray, spacing: Sequence[float] | np.ndarray) -> float:
    """Isotropic voxel size (mm) at which one structure is best seen.

    Parameters
    ----------
    mask : ndarray of bool (I, J, K)
        The structure, not empty.
    spacing : (3,) voxel size of the mask, mm.
    """
    voxel = np.asarray(spacing, dtype=float)
    box = box_of(mask)
    if box is None:
        raise ValueError("the mask is empty")
    extent = max((s.stop - s.start) * v for s, v in zip(box, voxel, strict=True))
    # every n-th voxel is enough for a mean; keeps whole-body masks under a tenth of a second
    step = [max(1, (s.stop - s.start) // 96) for s in box]
    inside = np.pad(mask[box][:: step[0], :: step[1], :: step[2]], 1)
    depth = ndimage.distance_transform_edt(inside, sampling=voxel * step)
    thickness = 4.0 * float(depth[inside].mean())  # exact for a slab, the radius for a ball
    wanted = min(extent / VOXELS_ALONG, thickness / VOXELS_ACROSS)
    # finer than the scan's own best axis shows nothing new
    return float(np.clip(wanted, max(FINEST, 0.9 * voxel.min()), COARSEST))


def spacing_together(extent: Sequence[float] | np.ndarray) -> float:
    """Voxel size (mm) that no structure goes below where all that is labelled has this extent (3,) in mm."""
    return min(max(extent) / VOXELS_TOGETHER, COARSEST_TOGETHER)


def box_of(mask: np.ndarray) -> tuple[slice, slice, slice] | None:
    """The box around a mask (I, J, K) of bool; None where it is empty."""
    found = ndimage.find_objects(mask.view(np.uint8))
    return found[0] if found else None


def labelled_extent(boxes: Sequence[tuple[slice, slice, slice]], spacing: Sequence[float] | np.ndarray) -> np.ndarray:
    """Size (3,) in mm of the box around all boxes."""
    low = np.min([[side.start for side in box] for box in boxes], axis=0)
    high = np.max([[side.stop for side in box] for box in boxes], axis=0)
    extent: np.ndarray = (high - low) * np.asarray(spacing, dtype=float)
    return extent


def group_spacings(wanted: Sequence[float]) -> list[float]:
    """One working spacing per structure: those within a factor 2 share the finest of them, hence one pass."""
    shared = list(wanted)
    order = sorted(range(len(shared)), key=lambda n: shared[n])
    base = 0.0
    for n in order:
        if wanted[n] > 2.0 * base or base == 0.0:
            base = wanted[n]
        shared[n] = base
    return shared
