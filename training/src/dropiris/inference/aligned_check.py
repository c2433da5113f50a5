"""A result's own way back by alignment: do its labels, moved onto the reference, lie on the structures there?

The scan with its result is aligned with the reference anew, the other way round than when it was segmented, so that a
wrong alignment does not confirm itself. It counts where the alignment would, see
:mod:`dropiris.networks.iris_place`: where the decoder knows what the result shows, the network's own way back says
more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dropiris.inference.aligned_atlas import AlignedAtlas
from dropiris.inference.aligning import align_back
from dropiris.inference.atlas import Atlas
from dropiris.inference.iris_segmenter import IrisSegmenter
from dropiris.inference.task_embedding import TaskEmbedding
from dropiris.networks.iris_place import decoder_weight
from dropiris.progress import CancelToken, ProgressCallback
from dropiris.volume import Reference


@dataclass(frozen=True)
class MovedBack:
    """A structure of a result on a reference.

    Attributes
    ----------
    dice : float
        With the structure there, as far as the scan shows it.
    counts : float
        0 to 1: how far this counts, and not the network's own way back.
    """

    dice: float
    counts: float

    def beside(self, network: float) -> float:
        """Both ways as one number."""
        return self.counts * self.dice + (1 - self.counts) * network


def moved_back(
    segmenter: IrisSegmenter, result: Reference, task: TaskEmbedding, references: Sequence[Atlas],
    progress: ProgressCallback, cancel: CancelToken | None, stage: str,
) -> dict[str, MovedBack]:  # fmt: skip
    """Each structure of a result on the reference where it fits best; {} where none can be aligned.

    ``task`` is what the result was encoded as.
    """
    back = segmenter.atlas(result)
    known = segmenter.scorer.iris.known(torch.from_numpy(task.tokens)[None])[0]
    found: dict[str, MovedBack] = {}
    for reference, aligned in align_back(back, references, segmenter.device, progress, cancel, stage):
        matches = (torch.tensor(value) for value in (aligned.likeness, aligned.contrast))
        counts = aligned.believed * (1 - decoder_weight(known, *matches))
        for name, count in zip(task.names, counts.tolist(), strict=True):
            dice = dice_on(reference, aligned, name) if name in reference.names else None
            if dice is not None and (name not in found or dice > found[name].dice):
                found[name] = MovedBack(dice, count)
    return found


def dice_on(reference: Atlas, aligned: AlignedAtlas, name: str) -> float | None:
    """Dice of a moved structure with the reference's, where the scan shows the place; None where it shows neither."""
    spacing = float(reference.near.spacing.mean())
    (truth,), size = reference.coarser([name], spacing)
    grid = truth.shape, size.tolist(), reference.corner.tolist()
    shown = aligned.shown(*grid).cpu()
    ours = (aligned.places(aligned.masks([name], spacing), *grid)[0].cpu() > 0.5) & shown
    theirs = (truth > 0.5) & shown
    both = int(ours.sum()) + int(theirs.sum())
    return 2 * int((ours & theirs).sum()) / both if both else None
