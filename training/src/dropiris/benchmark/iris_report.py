"""Files of an in-context benchmark: every score, tables, figures, one page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dropiris.benchmark.iris_config import InContextBenchmark
from dropiris.benchmark.iris_data import Model
from dropiris.benchmark.iris_embeddings import neighbours, on_a_plane
from dropiris.benchmark.iris_grid import InContextResults
from dropiris.benchmark.iris_tables import (
    compute_table,
    neighbour_table,
    one_shot_rows,
    one_shot_table,
    plane_figure,
    strategy_figure,
    strategy_table,
)
from dropiris.benchmark.tables import Drawing, Report
from dropiris.evaluate.report import csv_text, plain, write_all


def write_in_context_report(
    folder: Path,
    benchmark: InContextBenchmark,
    models: Sequence[Model],
    results: InContextResults,
    remarks: Sequence[str] = (),
) -> list[Path]:
    """``strategies.csv``, ``one_shot.csv`` and ``embeddings.csv`` where there is something to put in, and
    ``benchmark.json``, ``benchmark.md`` and ``benchmark.html``.
    """
    rows = one_shot_rows(benchmark, results, {model.name: model.bundle.card for model in models})
    planes = {name: on_a_plane(points) for name, points in results.embeddings.items()}
    report = Report(benchmark.title, f"Models: {', '.join(model.settings['model'] for model in models)}.")
    shots = one_shot_table(rows)
    report.parts += [shots] if shots else []
    for trial in benchmark.strategies:
        for model in models:
            table = strategy_table(results, model.name, trial.name)
            if table is not None:
                drawn = strategy_figure(results, model.name, trial.name)
                report.parts += [table, Drawing(f"{trial.name}, {model.name}", drawn)]
    compute = compute_table(benchmark, results)
    report.parts += [compute] if compute else []
    for name, points in results.embeddings.items():
        plane = planes[name]
        if plane is not None:
            report.parts.append(Drawing(f"Task embeddings, {name}", plane_figure(points, plane), _PLANE))
        similar = neighbour_table(name, points)
        report.parts += [similar] if similar else []
    report.remarks += remarks
    files = _tables(results, rows, planes)
    files["benchmark.json"] = json.dumps(plain(_content(benchmark, results, rows, remarks)), indent=1) + "\n"
    files |= {"benchmark.md": report.markdown(), "benchmark.html": report.page()}
    write_all(folder, files)
    return [folder / name for name in files]


_PLANE = (
    "t-SNE of task embeddings by cosine distance: a point per structure of a reference, colour by dataset. Near means "
    "alike; distances between far groups mean nothing."
)


def _tables(results: InContextResults, rows: Sequence[dict[str, Any]], planes: dict[str, Any]) -> dict[str, str]:
    files = {}
    if results.strategies:
        lines = [
            [model, trial, r["strategy"], r["references"], r["repeat"], case, structure, dice, r["query_seconds"]]
            for model, trial, r in results.strategies
            for case, found in r["scores"].items()
            for structure, dice in found.items()
        ]
        head = ["model", "trial", "strategy", "references", "draw", "case", "structure", "dice", "query_seconds"]
        files["strategies.csv"] = csv_text(head, lines)
    if rows:
        lines = [
            [row["model"], row["trial"], row["kind"], row["structure"], reference, case, dice / 100]
            for row in rows
            for reference, case, dice in row["scores"]
        ]
        files["one_shot.csv"] = csv_text(["model", "trial", "kind", "structure", "reference", "case", "dice"], lines)
    if results.embeddings:
        lines = [
            [name, point.dataset, point.structure, point.case, *(plane[n].tolist() if plane is not None else ["", ""])]
            for name, points in results.embeddings.items()
            for plane in [planes[name]]
            for n, point in enumerate(points)
        ]
        files["embeddings.csv"] = csv_text(["model", "dataset", "structure", "case", "x", "y"], lines)
    return files


def _content(
    benchmark: InContextBenchmark, results: InContextResults, rows: Sequence[dict[str, Any]], remarks: Sequence[str]
) -> dict[str, Any]:
    return {
        "benchmark": benchmark.model_dump(mode="json"),
        "one_shot": list(rows),
        "strategies": [{"model": m, "trial": t, **result} for m, t, result in results.strategies],
        "compute": [{"model": model, **result} for model, result in results.compute],
        "similar": {name: neighbours(points) for name, points in results.embeddings.items()},
        "remarks": list(remarks),
    }
