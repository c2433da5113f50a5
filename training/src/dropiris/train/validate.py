"""Dice of a finished bundle on labelled cases, through the same segmenters that users run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from dropiris.data.nnunet import Case, Dataset
from dropiris.data.rendered_volume import rendered_volume
from dropiris.evaluate import intervals
from dropiris.inference import DropGenSegmenter, IrisSegmenter
from dropiris.volume import LabelMap, Reference, Structure, Volume

# With fewer cases a card states no interval: a bootstrap of so few draws the same handful again and again.
FEWEST_CASES = 5


class Scores(dict[str, list[float]]):
    """Dice per structure: a value for every case, with Iris for every reference of every case.

    Attributes
    ----------
    cases : dict
        To each structure the cases that its values are of, in the same order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cases: dict[str, list[str]] = {}

    def add(self, case: str, dice: Mapping[str, float]) -> None:
        """Take the structures of a case."""
        for name, value in dice.items():
            self.setdefault(name, []).append(value)
            self.cases.setdefault(name, []).append(case)

    def by_case(self) -> np.ndarray:
        """Mean over references, (cases, structures); NaN where a structure is not in a case."""
        names = list(dict.fromkeys(case for cases in self.cases.values() for case in cases))
        table = np.full((len(names), len(self)), np.nan)
        for column, structure in enumerate(self):
            values, cases = np.array(self[structure]), np.array(self.cases[structure])
            for case in set(self.cases[structure]):
                table[names.index(case), column] = values[cases == case].mean()
        return table


def labelled_structures(dataset: Dataset, case: str, labels: np.ndarray) -> tuple[Structure, ...]:
    """Structures of a case that were annotated and occur in it."""
    allowed = dataset.partially_labelled.get(case, list(dataset.structures))
    return tuple(Structure(value, name) for name, value in dataset.present(labels) if name in allowed)


def as_reference(dataset: Dataset, case: Case) -> Reference:
    """A labelled case as Iris takes it."""
    volume, labels = case.read()
    if volume is None:
        raise ValueError(f"{case.name} has no image")
    structures = labelled_structures(dataset, case.name, labels.array)
    return Reference(volume, (LabelMap(labels.array, labels.affine, structures, labels.name),))


def dice_per_structure(dataset: Dataset, case: Case, predict: Callable[[Volume], LabelMap]) -> dict[str, float]:
    """Dice of every annotated structure of a case; one that was not predicted scores 0."""
    volume, labels = case.read()
    if volume is None:
        raise ValueError(f"{case.name} has no image")
    return dice_of(dataset, case.name, predict(volume), labels.array)


def dice_of(dataset: Dataset, case: str, result: LabelMap, truth: np.ndarray) -> dict[str, float]:
    """Dice of a result against the labels of a case, as :func:`dice_per_structure`."""
    value_of = {s.name: s.label for s in result.structures}
    scores = {}
    for structure in labelled_structures(dataset, case, truth):
        wanted = truth == structure.label
        ours = result.array == value_of[structure.name] if structure.name in value_of else np.zeros_like(wanted)
        scores[structure.name] = float(2 * (wanted & ours).sum() / max(1, wanted.sum() + ours.sum()))
    return scores


def validate_dropgen(segmenter: DropGenSegmenter, dataset: Dataset, cases: Sequence[Case]) -> Scores:
    """Dice per structure over cases."""
    scores = Scores()
    for case in cases:
        scores.add(case.name, dice_per_structure(dataset, case, segmenter.segment))
    return scores


def validate_rendered(
    segmenter: DropGenSegmenter, dataset: Dataset, cases: Sequence[Case], sequence: str, seed: int = 0
) -> Scores:
    """Dice per structure over label maps rendered as a sequence, with the head in even cases and without it in odd."""
    scores = Scores()
    for number, case in enumerate(cases):
        volume, labels = rendered_volume(
            case, dataset, sequence, np.random.default_rng([seed, number]), number % 2 == 1
        )
        scores.add(case.name, dice_of(dataset, case.name, segmenter.segment(volume), labels.array))
    return scores


def validate_iris(
    segmenter: IrisSegmenter, dataset: Dataset, cases: Sequence[Case], references: Sequence[Case], align: bool = True
) -> Scores:
    """One-shot Dice per structure: every case with each reference alone, aligned with it or not."""
    scores = Scores()
    for each in references:
        reference = as_reference(dataset, each)
        task, atlases = segmenter.encode([reference]), [segmenter.atlas(reference)] if align else []
        for case in cases:
            dice = dice_per_structure(dataset, case, partial(segmenter.segment, task=task, atlases=atlases))
            asked = {s.name for s in task.structures}
            scores.add(case.name, {name: value for name, value in dice.items() if name in asked})
    return scores


def validate_memory(segmenter: IrisSegmenter, dataset: Dataset, cases: Sequence[Case]) -> Scores:
    """Dice per structure with the model's memory of its training classes, no reference; empty where it knows none."""
    task, scores = segmenter.memory, Scores()
    known = [] if task is None else [name for name in task.names if name in dataset.structures]
    if task is None or not known:
        return scores
    for case in cases:
        dice = dice_per_structure(dataset, case, partial(segmenter.segment, task=task, structures=known))
        scores.add(case.name, {name: value for name, value in dice.items() if name in known})
    return scores


def spread_references(cases: Sequence[Case], count: int = 3) -> list[Case]:
    """``count`` cases spread evenly over a sorted list: a fixed choice nobody tuned."""
    at = np.linspace(0, len(cases) - 1, min(count, len(cases))).round().astype(int)
    return [cases[i] for i in at]


def as_card_scores(dataset: Dataset, split: str, scores: Scores, note: str = "") -> list[dict[str, Any]]:
    """Rows of a model card: one per structure, then their mean; with intervals from :data:`FEWEST_CASES` cases on.

    Intervals draw cases: the results that several references give for one case are not independent.
    """
    rows: list[dict[str, Any]] = []
    table = scores.by_case()
    for column, (name, values) in enumerate(scores.items()):
        row = _row(dataset, split, name, float(np.mean(values)), len(values), note)
        rows.append(row | stated_interval(table[:, [column]]))
    if rows:
        mean = _row(dataset, split, "mean", float(np.mean([r["value"] for r in rows])), rows[0]["cases"], note)
        rows.append(mean | stated_interval(table))
    return rows


def _row(dataset: Dataset, split: str, structure: str, value: float, cases: int, note: str) -> dict[str, Any]:
    row = {"dataset": f"{dataset.name} ({split})", "structure": structure, "metric": "Dice"}
    return {**row, "value": round(value, 4), "cases": cases, **({"note": note} if note else {})}


def stated_interval(table: np.ndarray) -> dict[str, list[float]]:
    """``{"interval": [low, high]}`` of a table (cases, structures) as a card states it; {} of too few cases."""
    scored = int(np.isfinite(table).any(1).sum())
    found = intervals.structures_interval(table) if scored >= FEWEST_CASES else None
    return {} if found is None else {"interval": [round(end, 4) for end in found]}
