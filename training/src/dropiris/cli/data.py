"""``dropiris data check`` and ``dropiris data convert``."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dropiris.cli.progress_bar import progress_bar
from dropiris.cli.sentences import say

if TYPE_CHECKING:
    from dropiris.curation.check import Check
    from dropiris.curation.finding import Finding

app = typer.Typer(help="Check labelled datasets, and bring them into nnU-Net's layout.", no_args_is_help=True)
# Findings of one severity and topic in one dataset that the terminal shows before it counts the rest.
_SHOWN = 4


class Layout(str, enum.Enum):
    """How a dataset that is converted is laid out."""

    msd = "msd"
    bids = "bids"
    dicom = "dicom"
    monailabel = "monailabel"


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


@app.command(help="Bring a dataset (MSD, BIDS derivatives, DICOM with SEG or RTSTRUCT, MONAI Label) into that layout.")
def convert(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder of the dataset.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DATASET", help="New folder, such as Dataset020_Liver.")
    ],
    layout: Annotated[
        Layout | None, typer.Option("--from", help="Layout of SOURCE; left out: what the folder looks like.")
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Of the data, where SOURCE does not say.")] = None,
    kind: Annotated[
        str, typer.Option("--desc", metavar="NAME", help="BIDS with several segmentations of a scan: which.")
    ] = "",
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave out cases that cannot be converted, instead of stopping.")
    ] = False,
) -> None:
    from dropiris.conversion.layouts import open_source
    from dropiris.conversion.nnunet_writer import write_dataset
    from dropiris.errors import InputError

    if output.exists():
        raise InputError(f"{output} exists already; choose another folder or remove it.")
    found = open_source(source, layout.value if layout else "", kind)
    about = {"licence": licence} if licence else {}
    with progress_bar("Converting") as progress:
        done = write_dataset(found, output, about=about, skip_broken=skip_broken, progress=progress)
    for sentence in done.remarks:
        say(f"Note: {sentence}")
    for sentence in done.left_out:
        say(f"Left out: {sentence}")
    cases = ", ".join(f"{split} {count}" for split, count in done.cases.items())
    names = ", ".join(structure.name for structure in done.structures)
    typer.echo(f"{output}: {found.layout}; cases: {cases}; structures: {names}.")
    typer.echo(f"Look at it with: dropiris data check {output}")


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
