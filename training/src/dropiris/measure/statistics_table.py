"""Statistics as a CSV file that spreadsheets and programs read."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from dropiris.errors import InputError
from dropiris.files.writing import replacing
from dropiris.measure.statistics import StructureStatistics

COLUMNS = ("scan", "structure", "voxels", "volume_mL", "mean", "sd", "centre_R_mm", "centre_A_mm", "centre_S_mm")
# Empty where the result was not checked; see dropiris.trust.
TRUST_COLUMNS = ("trust", "flag")


def write_statistics_csv(
    path: str | os.PathLike[str],
    rows: Sequence[StructureStatistics] | Mapping[str, Sequence[StructureStatistics]],
    scan: str = "",
) -> None:
    """Write one line per structure; nothing is left behind when writing fails.

    Parameters
    ----------
    path : path
        Its folder must exist.
    rows : sequence, or mapping of scan name to sequence
        Of one scan, or of several.
    scan : str
        Name of the scan when ``rows`` is a sequence.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist; create it first.")
    text = statistics_csv(rows if isinstance(rows, Mapping) else {scan: rows})
    with replacing(path, ".csv") as hidden:
        # Excel takes UTF-8 for the local code page unless a mark says so; plain ASCII needs none.
        hidden.write_text(text, encoding="ascii" if text.isascii() else "utf-8-sig", newline="")


def statistics_csv(rows: Mapping[str, Sequence[StructureStatistics]]) -> str:
    """The content of the file; a value that does not exist (NaN) is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")  # RFC 4180
    writer.writerow(COLUMNS + TRUST_COLUMNS)
    for scan, structures in rows.items():
        for row in structures:
            trust = math.nan if row.trust is None else row.trust.value
            numbers = (row.volume_ml, row.mean, row.sd, *row.centre_ras, trust)
            cells = ["" if math.isnan(number) else f"{number:.6g}" for number in numbers]
            writer.writerow([scan, row.name, row.voxels, *cells, "" if row.trust is None else row.trust.flag])
    return text.getvalue()
