"""``dropiris iris segment``."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from dropiris.cli.dropgen_segment import Device, Format, Output, Structures
from dropiris.cli.iris_encode import Model, iris_bundle, read_references
from dropiris.cli.scans import DeviceChoice, Ending, names_of, plan, run


class Strategy(str, enum.Enum):
    """How references are used (Iris, section 3.3)."""

    one_shot = "one-shot"
    ensemble = "ensemble"
    retrieval = "retrieval"
    tune = "tune"


class ReferencePairs(TyperCommand):
    """Lets ``--reference IMG LABELS`` be repeated: typer knows repeated options and pairs, but not both at once."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words: list[str] = []
        for n, word in enumerate(args):
            words.append(word)
            if n and args[n - 1] == "--reference" and n + 1 < len(args) and not args[n + 1].startswith("-"):
                words.append("--reference")
        return super().parse_args(ctx, words)


def segment(
    scan: Annotated[Path, typer.Argument(metavar="INPUT", help="NIfTI, NRRD, a DICOM folder, or a folder of scans.")],
    output: Output,
    task: Annotated[
        list[Path] | None, typer.Option("--task", help="Task file of `dropiris iris encode`; repeat.")
    ] = None,
    reference: Annotated[
        list[Path] | None, typer.Option("--reference", metavar="IMG LABELS", help="A labelled example; repeat.")
    ] = None,
    strategy: Annotated[
        Strategy, typer.Option("--strategy", help="How several references are used.")
    ] = Strategy.ensemble,
    model: Model = None,
    structures: Structures = None,
    device: Device = DeviceChoice.auto,
    ending: Format = Ending.nifti,
) -> None:
    if bool(task) == bool(reference):
        raise typer.BadParameter("give either --task TASK or --reference IMG LABELS.")
    if reference and len(reference) % 2:
        raise typer.BadParameter("--reference takes two files: a scan and its labels.")
    bundle = iris_bundle(model)
    jobs = plan(scan, output, ending)
    wanted = names_of(structures)
    references = read_references(reference, wanted) if reference else []

    from dropiris.inference import IrisSegmenter, TaskEmbedding, segment_with_strategy

    segmenter = IrisSegmenter(bundle, device=device.value)
    tasks = [TaskEmbedding.load(path) for path in task or []]
    run(jobs, lambda volume, progress, cancel: segment_with_strategy())
