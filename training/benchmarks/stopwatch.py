"""Medians of repeated runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any


def seconds_of(run: Callable[[], Any], runs: int, device: str = "cpu", warm_up: bool = True) -> tuple[float, ...]:
    """Wall time of each of ``runs`` calls, in seconds; the first call builds kernels and does not count."""
    if warm_up:
        run()
    taken = []
    for _ in range(runs):
        wait_for(device)
        start = time.perf_counter()
        run()
        wait_for(device)
        taken.append(time.perf_counter() - start)
    return tuple(taken)


def median(taken: tuple[float, ...]) -> float:
    return statistics.median(taken)


def wait_for(device: str) -> None:
    """Let a GPU finish what it was given."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device.startswith("mps"):
        torch.mps.synchronize()
