"""Whether two volumes hold the same voxels, whatever their headers say, or nearly the same picture."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dropiris.geometry import closest_axes, resample_linear

# Side of the small picture that near-duplicates are looked for in: 1,728 numbers, so that 10,000 scans take 70 MB.
_SIDE = 12


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What is kept of a volume to compare it with others.

    Attributes
    ----------
    stored, turned : str
        Digests of the voxels in the order of the file, and turned to right-anterior-superior: a copy that was only
        stored along other axes has another first and the same second.
    picture : ndarray (12 * 12 * 12,) or None
        The turned volume, shrunk, with mean 0 and length 1; None when there is nothing in it.
    """

    stored: str
    turned: str
    picture: np.ndarray | None


def fingerprint(array: np.ndarray, affine: np.ndarray, picture: bool = True) -> Fingerprint:
    """Look at every voxel (I, J, K) once, plane by plane; values count as float32, whatever they are stored as."""
    axes, flips = closest_axes(affine)
    turned = array.transpose(axes)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    stored = _digest(array)
    as_turned = stored if axes == (0, 1, 2) and not any(flips) else _digest(turned)
    return Fingerprint(stored, as_turned, _picture(turned) if picture else None)


def _digest(array: np.ndarray) -> str:
    state = hashlib.blake2b(repr(tuple(array.shape)).encode(), digest_size=16)
    for k in range(array.shape[2]):
        # + 0 makes -0.0 and 0.0 one number
        state.update((np.asarray(array[:, :, k], dtype="<f4") + np.float32(0)).tobytes(order="F"))
    return state.hexdigest()


def _picture(turned: np.ndarray) -> np.ndarray | None:
    small = resample_linear(np.nan_to_num(turned, posinf=0.0, neginf=0.0), (_SIDE,) * 3).ravel().astype(np.float64)
    small -= small.mean()
    length = float(np.linalg.norm(small))
    return (small / length).astype(np.float32) if length > 0 else None


def likest(pictures: Sequence[np.ndarray], at_least: float) -> list[tuple[int, int, float]]:
    """Pairs (first, second, correlation) of small pictures that correlate by at least so much, the likest first."""
    if len(pictures) < 2:
        return []
    table = np.stack(pictures)
    found = []
    for start in range(0, len(table), 512):  # 512 rows of 10,000 columns are 20 MB
        block = table[start : start + 512] @ table.T
        for row, column in zip(*np.nonzero(block >= at_least), strict=True):
            if start + row < column:
                found.append((int(start + row), int(column), float(block[row, column])))
    return sorted(found, key=lambda pair: -pair[2])
