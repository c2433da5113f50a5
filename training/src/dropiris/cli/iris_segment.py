"""``dropiris iris segment``."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from dropiris.cli.cohort import Address, Engine, EngineChoice, Engines, GpuShare, Retries, Workers, segment_cohort
from dropiris.cli.dropgen_segment import Device, Format, Output, Statistics, Structures, Trust
from dropiris.cli.iris_encode import Model, iris_bundle
from dropiris.cli.progress_bar import progress_bar
from dropiris.cli.scans import DeviceChoice, Ending, is_cohort, names_of, plan, run


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
    classes: Annotated[
        list[str] | None,
        typer.Option("--classes", metavar="NAMES", help="Classes the model was trained on, or all: no reference."),
    ] = None,
    strategy: Annotated[
        Strategy, typer.Option("--strategy", help="How several references are used.")
    ] = Strategy.ensemble,
    model: Model = None,
    structures: Structures = None,
    device: Device = DeviceChoice.auto,
    ending: Format = Ending.nifti,
    statistics: Statistics = None,
    trust: Trust = False,
    align: Annotated[
        bool, typer.Option("--align/--no-align", help="Also align the labelled examples with each scan.")
    ] = True,
    engine: EngineChoice = Engine.here,
    address: Address = None,
    workers: Workers = None,
    gpu_share: GpuShare = 1.0,
    retries: Retries = 2,
) -> None:
    if [bool(task), bool(reference), bool(classes)].count(True) != 1:
        raise typer.BadParameter("give one of --task TASK, --reference IMG LABELS and --classes NAMES.")
    if reference and len(reference) % 2:
        raise typer.BadParameter("--reference takes two files: a scan and its labels.")
    if strategy is Strategy.tune and not reference:
        raise typer.BadParameter("--strategy tune needs the labelled scans: give --reference IMG LABELS.")
    engines = Engines(engine, address, workers, gpu_share, retries)
    engines.check(is_cohort(scan))
    wanted = names_of(structures)
    jobs = plan(scan, output, ending, statistics)

    from dropiris.cohort.iris_recipe import IrisRecipe
    from dropiris.inference.task_embedding import TaskEmbedding

    # A task fits the model it was encoded with; naming that model again would be asking for a mistake.
    bundle = iris_bundle(model or (TaskEmbedding.load(task[0]).model if task else None))
    recipe = IrisRecipe.of(
        bundle,
        tasks=absolute(task),
        references=absolute(reference),
        classes=tuple(names_of(classes) or ()),
        strategy=strategy.value,
        structures=None if wanted is None else tuple(wanted),
        device=device.value,
        trust=trust,
        align=align,
    )
    if is_cohort(scan):
        segment_cohort(jobs, recipe, engines, statistics)
        return
    with progress_bar("References") as progress:
        station = recipe.open(progress)
    run(jobs[0], station, statistics)


def absolute(paths: list[Path] | None) -> tuple[Path, ...]:
    """Workers have a working directory of their own."""
    return tuple(path.absolute() for path in paths or [])
