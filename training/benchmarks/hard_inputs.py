"""Scans made hard on purpose: results that are wrong, on real anatomy, for measuring what notices them.

Each takes a scan with its labels and gives both back. Nothing here is what a scanner does by itself, and how often such
scans come is not known; they exist because good models fail too seldom on a few dozen held-back cases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dropiris.geometry import resample_linear
from dropiris.intensity import robust_range
from dropiris.volume import LabelMap, Volume

Labelled = tuple[Volume, LabelMap]
Hardening = Callable[[Volume, LabelMap, np.random.Generator], Labelled]
RANGE = (0.5, 99.5)  # percentiles of the intensities that are taken as black and white


def as_it_is(volume: Volume, labels: LabelMap, rng: np.random.Generator) -> Labelled:
    return volume, labels


def inverted(volume: Volume, labels: LabelMap, rng: np.random.Generator) -> Labelled:
    """White becomes black."""
    return _with(volume, lambda x: 1 - x), labels


def dark_gamma(volume: Volume, labels: LabelMap, rng: np.random.Generator) -> Labelled:
    """Intensities to the power of 3."""
    return _with(volume, lambda x: x**3), labels


def noise(volume: Volume, labels: LabelMap, rng: np.random.Generator) -> Labelled:
    """Gaussian noise with a deviation of half the range."""
    return _with(volume, lambda x: x + rng.normal(0, 0.5, x.shape)), labels


def low_resolution(volume: Volume, labels: LabelMap, rng: np.random.Generator) -> Labelled:
    """Voxels four times as long along every axis of more than 16, interpolated back."""
    return _with(volume, lambda x: _coarse(x, 4)), labels


def very_low_resolution(volume: Volume, labels: LabelMap, rng: np.random.Generator) -> Labelled:
    """As :func:`low_resolution`, eight times."""
    return _with(volume, lambda x: _coarse(x, 8)), labels


def cropped(volume: Volume, labels: LabelMap, rng: np.random.Generator) -> Labelled:
    """Cut in the middle of what is labelled, across the scan's longest axis; the larger part stays."""
    axis = int(np.argmax(volume.shape))
    at = int(np.median(np.nonzero(labels.array)[axis]))
    low = at if at < volume.shape[axis] - at else 0
    part = [slice(None)] * 3
    part[axis] = slice(low, None if low else at)
    affine = volume.affine.copy()
    affine[:3, 3] += volume.affine[:3, axis] * low
    kept = tuple(part)
    return (
        replace(volume, array=volume.array[kept], affine=affine),
        replace(labels, array=labels.array[kept], affine=affine),
    )


HARD: dict[str, Hardening] = {
    "as it is": as_it_is,
    "inverted": inverted,
    "gamma 3": dark_gamma,
    "noise": noise,
    "low resolution": low_resolution,
    "very low resolution": very_low_resolution,
    "cropped": cropped,
}


def _with(volume: Volume, change: Callable[[np.ndarray], np.ndarray]) -> Volume:
    low, high = robust_range(volume.array, RANGE)
    unit = np.clip((volume.array.astype(np.float32) - low) / max(high - low, 1e-6), 0, 1)
    changed = np.asarray(change(unit), np.float32) * (high - low) + low
    return replace(volume, array=changed)


def _coarse(array: np.ndarray, factor: int) -> np.ndarray:
    few = [max(3, n // factor) if n > 16 else n for n in array.shape]
    return resample_linear(resample_linear(array, few), array.shape)
