"""Networks of a bundle, built from its card and filled with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from dropiris.errors import ModelError
from dropiris.models.bundle import Bundle
from dropiris.models.shared_features import find_features, own_extractor
from dropiris.networks import build_network


def load_network(
    bundle: Bundle, spec: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], prefix: str
) -> nn.Module:
    """Build what ``spec`` names and load the tensors under ``prefix``, in evaluation mode and without gradients.

    Raises
    ------
    ModelError
        If the card names an unknown network or the weights do not fit it.
    """
    who = f"The model {bundle.card.name!r}"
    try:
        network = build_network(dict(spec))
    except (TypeError, ValueError) as problem:
        raise ModelError(
            f"{who} cannot be built ({problem}); update SegmentAnyScan or export the model again."
        ) from None
    own = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    try:
        network.load_state_dict(own, strict=True)
    except RuntimeError as problem:
        first = str(problem).splitlines()[-1].strip().rstrip(".")
        raise ModelError(
            f"The weights of {bundle.folder} do not fit its card ({first}); export the model again."
        ) from None
    return network.eval().requires_grad_(False)


def load_extractor(bundle: Bundle, tensors: Mapping[str, torch.Tensor]) -> nn.Module | None:
    """The stable extractor beside the image, if the model has one; MIND-SSC has no weights.

    Raises
    ------
    ModelError
        The features that the model shares are not here (see :mod:`dropiris.models.shared_features`), or do not fit.
    """
    if bundle.card.extractor is None:
        return None
    features = find_features(bundle)
    source, weights = (bundle, tensors) if features is None else (features, features.tensors())
    return load_network(source, own_extractor(bundle.card), weights, "extractor.")


def check_channels(bundle: Bundle, inputs: int, extractor: nn.Module | None) -> None:
    """Refuse a network whose input is not the image and the extractor's features."""
    given = 1 + (int(extractor.feature_channels) if extractor is not None else 0)  # type: ignore[arg-type]
    if inputs != given:
        raise ModelError(
            f"The model {bundle.card.name!r} takes {inputs} channels, but image and extractor give {given}; "
            "export the model again."
        )


def check_window(bundle: Bundle, multiple: int, smallest: int) -> tuple[int, int, int]:
    """The card's window, if the network can run on it."""
    window = bundle.card.window
    if any(n % multiple or n < smallest for n in window):
        raise ModelError(
            f"The model {bundle.card.name!r} has window {window}, but its network needs multiples of {multiple} "
            f"from {smallest}; export the model again."
        )
    return window
