"""What the scores of many cases come to: means with intervals, spreads, failures."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from dropiris import __version__
from dropiris.evaluate import comparison, intervals
from dropiris.evaluate.cases import DatasetTable
from dropiris.evaluate.metrics import DICE, EMPTY_RULE, Metric
from dropiris.evaluate.score import CaseScore

# A Dice below this is a failure, unless a report is told otherwise.
FAILURE = 0.5


def summarise(
    rows: Sequence[CaseScore],
    metrics: Sequence[Metric],
    table: DatasetTable,
    failure: float = FAILURE,
    against: Sequence[CaseScore] = (),
) -> dict[str, Any]:
    """Per structure and overall: mean with interval, standard deviation, number of values and of undefined ones.

    The overall mean is the mean of the structures' means, so a structure present in few cases counts as much.
    Undefined scores stay NaN; :func:`~dropiris.evaluate.report.write_report` writes them as null.
    """
    names = list(dict.fromkeys(row.structure for row in rows))
    cases = list(dict.fromkeys(row.case for row in rows))
    summary: dict[str, Any] = {
        "dropiris": __version__,
        "rules": {
            "empty": EMPTY_RULE,
            "overall": "mean of the structures' means",
            "partially_labelled": "only the structures annotated in a case are scored there",
            "failure": f"a structure of a case fails when its Dice is below {failure:g} (missed and invented: Dice 0); "
            "a case fails when one of its structures does",
            "intervals": intervals.RULE,
        },
        "metrics": [asdict(metric) for metric in metrics],
        "cases": len(cases),
        "overall": {metric.key: _overall(rows, cases, names, metric) for metric in metrics},
        "failures": _failures(rows, failure),
        "structures": {
            name: _structure([row for row in rows if row.structure == name and row.scored], metrics, failure)
            for name in names
        },
        "partially_labelled": {
            case: list(table.partially_labelled[case]) for case in cases if case in table.partially_labelled
        },
        "scores": [asdict(row) for row in rows],
    }
    if against:
        summary["rules"]["comparison"] = comparison.RULE
        summary["against"] = {
            "cases": len({row.case for row in against}),
            "comparison": [asdict(row) for row in comparison.compare(rows, against, metrics)],
            "scores": [asdict(row) for row in against],
        }
    return summary


def case_dice(rows: Sequence[CaseScore]) -> dict[str, float]:
    """Mean Dice over the scored structures of every case, worst first."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row.scored:
            found.setdefault(row.case, []).append(row.values[DICE.key])
    means = {case: statistics.fmean(values) for case, values in found.items()}
    return dict(sorted(means.items(), key=lambda item: item[1]))


def _structure(rows: Sequence[CaseScore], metrics: Sequence[Metric], failure: float) -> dict[str, Any]:
    entry: dict[str, Any] = {"cases": len(rows)}
    for metric in metrics:
        values = np.array([row.values[metric.key] for row in rows])
        finite = values[np.isfinite(values)]
        entry[metric.key] = {
            "mean": float(finite.mean()) if len(finite) else None,
            "interval": intervals.mean_interval(finite),
            "sd": float(finite.std(ddof=1)) if len(finite) > 1 else None,
            "median": float(np.median(finite)) if len(finite) else None,
            "n": len(finite),
            "undefined": len(values) - len(finite),
        }
        if metric.better == "zero":  # the mean is the bias; how wrong a value is lies in its size
            entry[metric.key]["mean_size"] = float(np.abs(finite).mean()) if len(finite) else None
    entry["missed"] = sum(row.note == "missed" for row in rows)
    entry["invented"] = sum(row.note == "invented" for row in rows)
    return entry | {"failed": _rate(sum(row.values[DICE.key] < failure for row in rows), len(rows))}


def _overall(rows: Sequence[CaseScore], cases: list[str], names: list[str], metric: Metric) -> dict[str, Any]:
    table = np.full((len(cases), len(names)), np.nan)
    for row in rows:
        table[cases.index(row.case), names.index(row.structure)] = row.values[metric.key]
    if not np.isfinite(table).any():
        return {"mean": None, "interval": None}
    return {"mean": float(intervals.structures_mean(table)), "interval": intervals.structures_interval(table)}


def _failures(rows: Sequence[CaseScore], failure: float) -> dict[str, Any]:
    scored = [row for row in rows if row.scored]
    failed = [row for row in scored if row.values[DICE.key] < failure]
    return {
        "dice_below": failure,
        "structures": _rate(len(failed), len(scored)),
        "cases": _rate(len({row.case for row in failed}), len({row.case for row in scored})),
        "failed": [{"case": row.case, "structure": row.structure, "dice": row.values[DICE.key]} for row in failed],
    }


def _rate(count: int, total: int) -> dict[str, Any]:
    rate = count / total if total else None
    return {"count": count, "of": total, "rate": rate, "interval": intervals.rate_interval(count, total)}
