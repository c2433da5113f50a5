"""How long the worker takes to be there, and the first and second click after it."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from figure import Figure
from random_models import dropgen_bundle
from sizes import QUICK
from stopwatch import median, seconds_of

from dropiris.volume import Volume
from dropiris.worker.client import WorkerClient

_NOTE = "Cold: no process yet, but its files are in the system's cache. Clicks are on one 32³ window of a tiny model."


def worker_start(device: str, runs: int) -> list[Figure]:
    """Cold and warm: the process alone, then with torch and a model."""
    scan = Volume(np.random.default_rng(0).normal(100, 20, (32, 32, 32)).astype(np.float32), np.eye(4), "scan", "MR")
    start, first, again, ping = [], [], [], ()
    with TemporaryDirectory(prefix="benchmark-") as folder:
        spec = {**QUICK.predictor, "in_channels": 1}
        model = dropgen_bundle(Path(folder) / "tiny", spec, None, 32, (1.0, 1.0, 1.0)).folder
        for _ in range(runs):
            with WorkerClient() as client:
                began = time.perf_counter()
                client.start().result(120)
                start.append(time.perf_counter() - began)
                ping = seconds_of(lambda client=client: client.start().result(30), 10)
                began = time.perf_counter()
                client.segment_dropgen(scan, model, device=device)
                first.append(time.perf_counter() - began)
                began = time.perf_counter()
                client.segment_dropgen(scan, model, device=device)
                again.append(time.perf_counter() - began)
    cold, click, second = (median(tuple(taken)) for taken in (start, first, again))
    return [
        Figure("worker.start_cold", "start of the worker, cold", cold, "s", runs=tuple(start), note=_NOTE),
        Figure(
            "worker.start_warm", "the same, worker already there", median(ping), "s", median(ping) / cold, "cold",
            runs=ping,
        ),
        Figure("worker.first_click", "first click: torch, device, model, scan", click, "s", runs=tuple(first)),
        Figure("worker.second_click", "second click", second, "s", second / click, "first", runs=tuple(again)),
    ]  # fmt: skip
