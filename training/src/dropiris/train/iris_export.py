"""From weights of an Iris run to a bundle and its scores, while the run goes on and at its end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dropiris.data.nnunet import Case, Dataset
from dropiris.inference import IrisSegmenter
from dropiris.intensity import IntensityRule
from dropiris.models.bundle import Bundle, write_bundle
from dropiris.train import validate
from dropiris.train.export import card_of, structure_of
from dropiris.train.extractors import extractor_spec
from dropiris.train.iris_config import IrisConfig
from dropiris.train.memory_bank import MemoryBank
from dropiris.volume import Structure

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class IrisExport:
    """Calling it with weights writes the bundle with its scores; :meth:`score` only measures them.

    Attributes
    ----------
    extractor : Module or None
        Of stable Iris, as it was loaded.
    memory : MemoryBank or None
        Its classes are written as ``memory.*`` tensors and as the card's structures, in the same order.
    device : str
        Where scores are computed.
    """

    config: IrisConfig
    folder: Path
    extractor: nn.Module | None = None
    memory: MemoryBank | None = None
    device: str = "auto"

    def __call__(self, weights: Weights) -> Bundle:
        """Write the bundle, score it on every validation split, and write the scores into its card."""
        bundle = self.write(weights, self.folder / self.config.name)
        rows = self.rows(bundle)
        return write_bundle(bundle.folder, replace(bundle.card, scores=rows), bundle.tensors())

    def rows(self, bundle: Bundle) -> list[dict[str, Any]]:
        """Scores of a bundle on every validation split, as a model card lists them."""
        segmenter = IrisSegmenter(bundle, self.device)
        rows: list[dict[str, Any]] = []
        for dataset, cases, references in self.validation_splits():
            scores = validate.validate_iris(segmenter, dataset, cases, references)
            note = f"one reference, aligned; mean over {len(references)} references"
            rows += validate.as_card_scores(dataset, "Val", scores, note)
            scores = validate.validate_memory(segmenter, as_remembered(dataset, self.config), cases)
            rows += validate.as_card_scores(dataset, "Val", scores, "no reference: memory of the training classes")
        return rows

    def score(self, weights: Weights) -> float:
        """Mean Dice of the validation cases with one reference, every dataset counting alike; 0 without any.

        Not aligned: what training changes is the network.
        """
        means: list[float] = []
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".validation-") as folder:
            segmenter = IrisSegmenter(self.write(weights, Path(folder) / self.config.name), self.device)
            for dataset, cases, references in self.validation_splits():
                scores = validate.validate_iris(segmenter, dataset, cases, references[:1], align=False)
                means.append(float(np.mean([np.mean(values) for values in scores.values()])) if scores else 0.0)
        return float(np.mean(means)) if means else 0.0

    def validation_splits(self) -> Iterator[tuple[Dataset, list[Case], list[Case]]]:
        """Datasets that have scans to validate on: the dataset, its cases and a fixed choice of references."""
        for folder in self.config.data:
            dataset = Dataset.open(folder)
            cases = dataset.cases("Val")[: self.config.validation_cases or None]
            references = validate.spread_references(dataset.cases("Tr"))
            if cases and references and references[0].image:
                yield dataset, cases, references

    def write(self, weights: Weights, folder: Path) -> Bundle:
        """The bundle without scores."""
        config, structures = self.config, []
        tensors = {f"iris.{name}": value for name, value in weights.items()}
        if self.extractor is not None:
            tensors |= {f"extractor.{name}": value for name, value in self.extractor.state_dict().items()}
        if self.memory is not None and config.memory:
            names, tokens, spacing = self.memory.learned()
            if names:
                structures = remembered_structures(names, config)
                tensors |= {"memory.tokens": tokens, "memory.spacing": spacing}
        network = {
            "name": "Iris",
            "in_channels": 1 + (int(self.extractor.feature_channels) if self.extractor else 0),  # type: ignore[arg-type]
            "base_width": config.base_width,
            "task_channels": config.task_channels,
            "queries": config.queries,
            "similarity": config.similarity,
        }
        if config.closed_form:
            network["closed_form"] = True
        if config.downsamplings != 4:
            network["downsamplings"] = config.downsamplings
        extractor = None if self.extractor is None else extractor_spec(self.extractor, config)
        datasets = [Dataset.open(path) for path in config.data]
        rule = IntensityRule(scale="zscore")
        card = card_of(config, "iris", network, rule, datasets, extractor, tuple(structures), None)
        return write_bundle(folder, card, tensors)


def remembered_structures(names: list[str], config: IrisConfig) -> list[Structure]:
    """Structures of the memory, labels from 1: named, coloured and coded as the settings say, else as in the data.

    These names are what ``--classes`` and the panel ask for.
    """
    described = [structure_of(number, name, config) for number, name in enumerate(names, start=1)]
    return [replace(one, name=class_name(name, config)) for one, name in zip(described, names, strict=True)]


def class_name(name: str, config: IrisConfig) -> str:
    """What the memory calls a structure of the data: the settings' name where they give one."""
    chosen = config.structures.get(name)
    return chosen.name if chosen else name


def as_remembered(dataset: Dataset, config: IrisConfig) -> Dataset:
    """The dataset with its structures called as in the memory."""
    return replace(
        dataset,
        structures={class_name(name, config): value for name, value in dataset.structures.items()},
        partially_labelled={
            case: [class_name(name, config) for name in names] for case, names in dataset.partially_labelled.items()
        },
    )
