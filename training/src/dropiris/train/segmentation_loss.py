"""Dice and cross-entropy, equally weighted (DropGen, Sec. 4), for labels and for shares of classes."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from dropiris.train.process_sums import sum_over_processes

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
        Of labels, in cross-entropy: a voxel of a class that n voxels have weighs n ** -balance. 0 as in the paper. With
        0.5 small structures are found many times earlier, and drawn too large (a hippocampus twice its volume) until
        some steps without it put that right.
    """
    log_share = logits.float().log_softmax(dim=1)
    if target.is_floating_point():
        entropy = -(target * log_share).sum(dim=1).mean()
        prediction = log_share.exp()
        both, size = (prediction * target).sum(_VOXELS), (prediction + target).sum(_VOXELS)
    else:
        # No volume per class for the truth: a step with 28 classes of 64 x 80 x 64 takes a fifth less time.
        voxels = target.flatten().long()
        prediction = log_share.exp()
        classes = prediction.shape[1]
        count = torch.bincount(voxels, minlength=classes)
        weight = count.clamp(min=1).float().pow(-balance) if balance else None
        entropy = F.nll_loss(log_share, target[:, 0].long(), weight)
        found = prediction.gather(1, target.long()).flatten()
        both = found.new_zeros(classes).index_add(0, voxels, found)
        size = prediction.sum(_VOXELS) + count
    both, size = both[1:], size[1:]
    if pooled:
        both, size = sum_over_processes(torch.stack([both, size]))
    dice = (2 * both + SMOOTH) / (size + SMOOTH)
    return 1 - dice.mean() + entropy


def as_shares(target: torch.Tensor, classes: int) -> torch.Tensor:
    """Labels (B, 1, D, H, W) as shares of classes (B, classes, D, H, W); shares stay what they are."""
    if target.is_floating_point():
        return target
    return F.one_hot(target[:, 0].long(), classes).movedim(-1, 1).to(torch.float32)
