"""Dice and cross-entropy, equally weighted (DropGen, Sec. 4), for labels and for shares of classes."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from dropiris.train.process_sums import processes, sum_over_processes

SMOOTH = 1e-5  # MONAI's
_VOXELS = (0, 2, 3, 4)  # axes of a batch


def segmentation_loss(
    logits: torch.Tensor, target: torch.Tensor, pooled: bool = True, balance: float = 0.0
) -> torch.Tensor:
    """MONAI's ``DiceCELoss(softmax, batch, include_background=False)``, over the batch of all processes.

    Background counts in cross-entropy only, as in the authors' code. Dice is taken over the whole batch, which
    processes may share: in a crop of its own a structure that is not there has no Dice.

    Parameters
    ----------
    logits : (B, K, D, H, W)
    target : (B, 1, D, H, W) whole numbers, or (B, K, D, H, W) shares of classes
    pooled : bool
        False where processes may see other classes: Dice is then of these rows alone.
    balance : float
        In cross-entropy: a voxel of a class that n voxels have weighs n ** -balance. 0 as in the paper. With
        0.5 small structures are found many times earlier, and drawn too large (a hippocampus twice its volume) until
        some steps without it put that right.
    """
    wide = logits if logits.dtype == torch.float64 else logits.float()
    log_share = wide.log_softmax(dim=1)
    prediction = log_share.exp()
    if target.is_floating_point():
        count = target.sum(_VOXELS)
        both = (prediction * target).sum(_VOXELS)
        surprise = -(target * log_share).sum(_VOXELS)
    else:
        # No volume per class for the truth: a step with 28 classes of 64 x 80 x 64 takes a fifth less time.
        voxels = target.flatten().long()
        count = torch.bincount(voxels, minlength=prediction.shape[1]).to(prediction.dtype)
        both = torch.zeros_like(count).index_add(0, voxels, prediction.gather(1, target.long()).flatten())
        surprise = -torch.zeros_like(count).index_add(0, voxels, log_share.gather(1, target.long()).flatten())
    everywhere = sum_over_processes(count) if pooled else count
    weight = everywhere.clamp(min=1).pow(-balance)
    share = processes() if pooled else 1  # the loss of a run is the mean of its processes'
    entropy = share * (weight * surprise).sum() / (weight * everywhere).sum()
    both, size = both[1:], (prediction.sum(_VOXELS) + count)[1:]
    if pooled:
        both, size = sum_over_processes(torch.stack([both, size]))
    dice = (2 * both + SMOOTH) / (size + SMOOTH)
    return 1 - dice.mean() + entropy


def as_shares(target: torch.Tensor, classes: int) -> torch.Tensor:
    """Labels (B, 1, D, H, W) as shares of classes (B, classes, D, H, W); shares stay what they are."""
    if target.is_floating_point():
        return target
    return F.one_hot(target[:, 0].long(), classes).movedim(-1, 1).to(torch.float32)
