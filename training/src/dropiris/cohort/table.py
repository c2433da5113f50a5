"""``cohort.csv``: a row per case for spreadsheets; with structures as columns, because cohorts are compared by them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from dropiris.cohort.case import WAITING, CaseRecord
from dropiris.files.writing import replacing

COLUMNS = ("case", "status", "seconds", "attempts", "worker", "device", "flags", "error", "notes")


def write_table(path: Path, rows: Sequence[CaseRecord]) -> None:
    """Write the table in one step; raises InputError where the disk cannot take it."""
    text = table_text(rows)
    with replacing(path, ".csv") as hidden:
        # Excel takes UTF-8 for the local code page unless a mark says so; plain ASCII needs none.
        hidden.write_text(text, encoding="ascii" if text.isascii() else "utf-8-sig", newline="")


def table_text(rows: Sequence[CaseRecord]) -> str:
    """After ``COLUMNS``: ``NAME mL`` of every structure, then ``NAME trust`` where results were checked."""
    names = list(dict.fromkeys(row.name for record in rows for row in record.statistics))
    checked = [n for n in names if any(s.name == n and s.trust for record in rows for s in record.statistics)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")  # RFC 4180
    writer.writerow([*COLUMNS, *(f"{name} mL" for name in names), *(f"{name} trust" for name in checked)])
    for record in rows:
        found = {row.name: row for row in record.statistics}
        volumes = [f"{found[name].volume_ml:.6g}" if name in found else "" for name in names]
        trust = [found[name].trust if name in found else None for name in checked]
        numbers = [f"{value.value:.4g}" if value and value.checked else "" for value in trust]
        tried = record.status != WAITING
        about = [record.case, record.status, f"{record.seconds:.1f}" if tried else "", record.attempts if tried else ""]
        said = ["; ".join(record.flags), record.error, " | ".join(record.notes)]
        writer.writerow([*about, record.worker, record.device, *said, *volumes, *numbers])
    return text.getvalue()
