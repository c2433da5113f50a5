"""Batches of a run, numbered by step, so that a resumed or a distributed run sees what any other would."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Protocol

from torch.utils.data import DataLoader

from dropiris.train.config import RunConfig
from dropiris.train.preemption import leave_stopping_to_the_run


class Samples(Protocol):
    """A training dataset: ``samples[step, index]`` is sample ``index`` of the batch of step ``step``.

    A tuple (or NamedTuple) of tensors that depends on (seed, step, index) alone; what all samples of a batch must
    agree on (a number of classes) depends on (seed, step).
    """

    def __getitem__(self, at: tuple[int, int]) -> Sequence[Any]: ...


@dataclass(frozen=True)
class _Rows:
    """The places in the dataset that each batch is made of; a list of a million steps would take 200 MB."""

    steps: range
    rows: range

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return ([(step, index) for index in self.rows] for step in self.steps)

    def __len__(self) -> int:
        return len(self.steps)


def fitting_workers(on_gpu: bool) -> int:
    """Processes that prepare data while the loop computes.

    Beside a GPU one for each core that is left, at most 8. Beside a processor that computes itself, one. Where a
    process cannot be forked (Windows, macOS) each would hold a copy of the dataset: none, or 2 beside a GPU.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    own = cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)) - 1
    copies = multiprocessing.get_start_method() != "fork"
    most = (2 if copies else 8) if on_gpu else (0 if copies else 1)
    return max(0, min(own, most))


def follow_the_run(number: int) -> None:
    """In a process that prepares data: stop when the run says so, and end with it however it ends.

    PyTorch's own watch asks who the parent is, which with ``forkserver`` is not the run: one that was killed left its
    workers behind.
    """
    leave_stopping_to_the_run(number)
    run = multiprocessing.parent_process()
    if run is not None:
        threading.Thread(target=_end_with, args=(run.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


class Batches:
    """This process's rows of every batch from step ``start`` on.

    Attributes
    ----------
    seconds_waiting : float
        Time the loop has waited for data so far; with ``workers=0`` that is the time of preparing it.
    served : int
        Batches handed out so far.
    """

    def __init__(self, samples: Samples, config: RunConfig, start: int, rows: range, on_gpu: bool = False):
        self.steps = range(start, config.max_steps)
        self.seconds_waiting, self.served = 0.0, 0
        self._loader: DataLoader[Any] = DataLoader(
            samples,  # type: ignore[arg-type]
            batch_sampler=_Rows(self.steps, rows),
            num_workers=fitting_workers(on_gpu) if config.workers is None else config.workers,
            pin_memory=on_gpu,
            worker_init_fn=follow_the_run,
        )

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        loaded = iter(self._loader)
        for step in self.steps:
            since = time.perf_counter()
            batch = next(loaded)
            self.seconds_waiting += time.perf_counter() - since
            self.served += 1
            yield step, batch
