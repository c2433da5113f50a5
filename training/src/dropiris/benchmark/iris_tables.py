"""Iris's Figure 4, Tables 2 and 3 and Figure 5 in shape."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from dropiris.benchmark.dg_result import mean_dice
from dropiris.benchmark.iris_config import InContextBenchmark
from dropiris.benchmark.iris_embeddings import Embedded, neighbours
from dropiris.benchmark.iris_grid import InContextResults
from dropiris.benchmark.iris_one_shot import HELD_OUT, TRAINED, UNSEEN, kind_of
from dropiris.benchmark.tables import Cell, Table
from dropiris.evaluate.plots import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dropiris.models.card import ModelCard

_MARKS = "osD^vP*X<>"
_SPAN = 10.0  # percent of Dice that a plot shows at least


def strategy_points(results: InContextResults, model: str, trial: str) -> dict[str, dict[int, list[float]]]:
    """Strategy to number of references to mean Dice (percent) of each draw."""
    found: dict[str, dict[int, list[float]]] = {}
    for own_model, own_trial, result in results.strategies:
        if (own_model, own_trial) == (model, trial):
            counts = found.setdefault(result["strategy"], {})
            counts.setdefault(result["references"], []).append(100 * mean_dice(result["scores"]))
    return found


def strategy_table(results: InContextResults, model: str, trial: str) -> Table | None:
    """Figure 4 as numbers: mean and standard deviation over draws; seconds a query takes."""
    points = strategy_points(results, model, trial)
    if not points:
        return None
    counts = sorted({count for own in points.values() for count in own})
    means = {name: {n: statistics.fmean(values) for n, values in own.items()} for name, own in points.items()}
    rows = []
    for name, own in points.items():
        cells = [Cell(_spelled(own.get(n, [])), _is_best(means, name, n)) for n in counts]
        seconds = [
            result["query_seconds"]
            for a, b, result in results.strategies
            if (a, b, result["strategy"]) == (model, trial, name)
        ]
        rows.append([Cell(name), *cells, Cell(f"{statistics.median(seconds):.2f}")])
    head = ["strategy", *(f"{n} reference{'s' if n > 1 else ''}" for n in counts), "s per query"]
    note = (
        "Dice in percent, mean (standard deviation over draws). An ensemble of one is one-shot inference; retrieval "
        "searches the whole pool and uses so many of it. Seconds: median, reading and scoring included, encoding the "
        "pool and tuning not."
    )
    return Table(f"Strategies: {trial}, {model}", head, rows, note)


def _spelled(values: Sequence[float]) -> str:
    if not values:
        return "–"
    spread = f" ({statistics.stdev(values):.1f})" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}"


def _is_best(means: dict[str, dict[int, float]], name: str, count: int) -> bool:
    column = [own[count] for own in means.values() if count in own]
    return len(column) > 1 and count in means[name] and means[name][count] == max(column)


def strategy_figure(results: InContextResults, model: str, trial: str) -> Figure:
    """Figure 4: Dice by number of references, a line per strategy, standard deviation over draws as bars."""
    figure = new_figure(6.5, 4)
    axes = figure.add_subplot()
    points = strategy_points(results, model, trial)
    for number, (name, own) in enumerate(points.items()):
        counts = sorted(own)
        means = [statistics.fmean(own[n]) for n in counts]
        spread = [statistics.stdev(own[n]) if len(own[n]) > 1 else 0.0 for n in counts]
        colour = COLOURS[number % len(COLOURS)]
        axes.errorbar(counts, means, yerr=spread, fmt=_MARKS[number] + "-", color=colour, capsize=3, label=name)
    low, high = axes.get_ylim()
    if high - low < _SPAN:  # a scale that makes a difference of nothing look like one helps nobody
        axes.set_ylim((low + high - _SPAN) / 2, (low + high + _SPAN) / 2)
    axes.set_xlabel("references")
    axes.set_ylabel("Dice (%)")
    axes.set_xticks(sorted({n for own in points.values() for n in own}))
    axes.grid(color="0.9")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def one_shot_rows(
    benchmark: InContextBenchmark, results: InContextResults, cards: dict[str, ModelCard]
) -> list[dict[str, Any]]:
    """A row per model, trial, kind and structure: Dice of every query with every reference, percent."""
    datasets = {trial.name: trial.queries.data.name for trial in benchmark.one_shot}
    rows: dict[tuple[str, str, str, str], list[tuple[str, str, float]]] = {}
    for model, trial, result in results.one_shot:
        for case, found in result["scores"].items():
            for structure, dice in found.items():
                kind = kind_of(cards[model], datasets[trial], structure)
                key = (model, trial, kind, structure)
                rows.setdefault(key, []).append((result["reference"], case, 100 * dice))
    return [
        {"model": m, "trial": t, "kind": k, "structure": s, "scores": scores} for (m, t, k, s), scores in rows.items()
    ]


def one_shot_table(rows: Sequence[dict[str, Any]]) -> Table | None:
    """Table 2: models by datasets, those trained on apart from held-out ones and unseen classes."""
    kinds = (TRAINED, HELD_OUT, UNSEEN)
    columns = sorted({(kinds.index(row["kind"]), row["trial"]) for row in rows})
    if not columns:
        return None
    models = list(dict.fromkeys(row["model"] for row in rows))
    at = {}
    for kind, trial in columns:
        for model in models:
            own = [r for r in rows if (r["model"], r["trial"], r["kind"]) == (model, trial, kinds[kind])]
            if own:
                at[model, kind, trial] = _mean_and_error(own)
    lines = []
    for model in models:
        cells = [Cell(model)]
        for kind, trial in columns:
            column = [round(at[m, kind, trial][0], 1) for m in models if (m, kind, trial) in at]
            found = at.get((model, kind, trial))
            best = found is not None and len(column) > 1 and round(found[0], 1) == max(column)
            text = "–" if found is None else f"{found[0]:.1f}" + (f" ({found[1]:.1f})" if np.isfinite(found[1]) else "")
            cells.append(Cell(text, best))
        lines.append(cells)
    note = (
        "Dice in percent with one reference: mean over structures of the mean over queries and references; in brackets "
        "the standard error over queries. What is unseen is judged by the model's card: its datasets and its classes."
    )
    return Table("One reference", ["model", *(f"{t}: {kinds[k]}" for k, t in columns)], lines, note)


def _mean_and_error(rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
    means = [statistics.fmean(dice for *_, dice in row["scores"]) for row in rows]
    cases: dict[str, list[float]] = {}
    for row in rows:
        for _, case, dice in row["scores"]:
            cases.setdefault(case, []).append(dice)
    by_case = [statistics.fmean(values) for values in cases.values()]
    error = float(stats.sem(by_case)) if len(by_case) > 1 else float("nan")
    return statistics.fmean(means), error


def compute_table(benchmark: InContextBenchmark, results: InContextResults) -> Table | None:
    """Table 3: seconds, memory, parameters."""
    trial = benchmark.compute
    if trial is None or not results.compute:
        return None
    rows = [
        [
            Cell(model),
            Cell(f"{found['seconds']:.1f}"),
            Cell("–" if found["memory_gb"] is None else f"{found['memory_gb']:.1f}"),
            Cell(f"{found['parameters_millions']:.1f}"),
            Cell(found["device"]),
        ]
        for model, found in results.compute
    ]
    note = (
        f"One reference with {trial.classes} classes, then {trial.queries} queries with all of them, {trial.size} "
        "voxels a side, after one pass to warm up. Memory: on a GPU what the networks took of it, else the process's "
        "peak. The paper's Iris: 2.0 s, 7.4 GB, 69.4 M on an A100 (10 queries, 15 classes, 128 voxels a side)."
    )
    return Table("Compute", ["model", "seconds", "memory (GB)", "parameters (M)", "device"], rows, note)


def neighbour_table(model: str, points: Sequence[Embedded]) -> Table | None:
    """Figure 5, bottom: what each class resembles most."""
    found = neighbours(points)
    if not found:
        return None
    rows = [
        [Cell(f"{structure} ({dataset})"), Cell(f"{other} ({its})"), Cell(f"{likeness:.2f}")]
        for dataset, structure, its, other, likeness in sorted(found, key=lambda one: -one[-1])
    ]
    head = ["class", "most similar class", "cosine"]
    return Table(
        f"Similar tasks, {model}", head, rows, "Of the classes' mean task embeddings, less the mean of all classes."
    )


def plane_figure(points: Sequence[Embedded], plane: np.ndarray) -> Figure:
    """Figure 5, top: colour is the dataset, the mark and the name are the class."""
    figure = new_figure(9, 6.5)
    axes = figure.add_subplot()
    datasets = list(dict.fromkeys(point.dataset for point in points))
    groups: dict[tuple[str, str], list[int]] = {}
    for number, point in enumerate(points):
        groups.setdefault((point.dataset, point.structure), []).append(number)
    for number, ((dataset, structure), members) in enumerate(groups.items()):
        colour = COLOURS[datasets.index(dataset) % len(COLOURS)]
        mark = _MARKS[number % len(_MARKS)]
        axes.scatter(plane[members, 0], plane[members, 1], s=26, color=colour, marker=mark, alpha=0.85)
        if len(groups) <= 60:
            name, at = structure.replace("_", " "), plane[members].mean(0)
            axes.annotate(name, at, xytext=(5, 5), textcoords="offset points", fontsize=7, color="0.25")
    for number, dataset in enumerate(datasets):
        axes.scatter([], [], color=COLOURS[number % len(COLOURS)], label=dataset)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure
