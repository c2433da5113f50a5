"""Intensities to what a network was trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dropiris.errors import InputError
from dropiris.volume import Volume

# Iris, supplement: CT clipped to this range (HU), everything else to its 2nd-98th percentile.
CT_WINDOW = (-990.0, 500.0)
PERCENTILES = (2.0, 98.0)
# Statistics of more voxels than this are estimated on a regular subset: 100 M voxels take 3 s to sort, 1 M 0.02 s.
_SAMPLE = 1_000_000


@dataclass(frozen=True)
class IntensityRule:
    """How intensities are clipped and scaled; stored in the model card.

    Attributes
    ----------
    scale : {"unit", "zscore"}
        To [0, 1] (DropGen, C.1) or to zero mean and unit deviation of the non-air voxels (Iris, supplement).
    percentiles : (low, high)
        Clipping of everything that is not CT.
    ct_window : (low, high) or None
        Clipping of CT in HU; None treats CT like any other scan.
    """

    scale: str = "unit"
    percentiles: tuple[float, float] = PERCENTILES
    ct_window: tuple[float, float] | None = CT_WINDOW

    def __post_init__(self) -> None:
        if self.scale not in ("unit", "zscore"):
            raise ValueError(f"scale is {self.scale!r}; it must be 'unit' or 'zscore'")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> IntensityRule:
        window = data.get("ct_window")
        low, high = data.get("percentiles", PERCENTILES)
        return cls(data.get("scale", "unit"), (low, high), tuple(window) if window else None)

    def apply(self, array: np.ndarray, is_ct: bool) -> np.ndarray:
        """Return new float32 intensities of the same shape; a constant image becomes zeros."""
        low, high = self.ct_window if is_ct and self.ct_window else robust_range(array, self.percentiles)
        if not high > low:
            return np.zeros(array.shape, np.float32)
        values = np.array(array, dtype=np.float32)
        np.clip(values, low, high, out=values)
        if self.scale == "unit":
            values -= low
            values /= high - low
            return values
        inside = subset(values, _SAMPLE)
        inside = inside[inside > low]
        mean, deviation = (float(inside.mean()), float(inside.std())) if inside.size else (low, 0.0)
        values -= mean
        values /= max(deviation, 1e-6 * (high - low))
        return values


def subset(array: np.ndarray, count: int) -> np.ndarray:
    """View of about ``count`` voxels (or all of a smaller array), evenly spread along every axis.

    Every n-th voxel in memory would not do: where n divides a row of 512 it reads a few columns, all of them air.
    """
    step = max(1, round((array.size / count) ** (1 / array.ndim)))
    return array[(slice(step // 2 if min(array.shape) > step else 0, None, step),) * array.ndim]


def robust_range(values: np.ndarray, percentiles: tuple[float, float]) -> tuple[float, float]:
    """Intensity percentiles (low, high), estimated on about a million evenly spread voxels."""
    low, high = np.percentile(subset(values, _SAMPLE), percentiles)
    if not high > low:  # a small bright object in a lot of air: fall back to the full range
        low, high = values.min(), values.max()
    return float(low), float(high)


def check_intensities(volume: Volume) -> None:
    """Refuse a scan nothing can be seen in: NaN, infinite or constant."""
    who = volume.name or "The volume"
    if not np.issubdtype(volume.array.dtype, np.number) or np.iscomplexobj(volume.array):
        raise InputError(f"{who} does not hold real numbers; give a scalar scan.")
    low, high = volume.array.min(), volume.array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{who} contains NaN or infinite voxels; replace them (for example with 0) and try again.")
    if low == high:
        raise InputError(f"{who} is constant (every voxel is {low:g}); there is nothing to segment.")


def looks_like_ct(volume: Volume) -> bool:
    """Whether intensities are Hounsfield units: by modality, or else by fat and air below -100 and tissue near 0."""
    if volume.modality:
        return volume.modality.upper() == "CT"
    low, median, high = np.percentile(subset(volume.array, 100_000), [1, 50, 99.5])
    # A crop inside the body holds little air (a spine's first percentile is -205), but always some fat.
    return bool(low <= -100 and -1100 <= median <= 300 and 50 <= high <= 4000 and volume.array.min() >= -5000)


def tissue_quantiles(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Intensities scaled from ``low``..``high`` to 0..1 at 49 evenly spread shares of the voxels that are not air."""
    shares = np.linspace(0.02, 0.98, 49)
    scaled = np.clip((values - low) / max(high - low, 1e-12), 0.0, 1.0)
    tissue = scaled[scaled > 0.05]
    return np.quantile(tissue, shares) if tissue.size else np.zeros(len(shares))
