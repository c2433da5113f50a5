"""Bundles with random weights: speed and memory do not depend on what was learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from dropiris.models.bundle import Bundle, write_bundle
from dropiris.models.card import ModelCard
from dropiris.networks import build_network
from dropiris.volume import Structure

MIND = {"name": "MIND-SSC"}


def dropgen_bundle(
    folder: Path, predictor: dict[str, Any], extractor: dict[str, Any] | None, window: int,
    spacing: tuple[float, float, float],
) -> Bundle:  # fmt: skip
    """A DropGen bundle; its structures are the predictor's outputs but the background."""
    tensors = _weights("predictor.", predictor)
    if extractor is not None:
        tensors |= _weights("extractor.", extractor)
    structures = structures_of(predictor["out_channels"] - 1)
    card = ModelCard(
        folder.name, "1.0.0", "dropgen", (window,) * 3, predictor, extractor=extractor, structures=structures,
        spacing=spacing,
    )  # fmt: skip
    return write_bundle(folder, card, tensors)


def iris_bundle(folder: Path, iris: dict[str, Any], window: int) -> Bundle:
    """An Iris bundle without memory."""
    return write_bundle(folder, ModelCard(folder.name, "1.0.0", "iris", (window,) * 3, iris), _weights("iris.", iris))


def structures_of(count: int) -> tuple[Structure, ...]:
    """Structures 1..count in distinct colours."""
    return tuple(
        Structure(n, f"structure {n}", (n / (count + 1), 1 - n / (count + 1), 37 * n % 100 / 100))
        for n in range(1, count + 1)
    )


def _weights(prefix: str, spec: dict[str, Any]) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {prefix + name: value for name, value in build_network(spec).state_dict().items()}
