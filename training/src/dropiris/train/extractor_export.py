"""From weights of an extractor to a bundle whose features models share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dropiris.data.nnunet import Dataset
from dropiris.errors import InputError
from dropiris.intensity import IntensityRule
from dropiris.models.bundle import Bundle, write_bundle
from dropiris.models.card import ModelCard
from dropiris.train.export import card_of, without_folders
from dropiris.train.extractor_config import ExtractorConfig
from dropiris.train.extractors import anatomix_of, anatomix_spec
from dropiris.train.initial_weights import read_weights

_OWN = "model."  # what a run's weights call the extractor's; projections and heads have other names
_SCORES = {
    "probe": "linear probe across contrasts",
    "probe_raw": "linear probe across contrasts, raw intensities",
    "cka": "CKA",
    "cka_raw": "CKA, raw intensities",
}


def extractor_weights(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The extractor's own weights of a run's; projections and heads are left behind."""
    return {name: value for name, value in weights.items() if name.startswith(_OWN)}


def export_extractor(
    config: ExtractorConfig,
    run_folder: Path,
    weights: Mapping[str, torch.Tensor],
    datasets: list[Dataset],
    scores: Mapping[str, float],
) -> Bundle:
    """Write the bundle ``run_folder/<name>`` of a run's weights; its card says what they were made from."""
    own = extractor_weights(weights)
    spec = anatomix_spec(anatomix_of(own, config.extractor_layer))
    card = card_of(config, "extractor", spec, IntensityRule(), datasets, None, (), None)
    return _write(run_folder / config.name, replace(card, scores=_rows(scores, config.validation_pairs)), own)


def bundle_of_weights(source: Path, folder: Path, changes: Mapping[str, Any] | None = None) -> Bundle:
    """The bundle ``folder/<name>`` of a file of weights (``.safetensors``) with its card (``.json``) beside it.

    That pair is what runs wrote before features had bundles; ``changes`` to the card: title, licence and so on. For
    the ``last.pt`` of a run see :func:`export_extractor`.

    Raises
    ------
    InputError
        A file is missing or does not hold an extractor.
    """
    own, beside = extractor_weights(read_weights(source)), source.with_suffix(".json")
    if not own:
        raise InputError(f"{source} holds no {_OWN}* tensors of an extractor; give the weights of such a run.")
    try:
        said: dict[str, Any] = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{beside} cannot be read; give the card that was written with the weights.") from None
    training = said.get("training", {})
    settings = {key: without_folders(value) for key, value in training.get("settings", {}).items()}
    made: dict[str, Any] = {
        "method": "extractor",
        "window": settings.get("window", (64, 64, 64)),
        "network": anatomix_spec(anatomix_of(own, said.get("network", {}).get("layer", "penultimate"))),
        "training": {**training, "settings": settings},
        "scores": _rows(said.get("scores", {}), settings.get("validation_pairs", 0)),
    }
    card = ModelCard.from_json({**said, **(changes or {}), **made})
    return _write(folder / card.name, card, own)


def _write(folder: Path, card: ModelCard, weights: Mapping[str, torch.Tensor]) -> Bundle:
    return write_bundle(folder, card, {f"extractor.{name}": value for name, value in weights.items()})


def _rows(scores: Mapping[str, float], pairs: int) -> list[dict[str, Any]]:
    """A probe's scores as a card lists them."""
    unseen = {"dataset": "pairs of renderings not trained on", "structure": "every label", "cases": pairs}
    return [{**unseen, "metric": _SCORES.get(key, key), "value": value} for key, value in scores.items()]
