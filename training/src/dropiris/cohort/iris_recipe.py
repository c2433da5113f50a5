"""Iris with its references, tasks or remembered classes: encoded once per worker, then used for every scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropiris.cohort.marks import digest_of_facts, mark_of
from dropiris.cohort.recipe import facts_of, same_bundle
from dropiris.cohort.station import Station
from dropiris.models.bundle import Bundle
from dropiris.progress import ProgressCallback, ignore_progress

if TYPE_CHECKING:
    from dropiris.inference import IrisSegmenter, TaskEmbedding
    from dropiris.inference.atlas import Atlas
    from dropiris.inference.reference_windows import SeenReference
    from dropiris.volume import Reference

ONE_SHOT, TUNE = "one-shot", "tune"


@dataclass(frozen=True)
class IrisRecipe:
    """An Iris model and one of: task files; pairs of scan and labels; classes it was trained on ("all": every one).

    ``facts`` are those of its bundle where the recipe was written; paths are absolute. ``align``: references are
    aligned with every scan as well.
    """

    model: Path
    facts: tuple[tuple[str, Any], ...]
    tasks: tuple[Path, ...] = ()
    references: tuple[Path, ...] = ()
    classes: tuple[str, ...] = ()
    strategy: str = "ensemble"
    structures: tuple[str, ...] | None = None
    device: str = "auto"
    trust: bool = False
    align: bool = True

    @classmethod
    def of(cls, bundle: Bundle, **settings: Any) -> IrisRecipe:
        return cls(bundle.folder, facts_of(bundle), **settings)

    @cached_property
    def digest(self) -> str:
        examples = [mark_of(path)["sha256"] for path in (*self.tasks, *self.references)]
        settings = {
            "align": self.align,
            "classes": self.classes,
            "strategy": self.strategy,
            "structures": self.structures,
        }
        return digest_of_facts({**dict(self.facts), "examples": examples, **settings})

    def open(self, progress: ProgressCallback = ignore_progress) -> Station:
        from dropiris.files.reference_files import read_references
        from dropiris.inference import IrisSegmenter, average, segment_with_strategy
        from dropiris.inference.aligning import evenly
        from dropiris.inference.reverse_check import reverse_check
        from dropiris.inference.task_embedding import TaskEmbedding

        bundle = same_bundle(self.model, self.facts)
        tasks = [TaskEmbedding.load(path) for path in self.tasks]
        if self.classes:
            tasks = [remembered_task(bundle, self.classes)]
        references = read_references(self.references, self.structures)
        segmenter = IrisSegmenter(bundle, device=self.device)
        way = self.strategy
        used = references[:1] if way == ONE_SHOT else references
        atlases = {id(reference): segmenter.atlas(reference) for reference in evenly(used)} if self.align else {}
        seen: list[SeenReference] = []
        if references:
            tasks, seen = encode_each(segmenter, references, self.trust, atlases, progress)
        if way == TUNE:
            tasks, way = [tuned(segmenter, tasks, references, progress)], ONE_SHOT
        mean = average(tasks[:1] if way == ONE_SHOT else tasks)
        spacing = dict(zip(mean.names, mean.spacing.tolist(), strict=True))
        return Station(
            lambda volume, report, cancel: segment_with_strategy(
                segmenter,
                volume,
                tasks,
                way,
                self.structures,
                progress=report,
                cancel=cancel,
                atlases=[*atlases.values()],
            ),
            bundle.card,
            str(segmenter.device),
            (lambda volume, labels, *rest: reverse_check(segmenter, volume, labels, spacing, seen, *rest))
            if self.trust
            else None,
        )


def remembered_task(bundle: Bundle, classes: tuple[str, ...]) -> TaskEmbedding:
    """The model's memory of the named classes; ``all`` is every one."""
    from dropiris.inference.memory import remembered

    return remembered(bundle, None if classes == ("all",) else list(classes))


def encode_each(
    segmenter: IrisSegmenter,
    references: list[Reference],
    keep: bool,
    atlases: Mapping[int, Atlas],
    progress: ProgressCallback,
) -> tuple[list[TaskEmbedding], list[SeenReference]]:
    """One task per reference, all at one working spacing per structure, so that they can be averaged or compared.

    ``keep`` also gives what a check of results needs of each; ``atlases`` of those that are aligned, by their ``id``.
    """
    from dropiris.inference.reverse_check import see

    spacing = segmenter.working_spacings(references)
    tasks, seen = [], []
    for reference in references:
        windows = segmenter.reference_windows(reference, {s.name: spacing[s.name] for s in reference.structures})
        tasks.append(segmenter.encode_windows(windows, reference.structures, reference.volume.name, progress))
        if keep:
            seen.append(see(segmenter, tasks[-1], windows, atlases.get(id(reference))))
    return tasks, seen


def tuned(
    segmenter: IrisSegmenter, tasks: list[TaskEmbedding], references: list[Reference], progress: ProgressCallback
) -> TaskEmbedding:
    """The mean task, optimised on the references once for all scans."""
    from dropiris.inference.task_embedding import average
    from dropiris.inference.tuning import tune

    return tune(segmenter, average(tasks), references, progress=progress)
