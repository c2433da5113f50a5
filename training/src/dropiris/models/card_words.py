"""Figures of a model card in words, the same at the command line, in the panels and on the documentation site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def score_in_words(score: Mapping[str, Any], decimals: int = 2) -> str:
    """The value of one of the card's ``scores``, its interval behind it where there is one: "0.84 [0.80, 0.88]"."""
    value = f"{score['value']:.{decimals}f}"
    if "interval" not in score:
        return value
    low, high = score["interval"]
    return f"{value} [{low:.2f}, {high:.2f}]"


def training_in_words(training: Mapping[str, Any]) -> str:
    """When, how long and on what: "2026-03-01, 1500 steps, processor, 1 thread, bf16-mixed".

    What a card does not say is left out; the steps of cards without ``steps`` are those of the run's settings.
    """
    steps, limit = training.get("steps"), ""
    settings = training.get("settings")
    if steps is None and isinstance(settings, Mapping):
        # With patience a run may end earlier, and nothing on the card tells when it did.
        steps, limit = settings.get("max_steps"), "at most " if settings.get("patience") else ""
    parts = [training.get("date"), "" if steps is None else f"{limit}{steps} steps", training.get("hardware")]
    return ", ".join(str(part) for part in parts if part)
