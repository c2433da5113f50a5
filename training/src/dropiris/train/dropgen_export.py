"""From weights of a DropGen run to a bundle and its scores, while the run goes on and at its end."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dropiris.data.nnunet import Dataset
from dropiris.data.patches import intensity_rule
from dropiris.data.selection import Selection
from dropiris.data.sequences import SEQUENCES
from dropiris.inference import DropGenSegmenter
from dropiris.models.bundle import Bundle, write_bundle
from dropiris.models.card import ModelCard
from dropiris.train import validate
from dropiris.train.dropgen_config import DropGenConfig
from dropiris.train.export import card_of, structure_of, title_of
from dropiris.train.extractors import extractor_spec
from dropiris.train.methods import Method

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class DropGenExport:
    """Calling it with weights writes the bundle with its scores; :meth:`score` only measures them.

    Attributes
    ----------
    extractor : Module or None
        What stands beside the image, as it was loaded.
    device : str
        Where scores are computed.
    """

    config: DropGenConfig
    folder: Path
    method: Method
    extractor: nn.Module | None
    device: str = "auto"

    def __call__(self, weights: Weights) -> Bundle:
        """Write the bundle, score it on the validation and test cases, and write the scores into its card."""
        bundle = self.write(weights, self.folder / self.config.name)
        rows = self.rows(bundle, self.config.validation, self.config.validation_cases)
        if self.config.test is not None:
            rows += self.rows(bundle, self.config.test)
        if not rows:
            return bundle
        return write_bundle(bundle.folder, replace(bundle.card, scores=rows), bundle.tensors())

    def score(self, weights: Weights) -> float:
        """Mean Dice of the validation cases; of a run without any, 0."""
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".validation-") as folder:
            bundle = self.write(weights, Path(folder) / self.config.name)
            rows = self.rows(bundle, self.config.validation, self.config.validation_cases)
        return float(np.mean([row["value"] for row in rows if row["structure"] != "mean"] or [0.0]))

    def write(self, weights: Weights, folder: Path) -> Bundle:
        """The bundle without scores."""
        spec, predictor = self.method.bundle(weights)
        tensors = {f"predictor.{name}": value for name, value in predictor.items()}
        if self.extractor is not None:
            tensors |= {f"extractor.{name}": value for name, value in self.extractor.state_dict().items()}
        return write_bundle(folder, self.card(spec), tensors)

    def card(self, network: dict[str, Any]) -> ModelCard:
        config, dataset = self.config, Dataset.open(self.config.data[0]).merge(self.config.merge)
        structures = tuple(
            structure_of(number, name, config) for number, name in enumerate(dataset.structures, start=1)
        )
        extractor = None if self.extractor is None else extractor_spec(self.extractor, config)
        rule = intensity_rule(config)
        return card_of(config, "dropgen", network, rule, [dataset], extractor, structures, config.spacing)

    def rows(self, bundle: Bundle, selection: Selection, limit: int = 0) -> list[dict[str, Any]]:
        """Scores of a bundle on selected cases, as a model card lists them."""
        dataset = self._titled(Dataset.open(self.config.data[0]).merge(self.config.merge))
        cases = selection.cases(dataset)[: limit or None]
        segmenter, rows = DropGenSegmenter(bundle, self.device), []
        scanned = [case for case in cases if case.image]
        if scanned:
            scores = validate.validate_dropgen(segmenter, dataset, scanned)
            rows += validate.as_card_scores(dataset, selection.split, scores)
        drawn = [case for case in cases if not case.image]
        for sequence in SEQUENCES if drawn else ():
            scores = validate.validate_rendered(segmenter, dataset, drawn, sequence)
            rows += validate.as_card_scores(dataset, selection.split, scores, f"rendered as {sequence}")
        return rows

    def _titled(self, dataset: Dataset) -> Dataset:
        """The dataset with structures called as the bundle calls them."""
        called = {name: title_of(name, self.config) for name in dataset.structures}
        partial = {case: [called.get(n, n) for n in names] for case, names in dataset.partially_labelled.items()}
        structures = {called[name]: value for name, value in dataset.structures.items()}
        return replace(dataset, structures=structures, partially_labelled=partial)
