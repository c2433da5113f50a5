"""``dropiris data check`` and ``dropiris data convert``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dropiris.cli.progress_bar import progress_bar

if TYPE_CHECKING:
    from dropiris.curation.check import Check
    from dropiris.curation.finding import Finding

app = typer.Typer(help="Check labelled datasets, and bring them into nnU-Net's layout.", no_args_is_help=True)
# Findings of one severity and topic in one dataset that the terminal shows before it counts the rest.
_SHOWN = 4


@app.command(help="Look for what would spoil training or scores; several datasets are also compared with each other.")
def check(
    datasets: Annotated[list[Path], typer.Argument(metavar="DATASET...", help="Folders in nnU-Net's raw layout.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="REPORT", help="Folder for the tables and the page.")
    ] = None,
) -> None:
    from dropiris.curation.check import check_datasets
    from dropiris.curation.report import write_report
    from dropiris.errors import InputError
    from dropiris.files.reading import library

    if output is not None:
        if output.is_file():
            raise InputError(f"{output} is a file; give a folder for the report.")
        for module in ("jinja2", "PIL"):  # asked for now, not after an hour of reading
            library(module, "dropiris[train]", "HTML report")
    with progress_bar("Checking") as progress:
        result = check_datasets(datasets, progress, pictures=output is not None)
    _show(result)
    if output is not None:
        for path in write_report(output, result):
            typer.echo(path)
    if result.count("error"):
        raise typer.Exit(1)


def _show(result: Check) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from dropiris.curation.finding import SEVERITIES
    from dropiris.curation.report import facts_of

    console = Console()
    facts = [facts_of(dataset) for dataset in result.datasets]
    overview = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in facts[0]:
        overview.add_column(name, overflow="fold")
    for row in facts:
        overview.add_row(*(Text(value) for value in row.values()))
    console.print(overview)
    if result.findings:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("severity", "where", "what, and what to do"):
            table.add_column(name, overflow="fold")
        colours = {"error": "bold red", "warning": "yellow", "note": "cyan"}
        for found, more in _shortened(result.findings):
            where, what = Text(found.where), Text(found.sentence)
            if more:
                where, what = Text(found.dataset), Text(f"... and {more} more of {found.topic}; the report lists all.")
            table.add_row(Text(found.severity, style=colours[found.severity]), where, what)
        console.print(table)
    cases = sum(len(dataset.records) for dataset in result.datasets)
    counts = ", ".join(
        f"{result.count(severity)} {severity}{'s' * (result.count(severity) != 1)}" for severity in SEVERITIES
    )
    typer.echo(f"{cases} case{'s' * (cases != 1)}: {counts}.")


def _shortened(findings: tuple[Finding, ...]) -> list[tuple[Finding, int]]:
    """The first few findings of each kind; then one that stands for how many more there are."""
    kinds: dict[tuple[str, str, str], list[Finding]] = {}
    for found in findings:
        kinds.setdefault((found.severity, found.topic, found.dataset), []).append(found)
    rows = []
    for group in kinds.values():
        shown = group if len(group) <= _SHOWN + 1 else group[:_SHOWN]
        rows += [(found, 0) for found in shown]
        if len(shown) < len(group):
            rows.append((group[0], len(group) - len(shown)))
    return rows
