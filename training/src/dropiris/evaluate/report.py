"""The report: ``scores.csv`` (a row per case and structure) and ``report.json`` (means, spreads, the rules used)."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import statistics
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dropiris import __version__
from dropiris.evaluate.cases import DatasetTable
from dropiris.evaluate.metrics import EMPTY_RULE
from dropiris.evaluate.score import CaseScore

METRICS = ("dice", "nsd", "hd95")


def summarise(rows: Sequence[CaseScore], tolerance: float, table: DatasetTable) -> dict[str, Any]:
    """Per structure and overall: mean, standard deviation, number of values and of undefined ones.

    The overall mean is the mean of the structures' means, so a structure present in few cases counts as much.
    """
    names = list(dict.fromkeys(row.structure for row in rows))
    structures = {name: _of([row for row in rows if row.structure == name]) for name in names}
    cases = list(dict.fromkeys(row.case for row in rows))
    overall = {}
    for metric in METRICS:
        means = [entry[metric]["mean"] for entry in structures.values() if entry[metric]["mean"] is not None]
        overall[metric] = statistics.fmean(means) if means else None
    return {
        "dropiris": __version__,
        "rules": {
            "empty": EMPTY_RULE,
            "nsd_tolerance_mm": tolerance,
            "overall": "mean of the structures' means",
            "partially_labelled": "only the structures annotated in a case are scored there",
        },
        "cases": len(cases),
        "overall": overall,
        "structures": structures,
        "partially_labelled": {
            case: list(table.partially_labelled[case]) for case in cases if case in table.partially_labelled
        },
        "scores": [{key: _plain(value) for key, value in row.to_json().items()} for row in rows],
    }


def _of(rows: Sequence[CaseScore]) -> dict[str, Any]:
    scored = [row for row in rows if row.note != "absent"]
    entry: dict[str, Any] = {"cases": len(scored)}
    for metric in METRICS:
        values = [getattr(row, metric) for row in scored]
        finite = [value for value in values if math.isfinite(value)]
        entry[metric] = {
            "mean": statistics.fmean(finite) if finite else None,
            "sd": statistics.stdev(finite) if len(finite) > 1 else None,
            "n": len(finite),
            "undefined": len(values) - len(finite),
        }
    entry["missed"] = sum(row.note == "missed" for row in rows)
    entry["invented"] = sum(row.note == "invented" for row in rows)
    return entry


def _plain(value: Any) -> Any:
    """JSON has no NaN: an undefined score is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_report(folder: Path, rows: Sequence[CaseScore], summary: dict[str, Any]) -> tuple[Path, Path]:
    """Write both files; each is complete under its name or not there."""
    folder.mkdir(parents=True, exist_ok=True)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["case", "structure", "dice", "nsd", "hd95_mm", "label_ml", "prediction_ml", "note"])
    for row in rows:
        scores = [_cell(value, 4) for value in (row.dice, row.nsd, row.hd95)]
        writer.writerow(
            [row.case, row.structure, *scores, _cell(row.label_ml, 3), _cell(row.prediction_ml, 3), row.note]
        )
    files = {folder / "scores.csv": table.getvalue(), folder / "report.json": json.dumps(summary, indent=2) + "\n"}
    _write_all(files.items())
    return folder / "scores.csv", folder / "report.json"


def _cell(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else ""


def _write_all(files: Iterable[tuple[Path, str]]) -> None:
    ready: list[tuple[Path, Path]] = []
    try:
        for path, text in files:
            work = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
            ready.append((work, path))
            work.write_text(text, encoding="utf-8", newline="")
        for work, path in ready:
            os.replace(work, path)
    finally:
        for work, _ in ready:
            work.unlink(missing_ok=True)
