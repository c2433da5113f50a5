"""Dice, surface Dice at tolerances (NSD), HD95 and volume error of two masks; the first three by MONAI."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dropiris.errors import InputError

# Stated in every report, since conventions differ and change the numbers.
EMPTY_RULE = (
    "Absent from label and prediction: not scored. Absent from one of them: Dice 0, NSD 0, HD95 undefined "
    "(counted, not averaged). The volume error in percent is undefined where the label is empty."
)
# What NSD forgives, mm, unless a report is told otherwise.
TOLERANCES = (1.0, 2.0)


@dataclass(frozen=True)
class Metric:
    """A column of a report.

    Attributes
    ----------
    better : {"high", "low", "zero"}
        Where a good value lies; errors with a sign are best at zero and compared by their size.
    """

    key: str
    title: str
    unit: str
    better: Literal["high", "low", "zero"]
    digits: int


DICE = Metric("dice", "Dice", "", "high", 3)
HD95 = Metric("hd95_mm", "HD95", "mm", "low", 1)
VOLUME = Metric("volume_error_ml", "Volume error", "mL", "zero", 2)
VOLUME_SHARE = Metric("volume_error_percent", "Volume error", "%", "zero", 1)


def metrics_of(tolerances: Sequence[float] = TOLERANCES) -> tuple[Metric, ...]:
    """Every metric of a report, NSD once per tolerance (mm)."""
    surfaces = [Metric(nsd_key(mm), f"NSD at {mm:g} mm", "", "high", 3) for mm in tolerances]
    return (DICE, *surfaces, HD95, VOLUME, VOLUME_SHARE)


def nsd_key(tolerance: float) -> str:
    return f"nsd_{tolerance:g}mm"


@dataclass(frozen=True)
class MaskScores:
    """Scores of one structure in one case; NaN where :data:`EMPTY_RULE` leaves one undefined.

    Attributes
    ----------
    values : dict
        By :attr:`Metric.key`: Dice and NSD 0 to 1, distances in mm, volume errors (prediction less label) in mL and
        percent of the label.
    note : str
        "", "absent", "missed" (nothing predicted) or "invented" (nothing labelled).
    """

    values: dict[str, float]
    note: str = ""


def score_masks(
    prediction: np.ndarray,
    label: np.ndarray,
    spacing: Sequence[float],
    tolerances: Sequence[float] = TOLERANCES,
    voxel_ml: float | None = None,
) -> MaskScores:
    """Compare two boolean (I, J, K) masks.

    Parameters
    ----------
    spacing : 3 floats, mm
    tolerances : sequence of float
        Surface distances that NSD forgives, mm.
    voxel_ml : float, optional
        Volume of a voxel, mL; the product of ``spacing`` where the axes are at right angles.
    """
    predicted, labelled = int(np.count_nonzero(prediction)), int(np.count_nonzero(label))
    values = dict.fromkeys((metric.key for metric in metrics_of(tolerances)), math.nan)
    if not predicted and not labelled:
        return MaskScores(values, "absent")
    error = predicted - labelled
    values[VOLUME.key] = error * (float(np.prod(spacing)) / 1000 if voxel_ml is None else voxel_ml)
    values[VOLUME_SHARE.key] = 100 * error / labelled if labelled else math.nan
    if not predicted or not labelled:
        values |= dict.fromkeys([DICE.key, *map(nsd_key, tolerances)], 0.0)
        return MaskScores(values, "missed" if labelled else "invented")
    return MaskScores(values | _surfaces_and_overlap(prediction, label, spacing, tolerances))


def _surfaces_and_overlap(
    prediction: np.ndarray, label: np.ndarray, spacing: Sequence[float], tolerances: Sequence[float]
) -> dict[str, float]:
    try:
        import torch
        from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice
    except ImportError as problem:
        raise InputError(f"Evaluating needs {problem.name}; run `pip install dropiris[train]`.") from None
    # Distances are as good on the box that holds both masks: 40 times faster for a kidney in a whole-body scan.
    box = _box(prediction | label)
    ours, truth = (
        torch.from_numpy(np.ascontiguousarray(mask[box]))[None, None].float() for mask in (prediction, label)
    )
    mm = [float(s) for s in spacing]
    with warnings.catch_warnings():
        # MONAI 1.6 warns of an argument that it passes to itself.
        warnings.simplefilter("ignore", FutureWarning)
        surfaces = {
            nsd_key(tolerance): compute_surface_dice(ours, truth, [tolerance], include_background=True, spacing=mm)
            for tolerance in tolerances
        }
        distance = compute_hausdorff_distance(ours, truth, include_background=True, percentile=95, spacing=mm)
        overlap = compute_dice(ours, truth)
    found = {DICE.key: overlap, **surfaces, HD95.key: distance}
    return {key: float(value) for key, value in found.items()}


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    """Bounding box with one voxel of margin."""
    box = []
    for axis in range(mask.ndim):
        at = np.flatnonzero(mask.any(axis=tuple(n for n in range(mask.ndim) if n != axis)))
        box.append(slice(max(int(at[0]) - 1, 0), int(at[-1]) + 2))
    return tuple(box)
