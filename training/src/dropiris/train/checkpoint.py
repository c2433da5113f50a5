"""Checkpoints that resume a run where it stopped, and the averaged weights that a bundle is made from."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path

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


@dataclass
class TrainingState:
    """Everything a run needs to go on: the rest (data, dropout) depends on (seed, step) alone."""

    folder: Path
    network: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    averaged: AveragedWeights

    def save(self, step: int) -> None:
        """Write ``last.pt`` whole or not at all; ``step`` steps are done."""
        temporary = self.folder / (LAST + ".part")
        state = {
            "step": step,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "averaged": self.averaged.state,
        }
        torch.save(state, temporary)
        os.replace(temporary, self.folder / LAST)

    def restore(self) -> int:
        """Load ``last.pt`` and return how many steps it has behind it; 0 when the run has not started."""
        path = self.folder / LAST
        if not path.exists():
            return 0
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.averaged.state = state["averaged"]
            return int(state["step"])
        except (OSError, EOFError, KeyError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{path} does not fit this run ({reason}); remove it to start anew.") from error
