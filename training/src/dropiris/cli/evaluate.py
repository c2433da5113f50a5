"""``dropiris evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dropiris.cli.progress_bar import progress_bar
from dropiris.cli.scans import names_of


def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="Label map, or folder of them.")],
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="Label map, or folder of the same names.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="REPORT", help="Folder for the report.")],
    structures: Annotated[list[str] | None, typer.Option("--structures", "-s", help="Only these, by name.")] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Surface distance that NSD forgives, mm.", min=0)
    ] = 2.0,
    ignore_missing: Annotated[bool, typer.Option("--ignore-missing", help="Skip cases without prediction.")] = False,
) -> None:
    from dropiris.errors import InputError
    from dropiris.evaluate.cases import find_pairs, read_table
    from dropiris.evaluate.report import METRICS, summarise, write_report
    from dropiris.evaluate.score import score_case
    from dropiris.progress import Progress

    if output.is_file():
        raise InputError(f"{output} is a file; give a folder for the report.")
    pairs = find_pairs(predictions, labels, ignore_missing)
    table = read_table(labels)
    rows = []
    with progress_bar("Evaluating") as progress:
        for n, pair in enumerate(pairs):
            progress(Progress(pair.case, n / len(pairs)))
            rows += score_case(pair, table, tolerance, names_of(structures))
    summary = summarise(rows, tolerance, table)
    files = write_report(output, rows, summary)
    typer.echo(f"{len(pairs)} case{'s' if len(pairs) > 1 else ''}; NSD at {tolerance:g} mm; HD95 in mm.")
    width = max((len(name) for name in summary["structures"]), default=9)
    typer.echo(f"{'structure':<{width}}  {'Dice':>6}  {'NSD':>6}  {'HD95':>7}  cases")
    for name, entry in summary["structures"].items():
        cells = [_cell(entry[metric]["mean"], metric) for metric in METRICS]
        typer.echo(f"{name:<{width}}  {'  '.join(cells)}  {entry['cases']}")
    cells = [_cell(summary["overall"][metric], metric) for metric in METRICS]
    typer.echo(f"{'mean':<{width}}  {'  '.join(cells)}")
    typer.echo(" ".join(str(path) for path in files))


def _cell(value: float | None, metric: str) -> str:
    width = 7 if metric == "hd95" else 6
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{1 if metric == 'hd95' else 3}f}"
