"""Files of a domain generalization benchmark: every score, tables, figures, one page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from dropiris.benchmark.dg_config import DomainBenchmark
from dropiris.benchmark.dg_result import ROLES, DomainResult
from dropiris.benchmark.dg_tables import ShiftScore, main_tables, score_shifts, seeds_table, sweep_points, sweep_table
from dropiris.benchmark.tables import Drawing, Report
from dropiris.evaluate.plots import COLOURS, new_figure, panels
from dropiris.evaluate.report import csv_text, plain, write_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_domain_report(
    folder: Path, benchmark: DomainBenchmark, results: Sequence[DomainResult], remarks: Sequence[str] = ()
) -> list[Path]:
    """``results.csv`` (a row per structure of a case), ``table.csv`` (per method and shift), ``benchmark.json``,
    ``benchmark.md`` and ``benchmark.html``.
    """
    scores = score_shifts(benchmark, results)
    report = domain_report(benchmark, results, scores, remarks)
    files = {
        "results.csv": _results(results),
        "table.csv": _table(scores),
        "benchmark.json": json.dumps(
            plain(
                {
                    "benchmark": benchmark.model_dump(mode="json"),
                    "scores": [{**asdict(row), "spread": row.spread} for row in scores],
                    "results": [asdict(result) for result in results],
                    "remarks": list(remarks),
                }
            ),
            indent=2,
        )
        + "\n",
        "benchmark.md": report.markdown(),
        "benchmark.html": report.page(),
    }
    write_all(folder, files)
    return [folder / name for name in files]


def domain_report(
    benchmark: DomainBenchmark, results: Sequence[DomainResult], scores: Sequence[ShiftScore], remarks: Sequence[str]
) -> Report:
    seeds = len({result.seed for result in results})
    hours = sum(result.seconds for result in results) / 3600
    trained = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"
    report = Report(benchmark.title, f"{len(results)} runs, {seeds} seeds, {trained} of training.")
    report.parts += main_tables(benchmark, scores)
    report.parts.append(Drawing("Every shift", shifts_figure(benchmark, scores), _SHIFTS))
    sweep = sweep_table(benchmark, results)
    if sweep is not None:
        report.parts += [sweep, Drawing("Dropout sweep", sweep_figure(benchmark, results), "Validation cases.")]
    every = seeds_table(scores)
    if every is not None:
        report.parts.append(every)
    report.remarks += remarks
    return report


_SHIFTS = "Filled: test, mean and standard error over cases; small: each seed; open: validation."


def shifts_figure(benchmark: DomainBenchmark, scores: Sequence[ShiftScore]) -> Figure:
    """A panel per shift: each method's test Dice with its error and seeds, and its validation Dice."""
    names = list(dict.fromkeys(row.method for row in scores))
    shifts = [shift for shift in benchmark.shifts if any(row.shift == shift.name for row in scores)]
    made = panels(names, max(1, len(shifts)))
    for axes, shift in zip(made, shifts, strict=False):
        for row in scores:
            if row.shift != shift.name:
                continue
            at, colour = names.index(row.method), COLOURS[0]
            if row.role == "validation":
                axes.plot(row.mean, at, "o", color="0.5", markerfacecolor="white", zorder=3)
                continue
            ends = max(row.mean - row.error, 0.0), min(row.mean + row.error, 100.0)  # of few cases it can be wide
            axes.plot(ends, (at, at), color=colour, linewidth=2)  # nothing where the error is not a number
            axes.plot(row.mean, at, "o", color=colour)
            axes.plot(list(row.seeds.values()), [at + 0.25] * len(row.seeds), "|", color=COLOURS[5])
        axes.set_xlim(-2, 102)
        axes.set_xlabel(f"{shift.name}: Dice (%)")
    return made[0].figure  # type: ignore[return-value]


def sweep_figure(benchmark: DomainBenchmark, results: Sequence[DomainResult]) -> Figure:
    """Validation Dice over the dropout probability, a line per shift."""
    figure = new_figure(6.5, 4)
    axes = figure.add_subplot()
    for number, shift in enumerate(benchmark.shifts):
        points = sweep_points(benchmark, results, shift.name)
        axes.plot(
            list(points), list(points.values()), "os^Dv"[number % 5] + "-", color=COLOURS[number % len(COLOURS)],
            label=shift.name,
        )  # fmt: skip
    axes.set_xlabel("dropout probability p")
    axes.set_ylabel("validation Dice (%)")
    axes.grid(color="0.9")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize="small", frameon=False)
    return figure


def _results(results: Sequence[DomainResult]) -> str:
    head = ["shift", "method", "dropout", "seed", "role", "case", "structure", "dice"]
    return csv_text(
        head,
        (
            [result.shift, result.method, result.dropout, result.seed, role, case, structure, dice]
            for result in results
            for role in ROLES
            for case, found in getattr(result, role).items()
            for structure, dice in found.items()
        ),
    )


def _table(scores: Sequence[ShiftScore]) -> str:
    head = ["setting", "shift", "method", "role", "mean", "standard_error", "cases", "seeds", "sd_over_seeds", "rank"]
    return csv_text(
        head,
        (
            [r.setting, r.shift, r.method, r.role, r.mean, r.error, r.cases, len(r.seeds), r.spread, r.rank]
            for r in scores
        ),
    )
