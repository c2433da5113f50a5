"""An in-context benchmark as a list of units, and its report from their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dropiris.benchmark.dg_config import folder_name
from dropiris.benchmark.iris_compute import compute_unit
from dropiris.benchmark.iris_config import InContextBenchmark
from dropiris.benchmark.iris_data import Chosen, Model
from dropiris.benchmark.iris_embeddings import Embedded, embedded, embedding_units
from dropiris.benchmark.iris_one_shot import one_shot_units
from dropiris.benchmark.iris_strategies import strategy_units
from dropiris.benchmark.units import Unit, run_units
from dropiris.errors import ModelError


@dataclass
class InContextResults:
    """What was measured.

    Attributes
    ----------
    strategies : list of (model, trial, result)
    one_shot : list of (model, trial, result)
    compute : list of (model, result)
    embeddings : dict
        Model to points.
    """

    strategies: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    one_shot: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    compute: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    embeddings: dict[str, list[Embedded]] = field(default_factory=dict)


def open_models(benchmark: InContextBenchmark, output: Path) -> list[Model]:
    """The models of the benchmark; a :class:`ModelError` names one that is no Iris model."""
    from dropiris.models.catalogue import Catalogue

    catalogue = Catalogue()
    bundles = [catalogue.find(name) for name in benchmark.models] or [catalogue.default("iris")]
    for bundle in bundles:
        if bundle.card.method != "iris":
            raise ModelError(f"The model {bundle.card.name!r} is a DropGen model; this benchmark takes Iris models.")
    folders = [folder_name(f"{bundle.card.name} {bundle.card.version}") for bundle in bundles]
    if len(set(folders)) < len(folders):
        raise ModelError("Two models have the same name and version; leave one out or give it another version.")
    return [Model(b, benchmark.device, output / name) for b, name in zip(bundles, folders, strict=True)]


def run_in_context(
    benchmark: InContextBenchmark, models: Sequence[Model], tell: Callable[[str], None], only_read: bool = False
) -> tuple[InContextResults, list[str], int, int]:
    """Run what is missing; returns results, failures, and how many units have a result of how many.

    Every dataset is opened before the first unit runs.
    """
    results = InContextResults()
    planned: list[tuple[str, tuple[str, ...], Unit]] = []
    chosen = {id(cases): Chosen.of(benchmark.data, cases) for cases in _all_cases(benchmark)}
    for model in models:
        if benchmark.compute is not None:
            planned.append(("compute", (model.name,), compute_unit(model, benchmark.compute)))
        for one in benchmark.one_shot:
            units = one_shot_units(model, one, chosen[id(one.references)], chosen[id(one.queries)])
            planned += [("one_shot", (model.name, one.name), unit) for unit in units]
        for trial in benchmark.strategies:
            units = strategy_units(model, trial, chosen[id(trial.pool)], chosen[id(trial.queries)])
            planned += [("strategies", (model.name, trial.name), unit) for unit in units]
        for cases in benchmark.embeddings:
            planned += [("embeddings", (), unit) for unit in embedding_units(model, chosen[id(cases)])]
    found, failures = run_units([unit for *_, unit in planned], tell, only_read)
    where = {id(unit): (part, names) for part, names, unit in planned}
    for unit, result in found:
        part, names = where[id(unit)]
        if part != "embeddings":
            getattr(results, part).append((*names, result))
    for model in models:
        points = [point for cases in benchmark.embeddings for point in embedded(model, chosen[id(cases)])]
        if points:
            results.embeddings[model.name] = points
    return results, failures, len(found), len(planned)


def _all_cases(benchmark: InContextBenchmark) -> list[Any]:
    pairs = [(trial.pool, trial.queries) for trial in benchmark.strategies]
    pairs += [(trial.references, trial.queries) for trial in benchmark.one_shot]
    return [cases for pair in pairs for cases in pair] + list(benchmark.embeddings)
