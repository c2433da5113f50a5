"""Iris's ways to use several references (Sec. 3.4): one-shot, ensemble, object-level retrieval, tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dropiris.errors import InputError
from dropiris.inference.atlas import Atlas
from dropiris.inference.iris_segmenter import IrisSegmenter
from dropiris.inference.task_embedding import TaskEmbedding, average
from dropiris.inference.tuning import tune
from dropiris.progress import CancelToken, Progress, ProgressCallback, ignore_progress
from dropiris.volume import LabelMap, Reference, Volume

STRATEGIES = ("one-shot", "ensemble", "retrieval", "tune")
# How many references per structure retrieval averages.
NEAREST = 3


def segment_with_strategy(
    segmenter: IrisSegmenter,
    volume: Volume,
    tasks: Sequence[TaskEmbedding],
    strategy: str = "one-shot",
    structures: Sequence[str] | None = None,
    references: Sequence[Reference] = (),
    progress: ProgressCallback = ignore_progress,
    cancel: CancelToken | None = None,
    seed: int = 0,
    atlases: Sequence[Atlas] = (),
) -> LabelMap:
    """Segment a scan with the tasks of one or more references.

    Parameters
    ----------
    tasks : sequence of TaskEmbedding
        One per reference.
    strategy : {"one-shot", "ensemble", "retrieval", "tune"}
        One-shot takes the first task; ensemble the mean of all; retrieval, for each structure, the mean of the
        references whose structure looks most like this scan's; tune the mean, then optimised on the references.
    references : sequence of Reference
        The labelled scans themselves, needed to tune.
    seed : int
        Which reference retrieval begins with.
    atlases : sequence of Atlas
        Of the references, in the order of the tasks, to align them with the scan.

    Raises
    ------
    InputError
        If the strategy is unknown or lacks what it needs.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"Unknown strategy {strategy!r}; choose among: {', '.join(STRATEGIES)}.")
    if not tasks:
        raise InputError("No reference is given; choose at least one.")
    for task in tasks:
        segmenter.check(task)
    if strategy == "one-shot":
        return segmenter.segment(volume, tasks[0], structures, progress, cancel, atlases[:1])
    if strategy == "retrieval":
        return _retrieve(segmenter, volume, tasks, structures, progress, cancel, seed, atlases)
    task = average(tasks)
    task = task if structures is None else task.subset(structures)
    if strategy == "tune":
        if not references:
            raise InputError(
                "Tuning needs the labelled scans themselves, not only saved tasks; add them as references."
            )
        task = tune(segmenter, task, references, progress=_part(progress, 0.0, 0.5), cancel=cancel)
        progress = _part(progress, 0.5, 1.0)
    return segmenter.segment(volume, task, None, progress, cancel, atlases)


def _retrieve(
    segmenter: IrisSegmenter, volume: Volume, tasks: Sequence[TaskEmbedding], structures: Sequence[str] | None,
    progress: ProgressCallback, cancel: CancelToken | None, seed: int, atlases: Sequence[Atlas],
) -> LabelMap:  # fmt: skip
    """Segment with a random reference, encode the scan with its own first mask, then use what is most like it."""
    pool = average(tasks)  # also checks that they share names
    pool = pool if structures is None else pool.subset(structures)
    if len(tasks) == 1:
        return segmenter.segment(volume, pool, None, progress, cancel, atlases)
    drawn = tasks[int(np.random.default_rng(seed).integers(len(tasks)))]
    query = own_embedding(segmenter, volume, drawn, pool.names, _part(progress, 0.0, 0.5), cancel)
    chosen = pool if query is None else nearest(query, tasks, pool, compared=segmenter.scorer.iris.own_tokens)
    return segmenter.segment(volume, chosen, None, _part(progress, 0.5, 1.0), cancel, atlases)


def own_embedding(
    segmenter: IrisSegmenter, volume: Volume, drawn: TaskEmbedding, names: Sequence[str],
    progress: ProgressCallback = ignore_progress, cancel: CancelToken | None = None,
) -> TaskEmbedding | None:  # fmt: skip
    """The scan's embedding of the named structures by the masks that one reference's task finds in it.

    None where it finds none of them.
    """
    known = [name for name in names if name in drawn.names]
    if not known:
        return None
    first = segmenter.segment(volume, drawn.subset(known), None, progress, cancel)
    present = [s for s in first.structures if (first.array == s.label).any()]
    if not present:
        return None
    found = Reference(volume, (LabelMap(first.array, first.affine, tuple(present)),))
    spacing = {s.name: float(drawn.spacing[drawn.names.index(s.name)]) for s in present}
    return segmenter.encode_at(found, spacing, progress=ignore_progress, cancel=cancel)


def nearest(
    query: TaskEmbedding, tasks: Sequence[TaskEmbedding], pool: TaskEmbedding, count: int = NEAREST,
    compared: int | None = None,
) -> TaskEmbedding:  # fmt: skip
    """For each structure of ``pool`` the mean of the ``count`` tasks most similar to the query's own embedding.

    Similarity is the cosine between the first ``compared`` tokens of a structure, without a limit all: weights of the
    head in closed form are no description. A structure the query lacks keeps the pool's mean.
    """
    parts = []
    for name in pool.names:
        having = [task.subset([name]) for task in tasks if name in task.names]
        if name in query.names:
            own = query.subset([name]).tokens
            having.sort(key=lambda task: -_cosine(own[:, :compared], task.tokens[:, :compared]))
            having = having[:count]
        parts.append(average(having))
    return TaskEmbedding(
        tokens=np.concatenate([part.tokens for part in parts]),
        structures=pool.structures,
        spacing=np.concatenate([part.spacing for part in parts]),
        model=pool.model,
        version=pool.version,
        sources=pool.sources,
    )


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))


def _part(progress: ProgressCallback, low: float, high: float) -> ProgressCallback:
    """Progress of one part of the operation as that of the whole."""

    def report(step: Progress) -> None:
        progress(replace(step, fraction=low + (high - low) * step.fraction))

    return report
