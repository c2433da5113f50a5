"""From numbers of trust and real Dice to a threshold, what it catches, and a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

GOOD_DICE, BAD_DICE = 0.8, 0.5
FALSE_ALARMS = 0.1
# With fewer good results a tenth of them is nothing to choose by.
FEWEST_GOOD = 10


class Result(Protocol):
    """One structure of one result."""

    half: int
    hard: str
    voxels: int
    trust: float
    dice: float


def threshold_of(rows: Sequence[Result]) -> float | None:
    """The highest threshold that flags at most a tenth of the good results; None with too few of them."""
    good = sorted(row.trust for row in rows if row.dice >= GOOD_DICE and row.voxels)
    if len(good) < FEWEST_GOOD:
        return None
    # Flagged is what lies below, so the k-th smallest flags k; rounded down, or it could flag one more.
    return math.floor(1e4 * good[int(FALSE_ALARMS * len(good))]) / 1e4


def calibrate(rows: Sequence[Result], data: str) -> dict[str, Any]:
    """What a model card says under "trust": the threshold of one half, the figures of the other.

    Structures of which nothing was found are counted apart: they say so without a threshold.
    """
    threshold = threshold_of([row for row in rows if row.half == 0])
    told = [row for row in rows if row.half == 1]
    found = [row for row in told if row.voxels]
    good = [row for row in found if row.dice >= GOOD_DICE]
    bad = [row for row in found if row.dice < BAD_DICE]
    limit = -1.0 if threshold is None else threshold
    return {
        "threshold": threshold,
        "rank_correlation": _rounded(rank_correlation(found)),
        "results": len(found),
        "good": len(good),
        "bad": len(bad),
        "false_alarms": _share(good, limit),
        "caught": _share(bad, limit),
        "not_found": len(told) - len(found),
        "data": data,
        "note": (
            f"Good is Dice {GOOD_DICE} or more, bad below {BAD_DICE}. Half of the cases chose the threshold, these are "
            "figures of the other half. Most scans were made hard on purpose: "
            f"{', '.join(dict.fromkeys(row.hard for row in rows))}."
        ),
    }


def rank_correlation(rows: Sequence[Result]) -> float:
    """Spearman's, of trust and Dice; NaN where there is nothing to rank."""
    from scipy.stats import spearmanr

    trust, dice = [row.trust for row in rows], [row.dice for row in rows]
    if len(set(trust)) < 2 or len(set(dice)) < 2:
        return math.nan
    return float(spearmanr(trust, dice).statistic)


def draw(rows: Sequence[Result], figures: dict[str, Any], title: str, path: Path) -> None:
    """Scatter of trust over real Dice, one colour per kind of scan; the half that is reported in full colour."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.8), dpi=120)
    kinds = list(dict.fromkeys(row.hard for row in rows))
    for kind, colour in zip(kinds, pyplot.get_cmap("tab10")(np.arange(len(kinds)) % 10), strict=True):
        for half, alpha in ((0, 0.25), (1, 0.9)):
            own = [row for row in rows if row.hard == kind and row.half == half and row.voxels]
            label = kind if half else None
            axes.scatter([r.dice for r in own], [r.trust for r in own], 18, color=[colour], alpha=alpha, label=label)
    if figures["threshold"] is not None:
        axes.axhline(figures["threshold"], color="black", linewidth=0.8, linestyle="--")
    axes.axvline(GOOD_DICE, color="grey", linewidth=0.6, linestyle=":")
    axes.axvline(BAD_DICE, color="grey", linewidth=0.6, linestyle=":")
    axes.set_xlabel("real Dice")
    axes.set_ylabel("trust")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_title(f"{title}: rank correlation {figures['rank_correlation']}", fontsize=10)
    axes.legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def _share(rows: Sequence[Result], limit: float) -> float | None:
    return _rounded(sum(row.trust < limit for row in rows) / len(rows)) if rows else None


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)
