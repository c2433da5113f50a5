"""Two results on the same cases: paired differences, Wilcoxon's signed-rank test, Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from dropiris.evaluate.intervals import Interval, mean_interval
from dropiris.evaluate.metrics import VOLUME, Metric
from dropiris.evaluate.score import CaseScore

ALL = "all structures"
RULE = (
    "Wilcoxon signed-rank test, two-sided, over cases in which both results have a value (volume errors by their size; "
    f"'{ALL}': the mean of each case's structures); p values by Holm over the rows of one metric. With fewer than six "
    "cases no difference can reach p < 0.05."
)


@dataclass(frozen=True)
class Comparison:
    """One metric of one structure in two results.

    Attributes
    ----------
    cases, unpaired : int
        Cases that count, and cases left out because one of the results is undefined there.
    difference : float
        Mean of first less second; of volume errors, of their sizes.
    better, worse : int
        Cases in which the first result is the better or the worse one.
    p, p_holm : float
    """

    metric: str
    structure: str
    cases: int
    unpaired: int
    first: float
    second: float
    difference: float
    interval: Interval | None
    better: int
    worse: int
    p: float
    p_holm: float


def compare(first: Sequence[CaseScore], second: Sequence[CaseScore], metrics: Sequence[Metric]) -> list[Comparison]:
    """Every metric of every structure, and of the cases' means, first result against second."""
    rows = []
    for metric in metrics:
        if metric is not VOLUME:  # the same error in percent stands beside it
            rows += _corrected([_compared(metric, name, a, b) for name, a, b in _paired(first, second, metric)])
    return rows


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): p values that control the family-wise error."""
    order = np.argsort(p, kind="stable")
    raised = [(len(p) - rank) * p[n] for rank, n in enumerate(order)]
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1.0)
    return corrected.tolist()


def signed_rank(first: np.ndarray, second: np.ndarray) -> float:
    """p of Wilcoxon's test; equal pairs are left out, and 1 where nothing differs."""
    different = np.flatnonzero(first != second)
    if not len(different):
        return 1.0
    return float(stats.wilcoxon(first[different], second[different]).pvalue)


def _paired(
    first: Sequence[CaseScore], second: Sequence[CaseScore], metric: Metric
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Structure, and values (cases,) of both; the last one is the mean over each case's structures."""
    tables = [
        {(row.case, row.structure): _value(row, metric) for row in rows if row.scored} for rows in (first, second)
    ]
    keys = list(dict.fromkeys([*tables[0], *tables[1]]))
    names = list(dict.fromkeys(name for _, name in keys))
    found = []
    for name in names:
        pairs = [[table.get(key, math.nan) for table in tables] for key in keys if key[1] == name]
        found.append((name, *np.array(pairs).T))
    by_case: dict[str, list[list[float]]] = {}
    for key in keys:
        pair = [table.get(key, math.nan) for table in tables]
        if np.isfinite(pair).all():
            by_case.setdefault(key[0], []).append(pair)
    if len(names) > 1 and by_case:
        found.append((ALL, *np.array([np.mean(pairs, 0) for pairs in by_case.values()]).T))
    return found


def _value(row: CaseScore, metric: Metric) -> float:
    value = row.values[metric.key]
    return abs(value) if metric.better == "zero" else value


def _compared(metric: Metric, structure: str, first: np.ndarray, second: np.ndarray) -> Comparison | None:
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        return None
    a, b = first[both], second[both]
    gain = (a - b) * (1 if metric.better == "high" else -1)
    return Comparison(
        metric=metric.key,
        structure=structure,
        cases=len(a),
        unpaired=int((~both).sum()),
        first=float(a.mean()),
        second=float(b.mean()),
        difference=float((a - b).mean()),
        interval=mean_interval(a - b),
        better=int((gain > 0).sum()),
        worse=int((gain < 0).sum()),
        p=signed_rank(a, b),
        p_holm=math.nan,
    )


def _corrected(rows: Sequence[Comparison | None]) -> list[Comparison]:
    known = [row for row in rows if row is not None]
    return [replace(row, p_holm=p) for row, p in zip(known, holm([row.p for row in known]), strict=True)]
