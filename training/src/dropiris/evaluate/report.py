"""The report's files: every score, means with intervals, a comparison, all of it as JSON, and one page to read."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dropiris.errors import InputError
from dropiris.evaluate.metrics import Metric
from dropiris.evaluate.score import CaseScore


def write_report(
    folder: Path,
    rows: Sequence[CaseScore],
    metrics: Sequence[Metric],
    summary: Mapping[str, Any],
    against: Sequence[CaseScore] = (),
    page: str = "",
) -> list[Path]:
    """Write ``scores.csv``, ``structures.csv``, ``report.json``, with a second result ``against.csv`` and
    ``comparison.csv``, and ``report.html``; all of them are there or none is.
    """
    files = {"scores.csv": _scores(rows, metrics), "structures.csv": _structures(summary, metrics)}
    if against:
        files |= {"against.csv": _scores(against, metrics), "comparison.csv": _comparison(summary)}
    files["report.json"] = json.dumps(plain(summary), indent=2, ensure_ascii=False) + "\n"
    if page:
        files["report.html"] = page
    write_all(folder, files)
    return [folder / name for name in files]


def plain(value: Any) -> Any:
    """JSON has no NaN: an undefined number is null."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV: floats to six digits, what is undefined left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def write_all(folder: Path, files: Mapping[str, str]) -> None:
    """Write several texts into a folder, each complete under its name, or none of them.

    Raises
    ------
    InputError
        The folder cannot be made or written to.
    """
    ready: list[tuple[Path, Path]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            work = folder / f".{uuid.uuid4().hex[:8]}"
            ready.append((work, folder / name))
            work.write_text(text, encoding="utf-8", newline="")
        for work, path in ready:
            os.replace(work, path)
    except OSError as problem:
        raise InputError(
            f"{folder} cannot be written ({problem.strerror or problem}); choose another folder or free some space."
        ) from problem
    finally:
        for work, _ in ready:
            work.unlink(missing_ok=True)


def _scores(rows: Sequence[CaseScore], metrics: Sequence[Metric]) -> str:
    head = ["case", "structure", *(metric.key for metric in metrics), "label_ml", "prediction_ml", "note"]
    return csv_text(
        head,
        (
            [row.case, row.structure, *(row.values[m.key] for m in metrics), row.label_ml, row.prediction_ml, row.note]
            for row in rows
        ),
    )


def _structures(summary: Mapping[str, Any], metrics: Sequence[Metric]) -> str:
    head = ["structure", "metric", "mean", "low", "high", "sd", "median", "n", "undefined", "failed", "cases"]
    lines = []
    for name, entry in summary["structures"].items():
        for metric in metrics:
            found = entry[metric.key]
            ends = found["interval"] or (None, None)
            spread = [found[key] for key in ("sd", "median", "n", "undefined")]
            lines.append([name, metric.key, found["mean"], *ends, *spread, entry["failed"]["count"], entry["cases"]])
    for metric in metrics:
        found = summary["overall"][metric.key]
        ends = found["interval"] or (None, None)
        failed = summary["failures"]["cases"]["count"]
        lines.append(["mean", metric.key, found["mean"], *ends, *[None] * 4, failed, summary["cases"]])
    return csv_text(head, lines)


def _comparison(summary: Mapping[str, Any]) -> str:
    head = ["metric", "structure", "cases", "unpaired", "first", "second", "difference", "low", "high"]
    keys = ("metric", "structure", "cases", "unpaired", "first", "second", "difference")
    last = ("better", "worse", "p", "p_holm")
    lines = [
        [*(row[key] for key in keys), *(row["interval"] or (None, None)), *(row[key] for key in last)]
        for row in summary["against"]["comparison"]
    ]
    return csv_text([*head, *last], lines)


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return "" if value is None else value
