"""A stand-in for a model that needs no torch: bright voxels are "bright". Everything around it is the real thing.

Beside the scans lie orders for single cases: NAME.dies ends the worker's process in the middle of the case, NAME.full
lets the disk be full when its result is written; each once. NAME.slow takes a second, and says when it began.
"""

import errno
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from dropiris.cohort.station import Station
from dropiris.models.card import ModelCard
from dropiris.progress import ignore_progress
from dropiris.volume import LabelMap, Structure


class FullOnce(Station):
    def write(self, labels, case):
        if ordered(case.scan, "full"):
            raise OSError(errno.ENOSPC, "No space left on device", str(case.result))
        if case.scan.with_name(f"{case.name}.slow").exists():
            case.scan.with_name(f"{case.name}.began").touch()
            time.sleep(1)
        return super().write(labels, case)


def ordered(scan, what):
    order = scan.with_name(f"{scan.name.split('.')[0]}.{what}")
    there = order.exists()
    order.unlink(missing_ok=True)
    return there


@dataclass(frozen=True)
class ThresholdRecipe:
    folder: Path
    digest: str = "threshold 150"
    device: str = "cpu"
    trust: bool = False

    def open(self, progress=ignore_progress):
        card = ModelCard(
            "threshold", "1.0.0", "dropgen", (8, 8, 8), {"name": "UNet"},
            title="Threshold", licence="CC0-1.0", spacing=(1.0, 1.0, 1.0), structures=(Structure(1, "bright"),),
        )  # fmt: skip
        with (self.folder / "opened.txt").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return FullOnce(self.segment, card, "no network")

    def segment(self, volume, progress, cancel):
        scan = self.folder / volume.name
        if ordered(scan, "dies"):
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        return LabelMap((volume.array > 150).astype("uint8"), volume.affine, (Structure(1, "bright"),), volume.name)
