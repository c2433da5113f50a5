"""Peak resident memory of a process that segments a large CT; run as a program it is that process."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from figure import Figure
from sizes import Sizes

from dropiris.inference.devices import Device

TARGET_GB = 6.0
# The network runs on the first windows; the others get the last scores again. Memory is the same, time is not:
# the full-size network on all 294 windows of a 512 x 512 x 400 scan takes the better part of an hour on two cores.
WINDOWS_RUN = 3


def peak_memory(sizes: Sizes, device: Device) -> list[Figure]:
    """DropGen's full path over a CT at its own voxel size, where the scores are largest; also in float32."""
    from random_models import dropgen_bundle

    plain = replace(device, dtype="float32")
    with TemporaryDirectory(prefix="benchmark-") as folder:
        predictor = {**sizes.predictor, "out_channels": 1 + sizes.ct_classes}
        bundle = dropgen_bundle(Path(folder) / "ct", predictor, sizes.extractor, sizes.window, (0.8, 0.8, 1.0))
        figures = [_in_a_process("memory.ct_float32", sizes, bundle.folder, plain)]
        if device.dtype == "float32":
            return [replace(figures[0], key="memory.ct")]
        ours = _in_a_process("memory.ct", sizes, bundle.folder, device)
    if ours.value is not None and figures[0].value is not None:
        ours = replace(ours, details={**ours.details, "of_float32": ours.value / figures[0].value})
    return [*figures, ours]


def _in_a_process(key: str, sizes: Sizes, bundle: Path, device: Device) -> Figure:
    command = [sys.executable, __file__, str(bundle), "--shape", *map(str, sizes.ct)]
    command += ["--device", json.dumps(asdict(device))]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    what = f"{' × '.join(map(str, sizes.ct))} CT, {sizes.ct_classes} classes, peak resident, {device.dtype}"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Figure(key, what, None, "GB", target=TARGET_GB, note=f"The process failed: {last}")
    about = json.loads(done.stdout.splitlines()[-1])
    note = (
        f"{device.dtype}: the network ran on {about['windows_run']} of {about['windows']} windows, the others reused "
        f"its scores; {about['before_gb']:.2f} GB before the scan came in, all else than the network took "
        f"{about['seconds'] - about['network_seconds']:.0f} s."
    )
    return Figure(key, what, about["peak_gb"], "GB", target=TARGET_GB, note=note, details=about)


class FirstWindows:
    """A scorer that runs its network on the first windows only."""

    def __init__(self, scorer: Any, count: int):
        self.scorer, self.count = scorer, count
        self.windows, self.seconds = 0, 0.0
        self.last: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.scorer, name)

    def __call__(self, windows: Any) -> Any:
        self.windows += len(windows)
        if self.last is None or self.windows <= self.count:
            self.last = None  # as without this class: the previous scores are gone while the network runs
            start = time.perf_counter()
            self.last = self.scorer(windows)
            self.seconds += time.perf_counter() - start
        return self.last[: len(windows)]


def synthetic_ct(shape: tuple[int, int, int]) -> np.ndarray:
    """An int16 CT: an elliptic body of noise in air, built plane by plane so that building it is never the peak."""
    rng = np.random.default_rng(0)
    i, j = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape[:2])
    body = (i[:, None] / 0.95) ** 2 + (j / 0.9) ** 2 < 1
    scan = np.empty(shape[::-1], np.int16)  # (k, j, i), as Slicer holds it
    for plane in scan:
        plane[...] = np.where(body, rng.integers(-120, 200, shape[:2], dtype=np.int16), -1000).T
    return scan.T


def peak_resident() -> float:
    """Largest resident size of this process so far, GB.

    Not ``ru_maxrss`` on Linux: a child begins with its parent's, so a large parent hides a small child.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e9
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 1e9
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9  # bytes on macOS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--shape", type=int, nargs=3, required=True)
    parser.add_argument("--device", type=json.loads, required=True, help="fields of a Device, as JSON")
    chosen = parser.parse_args()
    from dropiris.inference import DropGenSegmenter
    from dropiris.models.bundle import Bundle
    from dropiris.volume import Volume

    segmenter = DropGenSegmenter(Bundle.open(chosen.bundle), Device(**chosen.device))
    scorer = FirstWindows(segmenter.scorer, WINDOWS_RUN)
    segmenter.scorer = scorer  # type: ignore[assignment]
    before = peak_resident()
    volume = Volume(synthetic_ct(tuple(chosen.shape)), np.diag([-0.8, -0.8, 1.0, 1.0]), "CT", "CT")
    start = time.perf_counter()
    labels = segmenter.segment(volume)
    seconds = time.perf_counter() - start
    assert labels.shape == volume.shape
    about = {
        "peak_gb": peak_resident(),
        "before_gb": before,
        "seconds": seconds,
        "network_seconds": scorer.seconds,
        "windows": scorer.windows,
        "windows_run": min(WINDOWS_RUN, scorer.windows),
        "device": str(segmenter.device),
    }
    print(json.dumps(about))


if __name__ == "__main__":
    main()
