"""References and queries of an in-context benchmark, and references' tasks kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dropiris.benchmark.dg_result import Scores, mean_dice
from dropiris.benchmark.iris_config import Cases
from dropiris.data.nnunet import Case, Dataset
from dropiris.errors import InputError
from dropiris.inference.task_embedding import TaskEmbedding
from dropiris.volume import LabelMap, Reference, Structure, Volume

if TYPE_CHECKING:
    from dropiris.inference import IrisSegmenter
    from dropiris.models.bundle import Bundle


@dataclass(frozen=True)
class Chosen:
    """A dataset with the structures that count, and its selected cases."""

    dataset: Dataset
    cases: list[Case]

    @classmethod
    def of(cls, root: Path, wanted: Cases) -> Chosen:
        """Open the dataset; an :class:`InputError` names what it lacks."""
        dataset = Dataset.open(root / wanted.data)
        if wanted.structures is not None:
            unknown = [name for name in wanted.structures if name not in dataset.structures]
            if unknown:
                have = ", ".join(dataset.structures)
                raise InputError(f"{dataset.folder} has no structure {unknown[0]!r}; choose among: {have}.")
            kept = {name: dataset.structures[name] for name in wanted.structures}
            dataset = replace(dataset, structures=kept)
        cases = [case for case in wanted.cases.cases(dataset) if case.image]
        if not cases:
            raise InputError(f"{dataset.folder} has no scan in images{wanted.cases.split}; choose another split.")
        return cls(dataset, cases)

    def reference(self, case: Case) -> Reference:
        from dropiris.train.validate import as_reference

        return as_reference(self.dataset, case)


@dataclass(frozen=True)
class Model:
    """An Iris model, its segmenter made when it is first used, and a folder for its results."""

    bundle: Bundle
    device: str
    folder: Path

    @cached_property
    def segmenter(self) -> IrisSegmenter:
        from dropiris.inference import IrisSegmenter

        return IrisSegmenter(self.bundle, self.device)

    @property
    def name(self) -> str:
        return self.bundle.card.name

    @property
    def settings(self) -> dict[str, str]:
        """What a result depends on: the weights themselves, not where they lie."""
        card = self.bundle.card
        return {"model": f"{card.name} {card.version}", "weights": card.sha256.get("weights.safetensors", "")}

    def kept_task(self, key: Sequence[object], make: Callable[[], TaskEmbedding | None]) -> TaskEmbedding | None:
        """A task from the folder, or made and kept there; ``key`` is everything it depends on beside the model."""
        text = json.dumps([*key, self.settings], default=str)
        path = self.folder / "tasks" / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.safetensors"
        if path.is_file():
            return TaskEmbedding.load(path)
        task = make()
        if task is not None:
            task.save(path)
        return task


@dataclass(frozen=True)
class Pool:
    """References encoded at one working spacing per structure, so that they can be averaged and compared."""

    model: Model
    chosen: Chosen

    @cached_property
    def key(self) -> list[str]:
        return [str(self.chosen.dataset.name), *self.chosen.dataset.structures, *(c.name for c in self.chosen.cases)]

    @cached_property
    def tasks(self) -> list[TaskEmbedding]:
        """One per case."""
        kept = [self.model.kept_task([*self.key, case.name], lambda: None) for case in self.chosen.cases]
        if all(task is not None for task in kept):
            return [task for task in kept if task is not None]
        segmenter = self.model.segmenter
        references = [self.chosen.reference(case) for case in self.chosen.cases]
        spacing = segmenter.working_spacings(references)
        made = []
        for case, reference in zip(self.chosen.cases, references, strict=True):
            names = {s.name: spacing[s.name] for s in reference.structures}
            task = self.model.kept_task([*self.key, case.name], partial(segmenter.encode_at, reference, names))
            assert task is not None
            made.append(task)
        return made

    @cached_property
    def scans(self) -> np.ndarray:
        """Unit vectors (cases, C) of the whole scans, for image-level retrieval."""
        found = []
        for case in self.chosen.cases:
            make = partial(whole_scan, case, self.model.segmenter)
            task = self.model.kept_task(["scan", self.chosen.dataset.name, case.name], make)
            assert task is not None
            found.append(mean_feature(task))
        return np.stack(found)


def read_scan(case: Case) -> Volume:
    from dropiris.files import read_volume

    assert case.image is not None
    return read_volume(case.image)


def whole_scan(case: Case, segmenter: IrisSegmenter) -> TaskEmbedding:
    """A scan as if all of it were one structure."""
    volume = read_scan(case)
    labels = LabelMap(np.ones(volume.shape, np.uint8), volume.affine, (Structure(1, "scan"),))
    return segmenter.encode([Reference(volume, (labels,))])


def mean_feature(task: TaskEmbedding) -> np.ndarray:
    """Unit vector (C,) of the first structure's first token, the mean of the features under its mask."""
    token = task.tokens[0, 0].astype(np.float64)
    return token / max(float(np.linalg.norm(token)), 1e-12)


def score_query(dataset: Dataset, case: Case, task: TaskEmbedding, segmenter: IrisSegmenter) -> dict[str, float]:
    """Dice of the structures that the task knows and the case shows."""
    from dropiris.train.validate import dice_per_structure

    known = [name for name in task.names if name in dataset.structures]
    if not known:
        raise InputError(f"{dataset.folder} has none of the references' structures; name them alike.")
    found = dice_per_structure(dataset, case, lambda volume: segmenter.segment(volume, task, known))
    return {name: dice for name, dice in found.items() if name in known}


def told(scores: Scores) -> str:
    return f"Dice {100 * mean_dice(scores):.1f}"
