"""Labels on a part of a scan's grid -> on the whole grid, exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dropiris.errors import InputError
from dropiris.volume import LabelMap, Volume

# Of a voxel: float32 headers move corners by less, a half-voxel shift is fifty times more.
_TOLERANCE = 0.01


def on_grid_of(scan: Volume, labels: LabelMap) -> LabelMap:
    """Place labels voxel by voxel on the scan's grid; their axes may be permuted, flipped and cropped.

    Raises
    ------
    InputError
        When the voxels do not coincide: resampling labels silently would shift their borders.
    """
    move = np.linalg.inv(scan.affine) @ labels.affine  # label index to scan index
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [
        *(np.array(labels.shape) - 1),
        1,
    ]
    whole = np.rint(move)
    turn = np.abs(whole[:3, :3])
    same_size = (turn.sum(axis=0) == 1).all() and (turn.sum(axis=1) == 1).all()
    if not same_size or np.abs((move - whole) @ corners.T).max() > _TOLERANCE * max(1.0, max(labels.shape) / 100):
        raise InputError(
            f"{labels.name or 'The label map'} lies on another voxel grid than {scan.name or 'the scan'}; "
            "export it with the scan's geometry."
        )
    axes = tuple(int(n) for n in turn.argmax(axis=1))  # axes[n]: label axis along scan axis n
    signs = [int(whole[n, axes[n]]) for n in range(3)]
    array = labels.array.transpose(axes)[tuple(slice(None, None, sign) for sign in signs)]
    ends = (whole @ corners.T)[:3]
    start = ends.min(axis=1).astype(int)
    stop = ends.max(axis=1).astype(int) + 1
    low, high = np.maximum(start, 0), np.minimum(stop, scan.shape)
    # Allocated in the scan's memory order, so that both are walked the same way.
    result = np.zeros_like(scan.array, dtype=labels.array.dtype)
    if (low < high).all():
        inside = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
        result[tuple(map(slice, low, high))] = array[inside]
    return replace(labels, array=result, affine=scan.affine)
