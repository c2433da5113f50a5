"""Checkpoints that resume a run where it stopped, and the averaged weights that a bundle is made from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dropiris.errors import InputError

LAST = "last.pt"


class AveragedWeights:
    """Exponential moving average of a network's floating-point state; steadier than the last step of small batches."""

    def __init__(self, network: nn.Module, decay: float):
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in network.state_dict().items()}

    def update(self, network: nn.Module, step: int) -> None:
        """Blend the network in; the first steps count more, so that the random start is soon forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        with torch.no_grad():
            for key, value in network.state_dict().items():
                if value.is_floating_point():
                    self.state[key].lerp_(value.detach(), 1 - decay)
                else:
                    self.state[key].copy_(value)


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write ``last.pt`` whole or not at all."""
    temporary = folder / (LAST + ".part")
    torch.save(state, temporary)
    os.replace(temporary, folder / LAST)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The run's checkpoint, or None when it has not started."""
    path = folder / LAST
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path} cannot be read ({error}); remove it to start the run anew.") from error
