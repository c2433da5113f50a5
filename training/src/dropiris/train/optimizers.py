"""The optimisers and learning-rate schedules a run can ask for by name."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from dropiris.train.config import RunConfig
from dropiris.train.iris_config import IrisConfig
from dropiris.train.schedules import cosine_schedule

# Of Muon's rate, for norms, biases and tokens, which AdamW moves.
_BESIDE_MUON = 0.1


def build_optimizer(parameters: Iterable[nn.Parameter], config: RunConfig) -> torch.optim.Optimizer:
    """AdamW, or from pytorch-optimizer LAMB or Muon.

    LAMB (You et al., ICLR 2020; Iris's) is Adam with a step per layer that is proportional to the layer's own size,
    made for large batches. Muon (Jordan et al., 2024) turns the momentum of each convolution, flattened to a matrix,
    into the nearest orthogonal one: every direction moves alike, and a network that sees few examples learns several
    times as much from each (training/RESULTS.md). Its rate is about thirty times AdamW's; weights that are not
    convolutions take a tenth of it, in AdamW.
    """
    if config.optimizer == "lamb":
        from pytorch_optimizer import Lamb  # imported here: its many optimisers take seconds

        # Without adam_debias the library divides the finished step by 1 - 0.9**t: ten times the rate in the first step.
        return Lamb(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, adam_debias=True)
    if config.optimizer == "muon":
        from pytorch_optimizer import Muon

        everything = list(parameters)
        decay = {"weight_decay": config.weight_decay}
        kernels = {"params": [p for p in everything if p.ndim > 3], "lr": config.learning_rate, "use_muon": True}
        others = {"params": [p for p in everything if p.ndim <= 3], "lr": _BESIDE_MUON * config.learning_rate}
        return Muon([{**kernels, **decay}, {**others, **decay, "use_muon": False}])
    return torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay)


def build_schedule(optimizer: torch.optim.Optimizer, config: IrisConfig) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up, then cosine to zero or exponential decay to a hundredth (Iris; it does not say how far)."""
    return (
        exponential_schedule(optimizer, config)
        if config.schedule == "exponential"
        else cosine_schedule(optimizer, config)
    )


def exponential_schedule(
    optimizer: torch.optim.Optimizer, config: IrisConfig, final: float = 0.01
) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up, then ``learning_rate * final ** (share of the run that is done)``, per step."""

    def factor(step: int) -> float:
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
        done = (step - config.warmup_steps) / max(1, config.max_steps - config.warmup_steps)
        return final ** min(1.0, done)

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
