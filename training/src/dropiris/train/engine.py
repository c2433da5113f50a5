"""What both training loops share: device and precision, the schedule, the log."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from dropiris.train.config import RunConfig

log = logging.getLogger("dropiris.train")


def start_fabric(config: RunConfig) -> Fabric:
    """Devices and precision by Lightning Fabric; on a processor bfloat16 halves a step's time (measured, AVX512)."""
    fabric = Fabric(accelerator=config.accelerator, devices=1, precision=config.precision)
    fabric.launch()
    return fabric


def cosine_schedule(optimizer: torch.optim.Optimizer, config: RunConfig) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up, then cosine to zero, per step (DropGen, Sec. 4)."""

    def factor(step: int) -> float:
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
        done = (step - config.warmup_steps) / max(1, config.max_steps - config.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def steps(dataset: TorchDataset, start: int, config: RunConfig) -> Iterator[tuple[int, Any]]:
    """(step, batch) from ``start`` on; a batch depends only on its step, so a resumed run sees the same ones."""
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=range(start, config.max_steps),
        num_workers=config.workers,
        persistent_workers=False,
    )
    for step, batch in zip(range(start, config.max_steps), loader, strict=False):
        torch.manual_seed(config.seed * 1_000_003 + step)  # dropout of this step, resumed or not
        yield step, batch


class RunLog:
    """``log.jsonl`` of a run: one line per report, also shown on the console."""

    def __init__(self, folder: Path, every: int = 25):
        self.path, self.every = folder / "log.jsonl", every
        self._losses: list[float] = []
        self._since = time.perf_counter()

    def step(self, step: int, loss: torch.Tensor, max_steps: int) -> None:
        self._losses.append(float(loss))
        if (step + 1) % self.every == 0 or step + 1 == max_steps:
            seconds = (time.perf_counter() - self._since) / len(self._losses)
            self.write(step=step + 1, loss=sum(self._losses) / len(self._losses), seconds_per_step=seconds)
            self._losses.clear()
            self._since = time.perf_counter()

    def write(self, **values: Any) -> None:
        rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(rounded) + "\n")
        log.info(" ".join(f"{k}={v}" for k, v in rounded.items()))


def clip_and_step(network: nn.Module, optimizer: torch.optim.Optimizer, norm: float) -> None:
    """One optimiser step with the gradient's norm limited; a single odd crop must not undo a hundred others."""
    torch.nn.utils.clip_grad_norm_(network.parameters(), norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
