"""DropGen's Tables 1 to 3 in shape: Dice with standard error, average rank, dropout sweep; and every seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy import stats

from dropiris.benchmark.dg_config import SWEPT, DomainBenchmark, Shift, is_plain_dropgen
from dropiris.benchmark.dg_result import ROLES, DomainResult, case_means
from dropiris.benchmark.tables import Cell, Table

ERROR_NOTE = (
    "Dice in percent on test cases: mean over structures of the mean over cases, then over seeds; in brackets the "
    "standard error over cases (each case's mean over its structures and over seeds). Rank: mean over the columns, "
    "1 is best; only of methods with a score in every column."
)


@dataclass(frozen=True)
class ShiftScore:
    """A method on a shift over its seeds, in percent; NaN where it was not scored.

    Attributes
    ----------
    error : float
        Standard error over cases.
    seeds : dict
        Seed to its mean.
    rank : float
        Among the methods scored on the shift; NaN for a swept dropout.
    """

    setting: str
    shift: str
    method: str
    role: str
    mean: float
    error: float
    cases: int
    seeds: dict[int, float]
    rank: float = math.nan

    @property
    def spread(self) -> float:
        """Standard deviation over seeds."""
        return statistics.stdev(self.seeds.values()) if len(self.seeds) > 1 else math.nan


def score_shifts(benchmark: DomainBenchmark, results: Sequence[DomainResult]) -> list[ShiftScore]:
    """Every method on every shift, on validation and test cases; swept dropouts come after the methods."""
    methods = [contender.name for contender in benchmark.methods]
    names = [*methods, *dict.fromkeys(r.method for r in results if r.method not in methods)]
    rows = []
    for shift in benchmark.shifts:
        for role in ROLES:
            found = [_score(shift, name, role, results) for name in names]
            rows += _ranked([row for row in found if row is not None], set(methods))
    return rows


def _score(shift: Shift, method: str, role: str, results: Sequence[DomainResult]) -> ShiftScore | None:
    own = [r for r in results if r.shift == shift.name and r.method == method and getattr(r, role)]
    if not own:
        return None
    seeds = {result.seed: 100 * result.mean(role) for result in own}
    cases: dict[str, list[float]] = {}
    for result in own:
        for case, mean in case_means(getattr(result, role)).items():
            cases.setdefault(case, []).append(100 * mean)
    means = [statistics.fmean(values) for values in cases.values()]
    error = float(stats.sem(means)) if len(means) > 1 else math.nan
    return ShiftScore(
        shift.setting, shift.name, method, role, statistics.fmean(seeds.values()), error, len(means), seeds
    )


def _ranked(rows: list[ShiftScore], methods: set[str]) -> list[ShiftScore]:
    ranked = [row for row in rows if row.method in methods]
    ranks = stats.rankdata([-row.mean for row in ranked]) if ranked else []
    rank_of = {row.method: float(rank) for row, rank in zip(ranked, ranks, strict=True)}
    return [replace(row, rank=rank_of.get(row.method, math.nan)) for row in rows]


def settings_of(benchmark: DomainBenchmark) -> dict[str, list[Shift]]:
    """Shifts by setting, in the order of the file."""
    found: dict[str, list[Shift]] = {}
    for shift in benchmark.shifts:
        found.setdefault(shift.setting, []).append(shift)
    return found


def main_tables(benchmark: DomainBenchmark, scores: Sequence[ShiftScore]) -> list[Table]:
    """Tables 1 and 2: one per setting, methods by shifts, and the average rank."""
    tables = []
    for setting, shifts in settings_of(benchmark).items():
        tested = [s for s in shifts if any(row.shift == s.name and row.role == "test" for row in scores)]
        if not tested:
            continue
        at = {(row.shift, row.method): row for row in scores if row.role == "test"}
        names = [c.name for c in benchmark.methods if any((s.name, c.name) in at for s in tested)]
        columns = [[at[s.name, name].mean if (s.name, name) in at else math.nan for name in names] for s in tested]
        ranks = [_mean_rank([at.get((s.name, name)) for s in tested]) for name in names]
        columns.append([-rank for rank in ranks])
        best = [_best(column) for column in columns]
        rows = []
        for number, name in enumerate(names):
            cells = [with_error(at.get((s.name, name))) for s in tested]
            cells.append(f"{ranks[number]:.1f}" if math.isfinite(ranks[number]) else "–")
            rows.append([Cell(name), *(Cell(text, number in best[n]) for n, text in enumerate(cells))])
        head = ["method", *(f"{s.name} ({s.kind})" if s.kind else s.name for s in tested), "avg. rank"]
        tables.append(Table(f"Test Dice{f', {setting}' if setting else ''}", head, rows, ERROR_NOTE))
    return tables


def _mean_rank(rows: Sequence[ShiftScore | None]) -> float:
    return statistics.fmean(row.rank for row in rows if row) if all(rows) else math.nan


def with_error(row: ShiftScore | None) -> str:
    if row is None:
        return "–"
    return f"{row.mean:.1f} ({row.error:.1f})" if math.isfinite(row.error) else f"{row.mean:.1f}"


def _best(values: Sequence[float]) -> set[int]:
    """Places of the highest value as it is printed; none where there is nothing to compare."""
    known = [round(value, 1) for value in values if math.isfinite(value)]
    if len(known) < 2:
        return set()
    return {n for n, value in enumerate(values) if math.isfinite(value) and round(value, 1) == max(known)}


def sweep_points(benchmark: DomainBenchmark, results: Sequence[DomainResult], shift: str) -> dict[float, float]:
    """Dropout to validation Dice (percent, mean over seeds) of DropGen with nothing else changed."""
    names = {contender.name for contender in benchmark.methods if is_plain_dropgen(contender)}
    found: dict[float, list[float]] = {}
    for result in results:
        plain = result.method in names or result.method.startswith(SWEPT)
        if result.shift == shift and plain and result.dropout is not None and result.validation:
            found.setdefault(result.dropout, []).append(100 * result.mean("validation"))
    return {p: statistics.fmean(values) for p, values in sorted(found.items())}


def sweep_table(benchmark: DomainBenchmark, results: Sequence[DomainResult]) -> Table | None:
    """Table 3: datasets by dropout, settings side by side; None where no dropout was swept."""
    if not benchmark.dropout:
        return None
    settings = list(settings_of(benchmark))
    points = {shift.name: sweep_points(benchmark, results, shift.name) for shift in benchmark.shifts}
    columns = [(setting, p) for setting in settings for p in sorted(benchmark.dropout)]
    # A dataset that is trained on in several settings is one row.
    labels = list(dict.fromkeys(_row_name(shift) for shift in benchmark.shifts))
    rows = []
    for label in labels:
        own = {shift.setting: points[shift.name] for shift in benchmark.shifts if _row_name(shift) == label}
        values = [own.get(setting, {}).get(p, math.nan) for setting, p in columns]
        best = {
            n + first
            for first in range(0, len(columns), len(benchmark.dropout))
            for n in _best(values[first : first + len(benchmark.dropout)])
        }
        texts = [f"{value:.1f}" if math.isfinite(value) else "–" for value in values]
        rows.append([Cell(label), *(Cell(text, n in best) for n, text in enumerate(texts))])
    head = [
        "dataset",
        *(f"{setting + ', ' if setting and len(settings) > 1 else ''}p = {p:g}" for setting, p in columns),
    ]
    note = "Dice in percent on validation cases, mean over seeds. p = 0: image and features, nothing dropped."
    return Table("Effect of the dropout probability", head, rows, note)


def _row_name(shift: Shift) -> str:
    return shift.name.removesuffix(shift.setting).strip(" ,") if shift.setting else shift.name


def seeds_table(scores: Sequence[ShiftScore]) -> Table | None:
    """Every seed beside mean and spread; None where there is only one seed."""
    everyone = sorted({seed for row in scores for seed in row.seeds})
    if len(everyone) < 2:
        return None
    rows = []
    for row in scores:
        spread = f"{row.mean:.1f} ± {row.spread:.1f}" if math.isfinite(row.spread) else f"{row.mean:.1f}"
        seeds = [f"{row.seeds[seed]:.1f}" if seed in row.seeds else "–" for seed in everyone]
        rows.append([Cell(text) for text in (f"{row.shift}, {row.role}", row.method, spread, *seeds)])
    head = ["shift", "method", "mean ± SD over seeds", *(f"seed {seed}" for seed in everyone)]
    return Table("Every seed", head, rows, "Dice in percent.")
