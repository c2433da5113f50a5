"""A folder of scans at the command line: which engine, what is said while it runs, and how it ends."""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dropiris.cli.progress_bar import progress_bar
from dropiris.cli.scans import found
from dropiris.cli.sentences import say
from dropiris.errors import Cancelled, InputError
from dropiris.progress import ProgressCallback

if TYPE_CHECKING:
    from dropiris.cohort import Case, CaseRecord, Crew, Journal
    from dropiris.cohort.recipe import Recipe


class Engine(str, enum.Enum):
    """Who segments a folder of scans."""

    here = "here"
    ray = "ray"


EngineChoice = Annotated[
    Engine, typer.Option("--engine", help="For a folder of scans: this process, or workers on a Ray cluster.")
]
Address = Annotated[
    str | None,
    typer.Option("--address", metavar="HOST:PORT", help="Of the Ray cluster, or auto; else Ray is started here."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Of Ray; without it one per GPU, or per four cores.")
]
GpuShare = Annotated[
    float, typer.Option("--gpu-share", min=0.01, help="Of a GPU for each worker of Ray; 0.5 puts two on one.")
]
Retries = Annotated[
    int, typer.Option("--retries", min=0, help="Further attempts when a worker dies or the disk is full.")
]


@dataclass(frozen=True)
class Engines:
    """What the options above say."""

    engine: Engine = Engine.here
    address: str | None = None
    workers: int | None = None
    gpu_share: float = 1.0
    retries: int = 2

    def check(self, is_cohort: bool) -> None:
        """Options that would do nothing are bad usage."""
        if self.engine is Engine.ray and not is_cohort:
            raise typer.BadParameter("--engine ray is for a folder of scans; leave it out for one scan.")
        if self.engine is Engine.here and (self.address or self.workers):
            raise typer.BadParameter("--address and --workers are Ray's; add --engine ray.")
        if self.engine is Engine.ray:
            from dropiris.cohort.ray_crew import import_ray

            import_ray()


def segment_cohort(cases: list[Case], recipe: Recipe, engines: Engines, statistics: Path | None) -> None:
    """Segment every scan of a folder that is not done yet.

    One that fails does not stop the rest, but the exit code is 1. The statistics of all results of the folder go into
    one table, whatever ends the run.
    """
    from dropiris.cohort import Case, Journal, run_cohort

    written = 0

    def tell(record: CaseRecord, ended: int, total: int) -> None:
        nonlocal written
        written += _tell(record, results[record.case], f"{ended} of {total}")

    results = {case.name: case.result for case in cases}
    # Workers have working directories of their own, and a journal is read from anywhere.
    cases = [Case(case.scan.absolute(), case.result.absolute()) for case in cases]
    journal = Journal(cases[0].result.parent, cases)
    try:
        with journal:
            try:
                summary = run_cohort(
                    cases, recipe, lambda count: _crew(recipe, engines, count), journal, engines.retries, tell
                )
            finally:
                _write_statistics(statistics, cases, journal)
    except (KeyboardInterrupt, Cancelled):
        raise Cancelled(
            f"Cancelled; {written} of {len(cases)} results were written; the same command goes on."
        ) from None
    if summary.skipped:
        say(f"Note: {summary.skipped} of {len(cases)} results were there and are valid.")
    if summary.changed:
        say(f"Note: {summary.changed} results were changed by hand since and are kept.")
    if summary.failed:
        raise InputError(f"{summary.failed} of {len(cases)} scans could not be segmented; see the lines above.")


def _crew(recipe: Recipe, engines: Engines, cases: int) -> Crew:
    if engines.engine is Engine.here:
        from dropiris.cohort.one_machine import OneMachine

        watched: Callable[[str], AbstractContextManager[ProgressCallback]] = progress_bar
        return OneMachine(recipe, watched)
    from dropiris.cohort.ray_crew import RayCrew, RayOptions

    options = RayOptions(engines.address, engines.workers, engines.gpu_share)
    crew = RayCrew(recipe, options, cases, recipe.device in ("auto", "cuda"))
    say(f"Ray: {crew.size} worker{'s' if crew.size > 1 else ''}.")
    return crew


def _tell(record: CaseRecord, result: Path, count: str) -> int:
    """One line per attempt; the number of results it stands for."""
    if record.temporary:
        say(f"Note: {record.case} is tried again later: {record.error}")
        return 0
    if record.error:
        say(f"Error: {record.error}" if record.case in record.error else f"Error: {record.case}: {record.error}")
        return 0
    for note in record.notes:
        say(f"Note: {record.case}: {note}")
    typer.echo(f"{result}: {found(record.statistics)} ({record.seconds:.1f} s, {count})")
    return 1


def _write_statistics(table: Path | None, cases: list[Case], journal: Journal) -> None:
    from dropiris.measure import write_statistics_csv

    records = [journal.records.get(case.name) for case in cases]
    measured = {Path(record.scan).name: record.statistics for record in records if record and record.statistics}
    if table is not None and measured:
        write_statistics_csv(table, measured)
