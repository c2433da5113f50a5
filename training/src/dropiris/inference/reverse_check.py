"""Does a result lead back to its reference, and to itself? The reverse check of IrisICL, the number beside a structure.

The scan is encoded with its own result as if that were true. This embedding then segments

- the reference, where the truth is known: reverse classification accuracy (Valindria et al., IEEE TMI 2017) with Iris
  in the place of their classifiers, as a share of what the reference's own embedding reaches there;
- the scan itself, which must give the result again.

The lower of both counts. Where the reference was aligned with the scan, and the alignment made the result rather than
the network, a third way counts instead: the result's own labels, moved onto the reference
(:mod:`dropiris.inference.aligned_check`).

The way back alone does not tell enough: a network knows the structures it was trained on too well, and finds them from
a wrong example. It costs a few windows and an alignment: no pass over either scan. What was measured stands in
training/RESULTS.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from dropiris.inference.aligned_check import MovedBack, moved_back
from dropiris.inference.atlas import Atlas
from dropiris.inference.decisions import largest_positive
from dropiris.inference.iris_segmenter import IrisSegmenter
from dropiris.inference.reference_windows import ReferenceWindow, SeenReference
from dropiris.inference.task_embedding import TaskEmbedding
from dropiris.progress import CancelToken, Progress, ProgressCallback, ignore_progress
from dropiris.trust import REVERSE, TrustReport, voxels_of
from dropiris.volume import LabelMap, Reference, Volume

STAGE = "Checking the result"
NO_IMAGE = "a saved task holds no image to check against: add the reference itself"


def reverse_check(
    segmenter: IrisSegmenter,
    volume: Volume,
    labels: LabelMap,
    spacing: Mapping[str, float],
    references: Sequence[SeenReference],
    progress: ProgressCallback = ignore_progress,
    cancel: CancelToken | None = None,
) -> TrustReport:
    """Segment reference and scan back from a result: 0 to 1 for every structure, 1 as well as the reference itself.

    Of several references the best match counts (as in Valindria et al.): one that is unlike the scan gives a low
    number for reasons that are not the result's.

    Parameters
    ----------
    volume, labels : Volume, LabelMap
        The scan and its result, on the scan's grid.
    spacing : mapping of str to float
        Working voxel size (mm) at which each structure was segmented.
    references : sequence of SeenReference
        Empty where only saved tasks were used.

    Raises
    ------
    InputError
        If the scan cannot be used.
    Cancelled
        Within one window.
    """
    names = [s.name for s in labels.structures]
    known = {name for reference in references for name in reference.own}
    if not known.intersection(names):
        return TrustReport.unavailable(REVERSE, names, f"{NO_IMAGE[0].upper()}{NO_IMAGE[1:]}.")
    voxels = voxels_of(labels)
    values: dict[str, float | None] = {name: None if voxels[name] else 0.0 for name in names}
    checked = tuple(s for s in labels.structures if voxels[s.name] and s.name in known)
    parts: dict[str, dict[str, float]] = {}
    if checked:
        result = Reference(volume, (LabelMap(labels.array, labels.affine, checked),))
        parts, moved = _ways(segmenter, result, spacing, references, progress, cancel)
        for name, ways in parts.items():
            values[name] = min(ways.values())
            if name in moved:
                values[name] = moved[name].beside(min(ways.values()))
                ways["aligned"] = moved[name].dice
    progress(Progress(STAGE, 1.0))
    unchecked = [name for name in names if name not in known]
    why = f"{', '.join(unchecked)} cannot be checked: {NO_IMAGE}." if unchecked else ""
    return TrustReport(REVERSE, values, voxels, why, parts)


def see(
    segmenter: IrisSegmenter, task: TaskEmbedding, windows: Sequence[ReferenceWindow], atlas: Atlas | None = None
) -> SeenReference:
    """What to keep of a reference that was encoded as ``task`` from ``windows``; with ``atlas`` to align it as well."""
    return SeenReference(windows, segment_back(segmenter, task, windows), atlas)


def _ways(
    segmenter: IrisSegmenter, result: Reference, spacing: Mapping[str, float], references: Sequence[SeenReference],
    progress: ProgressCallback, cancel: CancelToken | None,
) -> tuple[dict[str, dict[str, float]], dict[str, MovedBack]]:  # fmt: skip
    """How much of the best reference, and of the result itself, each structure leads back to; and where it is moved."""
    progress(Progress(STAGE))
    windows = segmenter.reference_windows(result, {s.name: spacing[s.name] for s in result.structures})
    task = segmenter.encode_windows(windows, result.structures, cancel=cancel)
    again = segment_back(segmenter, task, windows, cancel)
    best = dict.fromkeys(again, 0.0)
    for n, reference in enumerate(references):
        progress(Progress(STAGE, 0.5 * (n + 1) / (len(references) + 1)))
        for name, dice in segment_back(segmenter, task, reference.windows, cancel).items():
            best[name] = max(best[name], min(1.0, dice / max(reference.own[name], 1e-6)))
    atlases = [reference.atlas for reference in references if reference.atlas is not None]
    moved = moved_back(segmenter, result, task, atlases, progress, cancel, STAGE) if atlases else {}
    return {name: {"reference": best[name], "scan": again[name]} for name in again}, moved


def segment_back(
    segmenter: IrisSegmenter, task: TaskEmbedding, windows: Sequence[ReferenceWindow], cancel: CancelToken | None = None
) -> dict[str, float]:
    """Dice of a task's structures in the windows of a labelled scan; all structures of a size compete, as in a scan."""
    shared: dict[str, float] = {}
    sizes: dict[str, float] = {}
    for size in sorted({window.spacing for window in windows}):
        group = [window for window in windows if window.spacing == size]
        wanted = [name for name in task.names if any(name in window.names for window in group)]
        if not wanted:
            continue
        part = task.subset(wanted)
        segmenter.scorer.look_for(torch.from_numpy(part.tokens))
        for window in group:
            if cancel is not None:
                cancel.raise_if_cancelled()
            found = largest_positive(segmenter.scorer(window.image)[0].float()).cpu()
            for name, mask in zip(window.names, window.masks, strict=True):
                if name in part.names:
                    ours, truth = found == 1 + part.names.index(name), mask > 0.5
                    shared[name] = shared.get(name, 0.0) + 2.0 * int((ours & truth).sum())
                    sizes[name] = sizes.get(name, 0.0) + int(ours.sum()) + int(truth.sum())
    return {name: shared[name] / max(sizes[name], 1.0) for name in shared}
