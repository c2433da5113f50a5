"""The main job on real scans: both modules' Logic over a real MRML scene, with the models that ship.

Writes ``demo/<task>/`` (segmentation.seg.nrrd, labels.nii.gz, overlay.png, surface.png) and prints what was found and
how long each step took. Run it with ``make demo``.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from cases import Task, example_tasks, packaged_tasks
from pictures import overlay, surfaces
from rich.console import Console
from rich.table import Table
from scene import ROOT, add_labels, add_volume, result, start_scene

from dropiris.errors import DropIrisError
from dropiris.files import write_labels
from dropiris.volume import LabelMap

EXAMPLES = ROOT.parent / "shared" / "data"


class Demo:
    """Runs tasks one after the other in one scene and keeps what they gave."""

    def __init__(self, slicer: Any, output: Path, device: str, console: Console):
        from DropGenSegLib.logic import DropGenSegLogic
        from IrisICLLib.logic import IrisICLLogic

        self.slicer, self.output, self.device, self.console = slicer, output, device, console
        self.dropgen, self.iris = DropGenSegLogic(), IrisICLLogic()
        self.nodes: dict[str, tuple[Any, Any]] = {}
        self.results: dict[str, LabelMap] = {}

    def run(self, task: Task) -> tuple[LabelMap, float]:
        """Click Segment: returns the result and the seconds from the click to segments in the scene."""
        node = add_volume(self.slicer, task.volume)
        reference = self._reference(task)
        start = time.perf_counter()
        if reference is None:
            segmentation = self.dropgen.process(node, model=task.model, device=self.device)
        else:
            segmentation = self.iris.process(node, [(*reference, None)], device=self.device)
        seconds = time.perf_counter() - start
        self.nodes[task.name] = (node, segmentation)
        self.results[task.name] = result(segmentation, node)
        return self.results[task.name], seconds

    def _reference(self, task: Task) -> tuple[Any, Any] | None:
        if task.reference is None:
            return None
        if isinstance(task.reference, str):
            return self.nodes[task.reference]
        node = add_volume(self.slicer, task.reference.volume)
        return node, add_labels(task.reference.layers[0], node)

    def write(self, task: Task, labels: LabelMap) -> None:
        """Files and pictures of one task."""
        folder = self.output / task.name
        folder.mkdir(parents=True, exist_ok=True)
        write_labels(labels, folder / "segmentation.seg.nrrd")
        write_labels(labels, folder / "labels.nii.gz")
        module = "DropGenSeg" if task.reference is None else "IrisICL"
        overlay(folder / "overlay.png", task.volume, labels, f"{task.volume.name}, segmented by {module}")
        if problem := surfaces(folder / "surface.png", labels):
            self.console.print(problem, style="yellow")

    def rows(self, task: Task, labels: LabelMap) -> list[tuple[str, str, str]]:
        """Structure, volume in mL, and Dice where there is something to compare with."""
        truth = self.results[task.truth] if isinstance(task.truth, str) else task.truth
        voxel_ml = float(abs(labels.spacing.prod())) / 1000
        rows = []
        for structure in labels.structures:
            ours = labels.mask(structure)
            dice = ""
            if truth is not None:
                same = [s for s in truth.structures if s.name == structure.name]
                theirs = truth.mask(same[0]) if same else None
                dice = "" if theirs is None else f"{2 * (ours & theirs).sum() / max(1, ours.sum() + theirs.sum()):.3f}"
            rows.append((structure.name, f"{ours.sum() * voxel_ml:.2f}", dice))
        return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "demo")
    parser.add_argument("--device", default="auto", choices=["auto", "cuda", "mps", "cpu"])
    chosen = parser.parse_args()
    console = Console()
    slicer = start_scene()
    tasks = packaged_tasks()
    if EXAMPLES.is_dir():
        tasks += example_tasks(EXAMPLES)
    else:
        console.print("The example data (../shared/data) is not here: the cases with expert labels are left out.")
    demo = Demo(slicer, chosen.output, chosen.device, console)
    table = Table("task", "structure", "mL", "Dice", "seconds", title="What was found")
    for task in tasks:
        console.print(f"{task.name}: {task.note}" if task.note else task.name)
        try:
            labels, seconds = demo.run(task)
        except DropIrisError as error:
            console.print(f"{task.name}: {error}", style="red")
            return 1
        demo.write(task, labels)
        for n, (structure, volume, dice) in enumerate(demo.rows(task, labels)):
            first = n == 0
            table.add_row(task.name if first else "", structure, volume, dice, f"{seconds:.1f}" if first else "")
    console.print(table)
    console.print(f"Written to {chosen.output}: open overlay.png and surface.png, or the .seg.nrrd in 3D Slicer.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
