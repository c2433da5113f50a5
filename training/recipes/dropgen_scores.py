"""DropGen models on scans of held-back people: a report of `dropiris evaluate` with pictures of the worst cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dropiris.data.brain_structures import brain_groups, is_deep
from dropiris.data.nnunet import Case, Dataset
from dropiris.evaluate.cases import CasePair, DatasetTable
from dropiris.evaluate.metrics import DICE, metrics_of
from dropiris.evaluate.overlays import worst_cases
from dropiris.evaluate.report import write_report
from dropiris.evaluate.report_page import report_page
from dropiris.evaluate.score import CaseScore, score_case
from dropiris.evaluate.summary import summarise
from dropiris.files import write_labels
from dropiris.inference import DropGenSegmenter
from dropiris.models.bundle import Bundle
from dropiris.train.dropgen_config import DropGenConfig
from dropiris.train.export import title_of
from dropiris.train.validate import labelled_structures, stated_interval
from dropiris.volume import LabelMap, Structure

BRAIN = "Dataset006_BrainT1"


@dataclass(frozen=True)
class DropGenTask:
    """Cases to segment, and what is compared.

    Attributes
    ----------
    scored_as : str
        As model cards call it: dataset and split.
    dataset : Dataset
        With the structures that are compared.
    groups : dict
        Each of them to the model's structures it is made of.
    """

    scored_as: str
    dataset: Dataset
    cases: Sequence[Case]
    groups: Mapping[str, Sequence[str]]


def tasks_of(bundle: Bundle, config: DropGenConfig | None, data: Path) -> list[DropGenTask]:
    """What a model is scored on: the scans its recipe holds back, and real brains if it knows their structures.

    Label maps that are rendered for scoring have no scans: their scores are the card's rows.
    """
    found = []
    if config is not None and (config.data[0] / "dataset.json").is_file():
        original = Dataset.open(config.data[0])
        drawn = {name: config.merge.get(name, [name]) for name in config.merge or original.structures}
        dataset = original.merge({title_of(name, config): parts for name, parts in drawn.items()})
        cases = [case for case in config.validation.cases(dataset) if case.image]
        if cases:
            name = f"{dataset.name} ({config.validation.split})"
            found.append(DropGenTask(name, dataset, cases, {title: [title] for title in dataset.structures}))
    known = brain_groups(structure.name for structure in bundle.card.structures)
    if len(known) > 2 and (data / BRAIN / "dataset.json").is_file():
        dataset = Dataset.open(data / BRAIN)
        there = brain_groups(dataset.structures, sides=any(name.startswith("left ") for name in known))
        shared = {name: there[name] for name in there if name in known}
        dataset = dataset.merge(shared)
        found.append(DropGenTask(f"{BRAIN} (Ts)", dataset, dataset.cases("Ts"), {name: known[name] for name in shared}))
    return found


def regroup(labels: LabelMap, groups: Mapping[str, Sequence[str]], values: Mapping[str, int]) -> LabelMap:
    """A model's result with the structures that are compared."""
    array = np.zeros(labels.shape, np.uint8)
    for title, names in groups.items():
        array[np.isin(labels.array, [s.label for s in labels.structures if s.name in names])] = values[title]
    return LabelMap(array, labels.affine, tuple(Structure(values[title], title) for title in groups), labels.name)


def evaluate(bundle: Bundle, task: DropGenTask, reports: Path, device: str = "auto") -> dict[str, Any]:
    """Segment what no earlier call has segmented with these weights, score, write the report; its summary."""
    digest = bundle.card.sha256.get("weights.safetensors", "")[:8]
    folder = reports / f"{bundle.card.name}-{digest}" / task.dataset.name
    for name in ("predictions", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    table, metrics = DatasetTable({name: (value,) for name, value in task.dataset.structures.items()}), metrics_of()
    segmenter: DropGenSegmenter | None = None
    pairs: list[CasePair] = []
    rows: list[CaseScore] = []
    for case in task.cases:
        files = [folder / name / f"{case.name}.nii.gz" for name in ("predictions", "labels")]
        if not all(path.is_file() for path in files):
            volume, truth = case.read()
            if volume is None:
                continue
            segmenter = segmenter or DropGenSegmenter(bundle, device)
            structures = labelled_structures(task.dataset, case.name, truth.array)
            write_labels(replace(truth, structures=structures), files[1])
            write_labels(regroup(segmenter.segment(volume), task.groups, task.dataset.structures), files[0])
        pairs.append(CasePair(case.name, *files))
        rows += score_case(pairs[-1], table)
    summary = summarise(rows, metrics, table)
    scans = {case.name: case.image for case in task.cases if case.image}
    page = report_page(summary, rows, metrics, worst_cases(pairs, rows, table, scans), _title(bundle, task))
    write_report(folder, rows, metrics, summary, page=page)
    return summary


def card_rows(task: DropGenTask, summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The Dice of every structure and their mean, of deep structures too, as a model card lists them."""
    means = {name: entry[DICE.key]["mean"] for name, entry in summary["structures"].items() if entry["cases"]}
    rows = {name: [name] for name in means}
    deep = [name for name in means if is_deep(name)]
    if deep and len(deep) < len(means):
        rows["deep structures and ventricles"] = deep
    rows["mean"] = list(means)
    return [
        {"dataset": task.scored_as, "structure": title, "metric": "Dice"}
        | {"value": round(float(np.mean([means[name] for name in names])), 4), "cases": summary["cases"]}
        | stated_interval(_dice_table(summary, names))
        for title, names in rows.items()
    ]


def _dice_table(summary: Mapping[str, Any], structures: Sequence[str]) -> np.ndarray:
    """The Dice of some structures (cases, structures), NaN where one is neither in a label nor in its prediction."""
    dice = {(row["case"], row["structure"]): row["values"][DICE.key] for row in summary["scores"]}
    cases = list(dict.fromkeys(case for case, _ in dice))
    return np.array([[dice.get((case, name), np.nan) for name in structures] for case in cases])


def _title(bundle: Bundle, task: DropGenTask) -> str:
    return f"{bundle.card.name} on {task.dataset.name}"
