"""Table 2: one reference alone, on datasets and classes that the model was not trained on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from dropiris.benchmark.dg_config import folder_name
from dropiris.benchmark.dg_result import Scores
from dropiris.benchmark.iris_config import OneShotTrial
from dropiris.benchmark.iris_data import Chosen, Model, score_query, told
from dropiris.benchmark.units import Unit
from dropiris.data.nnunet import Case
from dropiris.errors import InputError
from dropiris.evaluate.cases import plain_name
from dropiris.models.card import ModelCard

TRAINED, HELD_OUT, UNSEEN = "trained on", "held-out dataset", "unseen class"


def one_shot_units(model: Model, trial: OneShotTrial, references: Chosen, queries: Chosen) -> Iterator[Unit]:
    """A unit per reference."""
    for case in references.cases:
        others = [query for query in queries.cases if query.image != case.image]
        if not others:
            raise InputError(f"{trial.name}: {case.name} is the only query and its own reference; select more cases.")
        yield Unit(
            f"{model.name}, {trial.name}, reference {case.name}",
            model.folder / "one-shot" / folder_name(trial.name) / f"{case.name}.json",
            {
                **model.settings,
                "structures": [*references.dataset.structures],
                "queries": [queries.dataset.name, *(query.name for query in others)],
            },
            partial(_run, model, references, case, queries, others),
        )


def _run(model: Model, references: Chosen, case: Case, queries: Chosen, others: list[Case]) -> dict[str, Any]:
    segmenter = model.segmenter
    task = model.kept_task(
        ["one-shot", references.dataset.name, *references.dataset.structures, case.name],
        lambda: segmenter.encode([references.reference(case)]),
    )
    assert task is not None
    scores: Scores = {query.name: score_query(queries.dataset, query, task, segmenter) for query in others}
    return {"reference": case.name, "scores": scores, "told": told(scores)}


def kind_of(card: ModelCard, dataset: str, structure: str) -> str:
    """What a structure of a dataset is to a model, by its card: trained on, held out, or of an unseen class.

    A card that does not list its training classes leaves only the datasets to go by.
    """
    if dataset in card.training.get("datasets", {}):
        return TRAINED
    known = {plain_name(s.name) for s in card.structures}
    return UNSEEN if known and plain_name(structure) not in known else HELD_OUT
