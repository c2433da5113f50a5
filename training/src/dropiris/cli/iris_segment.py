"""``dropiris iris segment``."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from dropiris.cli.dropgen_segment import Device, Format, Output, Statistics, Structures, Trust
from dropiris.cli.iris_encode import Model, iris_bundle, read_references
from dropiris.cli.progress_bar import progress_bar
from dropiris.cli.scans import Algorithm, DeviceChoice, Ending, Trusted, names_of, plan, run
from dropiris.cli.trust import judged

if TYPE_CHECKING:
    from dropiris.inference import IrisSegmenter, TaskEmbedding
    from dropiris.inference.reference_windows import SeenReference
    from dropiris.models.bundle import Bundle
    from dropiris.progress import CancelToken, ProgressCallback
    from dropiris.volume import LabelMap, Reference, Volume


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
) -> None:
    if [bool(task), bool(reference), bool(classes)].count(True) != 1:
        raise typer.BadParameter("give one of --task TASK, --reference IMG LABELS and --classes NAMES.")
    if reference and len(reference) % 2:
        raise typer.BadParameter("--reference takes two files: a scan and its labels.")
    if strategy is Strategy.tune and not reference:
        raise typer.BadParameter("--strategy tune needs the labelled scans: give --reference IMG LABELS.")
    wanted = names_of(structures)
    jobs = plan(scan, output, ending, statistics)

    from dropiris.inference.task_embedding import TaskEmbedding

    tasks = [TaskEmbedding.load(path) for path in task or []]
    # A task fits the model it was encoded with; naming that model again would be asking for a mistake.
    bundle = iris_bundle(model or (tasks[0].model if tasks else None))
    references = read_references(reference, wanted) if reference else []
    if classes:
        tasks = [remembered_task(bundle, classes)]

    from dropiris.inference import IrisSegmenter, average, segment_with_strategy
    from dropiris.inference.reverse_check import reverse_check

    segmenter = IrisSegmenter(bundle, device=device.value)
    way = strategy.value
    seen: list[SeenReference] = []
    if references:
        tasks, seen = encode_each(segmenter, references, trust)
    if strategy is Strategy.tune:
        tasks, way = [tuned(segmenter, tasks, references)], Strategy.one_shot.value
    mean = average(tasks[:1] if way == Strategy.one_shot.value else tasks)
    spacing = dict(zip(mean.names, mean.spacing.tolist(), strict=True))

    def check(volume: Volume, labels: LabelMap, progress: ProgressCallback, cancel: CancelToken) -> Trusted:
        return judged(reverse_check(segmenter, volume, labels, spacing, seen, progress, cancel), bundle)

    run(
        jobs,
        lambda volume, progress, cancel: segment_with_strategy(
            segmenter, volume, tasks, way, wanted, progress=progress, cancel=cancel
        ),
        Algorithm(bundle.card.title, bundle.card.version),
        statistics,
        check if trust else None,
    )


def remembered_task(bundle: Bundle, classes: list[str]) -> TaskEmbedding:
    """The model's memory of the named classes; ``all`` is every one."""
    from dropiris.inference.memory import remembered

    names = names_of(classes)
    return remembered(bundle, None if names == ["all"] else names)


def encode_each(
    segmenter: IrisSegmenter, references: list[Reference], keep: bool = False
) -> tuple[list[TaskEmbedding], list[SeenReference]]:
    """One task per reference, all at one working spacing per structure, so that they can be averaged or compared.

    ``keep`` also gives what a check of results needs of each.
    """
    from dropiris.inference.reverse_check import see

    spacing = segmenter.working_spacings(references)
    tasks, seen = [], []
    with progress_bar("References") as progress:
        for reference in references:
            windows = segmenter.reference_windows(reference, {s.name: spacing[s.name] for s in reference.structures})
            tasks.append(segmenter.encode_windows(windows, reference.structures, reference.volume.name, progress))
            if keep:
                seen.append(see(segmenter, tasks[-1], windows))
    return tasks, seen


def tuned(segmenter: IrisSegmenter, tasks: list[TaskEmbedding], references: list[Reference]) -> TaskEmbedding:
    """The mean task, optimised on the references once for all scans."""
    from dropiris.inference.task_embedding import average
    from dropiris.inference.tuning import tune

    with progress_bar("References") as progress:
        return tune(segmenter, average(tasks), references, progress=progress)
