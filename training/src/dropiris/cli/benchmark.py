"""``dropiris benchmark dg|iris``: the papers' experiments as grids that go on where they stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from dropiris.cli.sentences import say
from dropiris.cli.settings import read_settings
from dropiris.errors import InputError

app = typer.Typer(help="Compare methods as the papers do; a grid goes on where it stopped.", no_args_is_help=True)

ConfigFile = Annotated[Path, typer.Option("--config", metavar="FILE", help="The grid, YAML or JSON.")]
Runs = Annotated[
    Path, typer.Option("--output", "-o", metavar="RUNS", help="Folder of runs and report; an earlier one goes on.")
]
Data = Annotated[Path | None, typer.Option("--data", metavar="FOLDER", help="Folder that the datasets are in.")]
ReportOnly = Annotated[bool, typer.Option("--report-only", help="Report what is there; run nothing.")]
Settings = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, e.g. seeds=1.")]


@app.command("dg", help="Methods x datasets x seeds: Dice, average rank, dropout sweep (DropGen, Tables 1 to 3).")
def domains(
    config: ConfigFile, output: Runs, settings: Settings = None, data: Data = None, report_only: ReportOnly = False
) -> None:
    from dropiris.benchmark.dg_config import DomainBenchmark

    words = [*(settings or []), *([f"data={data}"] if data else [])]
    benchmark: DomainBenchmark = read_settings(DomainBenchmark, config, None, words)
    _check_output(output)

    from dropiris.benchmark.dg_grid import plan_grid, read_grid, run_grid
    from dropiris.benchmark.dg_report import write_domain_report

    runs = plan_grid(benchmark, output, config.parent)
    failures: list[str] = []
    if report_only:
        results = list(read_grid(runs))
    else:
        with _going_on():
            results, failures = run_grid(runs, typer.echo)
    missing = len(runs) - len(results) - len(failures)
    if not results and not failures:
        raise InputError(f"{output} holds no result of this benchmark yet; run it without --report-only.")
    remarks = [f"{missing} of {len(runs)} runs have not been made."] if missing else []
    files = write_domain_report(output, benchmark, results, [*remarks, *failures]) if results else []
    _end(files, failures, len(runs))


@app.command("iris", help="Strategies x references, one-shot, compute, task embeddings (Iris, Sec. 4).")
def in_context(
    config: ConfigFile, output: Runs, settings: Settings = None, data: Data = None, report_only: ReportOnly = False
) -> None:
    from dropiris.benchmark.iris_config import InContextBenchmark

    words = [*(settings or []), *([f"data={data}"] if data else [])]
    benchmark: InContextBenchmark = read_settings(InContextBenchmark, config, None, words)
    _check_output(output)

    from dropiris.benchmark.iris_grid import open_models, run_in_context
    from dropiris.benchmark.iris_report import write_in_context_report

    models = open_models(benchmark, output)
    with _going_on():
        results, failures, made, total = run_in_context(benchmark, models, typer.echo, report_only)
    if not made and not failures:
        raise InputError(f"{output} holds no result of this benchmark yet; run it without --report-only.")
    missing = total - made - len(failures)
    remarks = [f"{missing} of {total} measurements have not been made."] if missing else []
    files = write_in_context_report(output, benchmark, models, results, [*remarks, *failures]) if made else []
    _end(files, failures, total)


@contextmanager
def _going_on() -> Iterator[None]:
    """Training says what it does; Ctrl-C and SIGTERM say how to go on."""
    import logging

    from dropiris.errors import Cancelled
    from dropiris.train.preemption import REQUEUE, Preempted

    logging.basicConfig(format="%(message)s")
    try:
        yield
    except Preempted as stop:
        say(str(stop))
        raise typer.Exit(REQUEUE) from None
    except KeyboardInterrupt:
        raise Cancelled("Cancelled; the same command goes on where it stopped.") from None


def _check_output(output: Path) -> None:
    if output.is_file():
        raise InputError(f"{output} is a file; give a folder for the runs.")


def _end(files: list[Path], failures: list[str], total: int) -> None:
    """Name the report; a grid with failures ends as one."""
    if files:
        typer.echo(" ".join(str(path) for path in files))
    if failures:
        raise InputError(f"{len(failures)} of {total} runs failed, the first: {failures[0]}")
