"""In-context tuning (Sec. 3.4): only the tokens are optimised on the references; the network stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from dropiris.errors import InputError
from dropiris.inference.iris_segmenter import IrisSegmenter
from dropiris.inference.task_embedding import TaskEmbedding
from dropiris.networks.iris_encoder import ImageFeatures
from dropiris.progress import CancelToken, Progress, ProgressCallback, ignore_progress
from dropiris.volume import Reference

# Every window of the references is looked at this often at least.
_LOOKS = 5

Example = tuple[ImageFeatures, torch.Tensor, torch.Tensor]  # features, masks (1, K, D, H, W), rows of the tokens


def tune(
    segmenter: IrisSegmenter,
    task: TaskEmbedding,
    references: Sequence[Reference],
    steps: int = 40,
    learning_rate: float = 5e-3,
    progress: ProgressCallback = ignore_progress,
    cancel: CancelToken | None = None,
) -> TaskEmbedding:
    """Optimise a task's tokens so that they segment the references themselves (Dice + cross-entropy, Adam).

    Features of the references are computed once; a step is one decoder pass. A structure that no reference has keeps
    its tokens.
    """
    examples = _examples(segmenter, task, references, cancel)
    if not examples:
        raise InputError("None of the references has a structure of the task; add a reference that does.")
    steps = max(steps, _LOOKS * len(examples))
    scorer = segmenter.scorer
    start = torch.from_numpy(task.tokens).to(scorer.torch_device)
    # Each structure's tokens move in units of their own size; weights in closed form are the best ones already.
    own = scorer.iris.own_tokens
    size = start[:, :own].square().mean((1, 2), keepdim=True).sqrt().clamp(min=1e-3)
    size = size * (torch.arange(start.shape[1], device=start.device) < own)[:, None]
    change = torch.zeros_like(start, requires_grad=True)
    optimizer = torch.optim.Adam([change], learning_rate)
    best, best_loss, total = start, float("inf"), 0.0
    for step in range(steps):
        if cancel is not None:
            cancel.raise_if_cancelled()
        features, masks, rows = examples[step % len(examples)]
        tokens = start + size * change
        with scorer.precision():
            logits = scorer.iris.decode(features, tokens[rows][None])
        loss = _loss(logits.float(), masks)
        if step % len(examples) == 0:
            round_start, total = tokens.detach().clone(), 0.0
        total += float(loss.detach())
        if (step + 1) % len(examples) == 0 and total < best_loss:
            best, best_loss = round_start, total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        progress(Progress("Tuning to the references", (step + 1) / steps))
    return replace(task, tokens=best.cpu().numpy())


def _examples(
    segmenter: IrisSegmenter, task: TaskEmbedding, references: Sequence[Reference], cancel: CancelToken | None
) -> list[Example]:
    examples: list[Example] = []
    scorer = segmenter.scorer
    for reference in references:
        names = [s.name for s in reference.structures if s.name in task.names]
        for spacing in sorted({float(task.spacing[task.names.index(name)]) for name in names}):
            members = [name for name in names if float(task.spacing[task.names.index(name)]) == spacing]
            for window in segmenter.crops(reference, members, spacing):
                if cancel is not None:
                    cancel.raise_if_cancelled()
                rows = torch.from_numpy(np.array([task.names.index(name) for name in window.names]))
                with torch.no_grad():
                    features = scorer.features(window.image)
                examples.append((features, window.masks.to(scorer.torch_device)[None], rows.to(scorer.torch_device)))
    return examples


def _loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Soft Dice + binary cross-entropy, mean over classes."""
    likely = torch.sigmoid(logits)
    both, either = (likely * masks).sum((0, 2, 3, 4)), (likely + masks).sum((0, 2, 3, 4))
    dice = 1 - ((2 * both + 1) / (either + 1)).mean()
    return dice + F.binary_cross_entropy_with_logits(logits, masks)
