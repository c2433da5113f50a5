"""``dropiris evaluate``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropiris.cli.progress_bar import progress_bar
from dropiris.cli.scans import names_of

if TYPE_CHECKING:
    from dropiris.evaluate.cases import CasePair, DatasetTable
    from dropiris.evaluate.score import CaseScore


def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="Label map, or folder of them.")],
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="Label map, or folder of the same names.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="REPORT", help="Folder for the report.")],
    structures: Annotated[list[str] | None, typer.Option("--structures", "-s", help="Only these, by name.")] = None,
    tolerance: Annotated[
        list[float] | None,
        typer.Option("--tolerance", help="Surface distance that NSD forgives, mm; repeat. [default: 1, 2]", min=0),
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="PREDICTIONS2", help="A second result, compared case by case.")
    ] = None,
    images: Annotated[Path | None, typer.Option("--images", help="Scans, shown behind the worst cases.")] = None,
    dataset: Annotated[
        Path | None, typer.Option("--dataset", metavar="DATASET", help="dataset.json, if not beside the labels.")
    ] = None,
    failure: Annotated[float, typer.Option("--failure-below", help="Dice of a failure.", min=0, max=1)] = 0.5,
    worst: Annotated[int, typer.Option("--worst", help="So many of the worst cases are shown.", min=0)] = 5,
    by_value: Annotated[
        bool, typer.Option("--by-value", help="Compare label values, whatever the structures are called.")
    ] = False,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write report.html beside CSV and JSON.")] = True,
    ignore_missing: Annotated[bool, typer.Option("--ignore-missing", help="Skip cases without prediction.")] = False,
    missing_fails: Annotated[
        bool, typer.Option("--missing-fails", help="Score a case without prediction as an empty one.")
    ] = False,
) -> None:
    from dropiris.errors import InputError
    from dropiris.evaluate.cases import find_pairs, read_table
    from dropiris.evaluate.metrics import TOLERANCES, metrics_of
    from dropiris.evaluate.overlays import worst_cases
    from dropiris.evaluate.report import write_report
    from dropiris.evaluate.report_page import report_page
    from dropiris.evaluate.summary import summarise

    if output.is_file():
        raise InputError(f"{output} is a file; give a folder for the report.")
    if images is not None and not images.exists():
        raise InputError(f"{images} does not exist; check the path.")
    if ignore_missing and missing_fails:
        raise typer.BadParameter("give one of --ignore-missing and --missing-fails.")
    tolerances = sorted(set(tolerance or TOLERANCES))
    pairs = find_pairs(predictions, labels, "skip" if ignore_missing else "empty" if missing_fails else "refuse")
    others = find_pairs(against, labels, "empty" if missing_fails else "skip") if against else []
    table, names = read_table(labels, dataset), names_of(structures)
    how = (table, tolerances, names, by_value)
    rows, seconds = _score("Evaluating", pairs, *how), _score("Comparing", others, *how)
    if not rows:
        raise InputError(f"No structure is annotated in {labels}; correct partially_labelled in dataset.json.")
    metrics = metrics_of(tolerances)
    summary = summarise(rows, metrics, table, failure, seconds)
    text = ""
    if page:
        pictures = worst_cases(pairs, rows, table, images, worst, by_value)
        title = f"Evaluation of {predictions.name}" + (f" against {against.name}" if against else "")
        text = report_page(summary, rows, metrics, pictures, title)
    files = write_report(output, rows, metrics, summary, seconds, text)
    _print(summary, metrics)
    typer.echo(" ".join(str(path) for path in files))


def _score(
    what: str,
    pairs: list[CasePair],
    table: DatasetTable,
    tolerances: list[float],
    names: list[str] | None,
    by_value: bool,
) -> list[CaseScore]:
    from dropiris.evaluate.score import score_case
    from dropiris.progress import Progress

    rows: list[CaseScore] = []
    if pairs:
        with progress_bar(what) as progress:
            for n, pair in enumerate(pairs):
                progress(Progress(pair.case, n / len(pairs)))
                rows += score_case(pair, table, tolerances, names, by_value)
    return rows


def _print(summary: Mapping[str, Any], metrics: Any) -> None:
    """Means per structure, then the mean of structures with its interval."""
    cases, failed = summary["cases"], summary["failures"]["cases"]["count"]
    typer.echo(
        f"{cases} case{'s' if cases > 1 else ''}, {failed} with a Dice below {summary['failures']['dice_below']:g}; "
        "distances in mm, volume errors in mL and %."
    )
    width = max((len(name) for name in summary["structures"]), default=9)
    width = max(width, len("structure"))
    heads = [f"{_head(metric):>9}" for metric in metrics]
    typer.echo(f"{'structure':<{width}} {''.join(heads)}  cases  failed")
    for name, entry in summary["structures"].items():
        cells = [_cell(entry[metric.key]["mean"], metric.digits) for metric in metrics]
        typer.echo(f"{name:<{width}} {''.join(cells)}  {entry['cases']:5}  {entry['failed']['count']:6}")
    overall = summary["overall"]
    typer.echo(f"{'mean':<{width}} {''.join(_cell(overall[m.key]['mean'], m.digits) for m in metrics)}")
    for row, end in (("from", 0), ("to", 1)):
        ends = [(overall[metric.key]["interval"] or (None, None))[end] for metric in metrics]
        if any(value is not None for value in ends):
            cells = [_cell(value, metric.digits) for value, metric in zip(ends, metrics, strict=True)]
            typer.echo(f"{row:>{width}} {''.join(cells)}")
    for row in summary.get("against", {}).get("comparison", []):
        if row["metric"] == "dice":
            typer.echo(
                f"Dice of {row['structure']}: {row['difference']:+.3f} against the second result, better in "
                f"{row['better']} and worse in {row['worse']} of {row['cases']} cases, p {row['p_holm']:.4f} "
                "(Wilcoxon, Holm)"
            )


def _head(metric: Any) -> str:
    words = {"volume_error_ml": "vol. mL", "volume_error_percent": "vol. %", "hd95_mm": "HD95"}
    return words.get(metric.key, metric.title.replace(" at ", " ").replace(" mm", ""))


def _cell(value: float | None, digits: int) -> str:
    return f"{'-':>9}" if value is None else f"{value:>9.{digits}f}"
