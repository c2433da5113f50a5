"""Table 3: seconds, memory and parameters of one reference and several queries; run as a program it measures itself.

A process of its own, because a process's peak memory only ever grows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from dropiris.benchmark.iris_config import ComputeTrial
from dropiris.benchmark.iris_data import Model
from dropiris.benchmark.units import Unit
from dropiris.errors import InputError


def compute_unit(model: Model, trial: ComputeTrial) -> Unit:
    return Unit(
        f"{model.name}, {trial.queries} queries of {trial.size} voxels a side, {trial.classes} classes",
        model.folder / "compute.json",
        {**model.settings, **trial.model_dump(), "device": model.device},
        partial(_run, model, trial),
    )


def _run(model: Model, trial: ComputeTrial) -> dict[str, Any]:
    words = ["--queries", trial.queries, "--classes", trial.classes, "--size", trial.size, "--device", model.device]
    command = [sys.executable, "-m", __name__, str(model.bundle.folder), *map(str, words)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"Measuring {model.name} failed: {said}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "told": f"{found['seconds']:.1f} s on {found['device']}"}


def measure(folder: Path, queries: int, classes: int, size: int, device: str) -> dict[str, Any]:
    """Encode one reference with all classes, then segment every query with them; after one pass to warm up."""
    import torch

    from dropiris.inference import IrisSegmenter
    from dropiris.models.bundle import Bundle

    bundle = Bundle.open(folder)
    segmenter = IrisSegmenter(bundle, device)
    scorer, where = segmenter.scorer, segmenter.device
    gpu = where.torch_device.startswith("cuda")
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((1, 1, size, size, size), generator=generator)
    masks = torch.zeros((classes, size, size, size))
    for number in range(classes):
        start = number * (size - 8) // classes
        masks[number, start : start + 8, size // 4 : size // 2, size // 4 : size // 2] = 1

    def once(count: int) -> float:
        if gpu:
            torch.cuda.synchronize()
        started = time.perf_counter()
        scorer.look_for(scorer.encode(image, masks))
        for _ in range(count):
            scorer(image).cpu()
        return time.perf_counter() - started

    once(1)
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    seconds = once(queries)
    peak = torch.cuda.max_memory_allocated() / 1e9 if gpu else peak_resident()
    millions = sum(p.numel() for p in scorer.iris.parameters()) / 1e6
    return {"seconds": seconds, "memory_gb": peak, "parameters_millions": millions, "device": str(where)}


def peak_resident() -> float | None:
    """Largest resident size of this process so far, GB; None where the system does not say.

    Not ``ru_maxrss`` on Linux: a child begins with its parent's, so a large parent hides a small child.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e9
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9  # bytes on macOS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    for name in ("queries", "classes", "size"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--device", required=True)
    chosen = parser.parse_args()
    print(json.dumps(measure(chosen.bundle, chosen.queries, chosen.classes, chosen.size, chosen.device)))


if __name__ == "__main__":
    main()
