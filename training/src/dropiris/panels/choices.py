"""Choices both panels offer."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any


class DeviceChoice(Enum):
    """Where the networks run; the value is what the worker is asked for."""

    AUTO = "auto"
    CUDA = "cuda"
    MPS = "mps"
    CPU = "cpu"

    def label(self) -> str:
        """As shown in the panel."""
        return {
            DeviceChoice.AUTO: "Automatic",
            DeviceChoice.CUDA: "NVIDIA or AMD graphics card",
            DeviceChoice.MPS: "Apple graphics",
            DeviceChoice.CPU: "Processor (slow)",
        }[self]


def usable_models(models: Any, method: str) -> list[Any]:
    """Entries of the model list that are on this machine, fit the method and have no problem."""
    return [
        entry
        for entry in models.list()
        if entry.card is not None and entry.card.method == method and entry.folder is not None and not entry.problem
    ]


def models_in_words(models: Any, method: str) -> str:
    """Why the list of models is empty or incomplete, or ""."""
    problems = [entry.problem for entry in models.list() if entry.problem]
    if problems:
        return str(problems[0])
    if not usable_models(models, method):
        return "There is no model yet; put one into the extension's Resources/Models folder."
    return ""


def count(number: int, noun: str) -> str:
    """ "1 structure", "3 structures"."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def shortened(names: Sequence[str], most: int = 4) -> str:
    """Some names for one line: "liver, spleen and 12 more"."""
    names = list(names)
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"
