"""A case at a glance: axial, coronal and sagittal slice through its labels, side by side, labels in colour."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from dropiris.geometry import closest_axes, resample_linear
from dropiris.intensity import robust_range
from dropiris.volume import LabelMap, Volume

# Soft tissue and bone of a CT at a glance (HU).
_CT_SHOWN = (-200.0, 400.0)
_FILL = 0.35
# (plane's axis, rows, columns) among right-left, back-front, down-up.
_PLANES = ((2, 1, 0), (1, 2, 0), (0, 2, 1))


def three_planes(scan: Volume, labels: LabelMap | None, hounsfield: bool = False, side: int = 144) -> np.ndarray:
    """Return an RGB picture (side, 3 * side, 3) of uint8.

    Slices run through the plane with most labels (the middle, without labels), in millimetres' proportion, the
    patient's right at the left, front and top up. The structures of ``labels`` are tinted and outlined in their
    colours. NaN is black.
    """
    axes, flips = closest_axes(scan.affine)

    def turned(array: np.ndarray) -> np.ndarray:
        return array.transpose(axes)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]

    image = turned(scan.array)
    marks = turned(labels.array) if labels is not None and labels.structures else None
    spacing = scan.spacing[list(axes)]
    some = image if image.dtype.kind != "f" else np.nan_to_num(image, posinf=0.0, neginf=0.0)
    low, high = _CT_SHOWN if hounsfield else robust_range(some, (1.0, 99.5))
    result = np.zeros((side, 3 * side, 3), np.uint8)
    for n, (across, rows, columns) in enumerate(_PLANES):
        at = _fullest(marks, across) if marks is not None else image.shape[across] // 2
        plane = _as_seen(_slice(some, at, across), rows, columns).astype(np.float32)
        mm = np.array(plane.shape) * spacing[[rows, columns]]
        shape = tuple(int(max(1, round(float(side * length / mm.max())))) for length in mm)
        grey = np.clip((plane - low) / max(high - low, 1e-12), 0.0, 1.0)
        picture = np.repeat(resample_linear(grey[None], (1, *shape))[0][..., None], 3, axis=2)
        if marks is not None and labels is not None:
            small = _sampled(_as_seen(_slice(marks, at, across), rows, columns), shape)
            for structure in labels.structures:
                mask = small == structure.label
                if mask.any():
                    _tint(picture, mask, np.asarray(structure.color))
        top, left = (side - shape[0]) // 2, n * side + (side - shape[1]) // 2
        result[top : top + shape[0], left : left + shape[1]] = np.round(255 * picture)
    return result


def _fullest(marks: np.ndarray, axis: int) -> int:
    filled = np.count_nonzero(marks, axis=tuple(other for other in range(3) if other != axis))
    fullest = np.flatnonzero(filled == filled.max())
    return int(fullest[len(fullest) // 2])


def _slice(volume: np.ndarray, at: int, axis: int) -> np.ndarray:
    # Not np.take: it copies all of an array that does not lie in memory as it is indexed (11 s for a large CT).
    return volume[(slice(None),) * axis + (at,)]


def _as_seen(plane: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Top row first, and the patient's right (or front, in a sagittal slice) in the first column."""
    return (plane if rows < columns else plane.T)[::-1, ::-1]


def _sampled(plane: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Labels at the centres of the picture's pixels."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for old, new in zip(plane.shape, shape, strict=True)
    )
    return plane[np.ix_(rows, columns)]


def _tint(picture: np.ndarray, mask: np.ndarray, color: np.ndarray) -> None:
    outline = mask & ~ndimage.binary_erosion(mask)
    picture[mask] = (1 - _FILL) * picture[mask] + _FILL * color
    picture[outline] = color
