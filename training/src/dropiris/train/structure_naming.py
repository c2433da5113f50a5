"""Supervised pretraining of an extractor: sampled voxels of rendered label maps are told what they belong to.

Contrast-agnostic segmentation (SynthSeg, Billot et al., Medical Image Analysis 2023) as the way to stable features:
what names a structure in any contrast must describe it alike in all. The layers that name are thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from dropiris.networks.views import instance_norm
from dropiris.train.contrastive import ContrastiveAnatomix
from dropiris.train.segmentation_loss import segmentation_loss


class NamingAnatomix(ContrastiveAnatomix):
    """The extractor with, for training alone, projections to compare and heads that name, at several levels.

    Heads read the features as DropGen does, each channel of a crop normalised.

    Parameters
    ----------
    levels, width
        As :class:`ContrastiveAnatomix`.
    names : int
        How many there are, "nothing that has a name" included.
    naming : float
        Share of the loss that names: 1 has no projections, 0 no heads.
    outlines : bool
        Whether the last block is trained too, and read at every voxel: its edges are those of the structures.
    """

    def __init__(
        self, levels: Sequence[int], names: int, width: int = 128, naming: float = 0.5, outlines: bool = False
    ):
        super().__init__(levels, width)
        self.outline = nn.Linear(self.model[-1].in_channels, names) if outlines else None  # type: ignore[arg-type]
        if outlines:
            self.model[:-1].requires_grad_(True)
        if naming == 1:
            self.projections = nn.ModuleList()
        channels = [self.model[layer].out_channels for layer in self.layers]
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(count, width), nn.ReLU(inplace=True), nn.Linear(width, names))  # type: ignore[arg-type]
            for count in (channels if naming else ())
        )

    def forward(  # type: ignore[override]
        self, images: torch.Tensor, voxels: Sequence[torch.Tensor], compared: int, possible: torch.Tensor | None = None
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
        """Images of all views (V B, 1, D, H, W) and, per level, voxels (B, N), to what is compared and what is named.

        Returns
        -------
        features : per level, (B, V n, width) of the first n = ``compared`` voxels, projected; [] without projections
        logits : per level, (B, V N, names); [] without heads
        outlines : per image, logits (n, D, H, W) of the n names that ``possible`` (B, names) allows; [] without them
        """
        last = len(self.model) - 2  # what the output reads
        read_at = self.layers if self.outline is None else [*self.layers, last]
        kept: dict[int, torch.Tensor] = dict.fromkeys(read_at, images)
        self.run(images, max(read_at) + 1, kept)
        features, logits = [], []
        for number, (layer, where) in enumerate(zip(self.layers, voxels, strict=True)):
            views = len(images) // len(where)
            if self.projections:
                raw = read(kept[layer], where[:, :compared])
                projected = self.projections[number](raw.flatten(0, 1)).unflatten(0, raw.shape[:2])
                features.append(torch.cat(projected.chunk(views), dim=1))
            if self.heads:
                named = self.heads[number](read(instance_norm(kept[layer].float()), where))
                logits.append(torch.cat(named.chunk(views), dim=1))
        outlines = []
        if self.outline is not None and possible is not None:
            possible = possible.clone()
            possible[:, 0] = True  # images of nothing that has a name, too, need a gradient
            for image, allowed in zip(kept[last], possible.repeat(len(images) // len(possible), 1), strict=True):
                # only the rows a dataset draws: beside its own structures those of all others would cost a volume each
                kernels, shifts = self.outline.weight[allowed][..., None, None, None], self.outline.bias[allowed]
                outlines.append(F.conv3d(image[None], kernels, shifts)[0])
        return features, logits, outlines


def read(level: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Features (V B, C, ...) of a level at voxels (B, N) of every view: (V B, N, C)."""
    flat = level.flatten(2)
    where = where.repeat(len(flat) // len(where), 1)
    return flat.gather(2, where[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2)


def naming_loss(
    logits: Sequence[torch.Tensor], names: Sequence[torch.Tensor], possible: torch.Tensor, levels: Sequence[int]
) -> torch.Tensor:
    """Cross-entropy over the names a dataset draws, mean over levels, each weighing as much as its resolution.

    Parameters
    ----------
    logits : per level, (B, V N, names)
    names : per level, (B, N)
    possible : (B, names) bool
        Others are left out of the softmax: what one dataset names is background in another. Images of nothing that
        has a name count 0.
    levels : strides; 0, the output, is as fine as 1
    """
    counted = possible.any(dim=1)
    if not counted.any():
        return sum((own.sum() * 0.0 for own in logits), torch.zeros((), device=possible.device))
    total, weights = torch.zeros((), device=possible.device), [1 / max(1, level) for level in levels]
    for own, truth, weight in zip(logits, names, weights, strict=True):
        masked = own.float().masked_fill(~possible[:, None], -1e4)[counted]
        wanted = truth.repeat(1, own.shape[1] // truth.shape[1])[counted]
        total = total + weight / sum(weights) * F.cross_entropy(masked.flatten(0, 1), wanted.long().flatten())
    return total


def outline_loss(outlines: Sequence[torch.Tensor], names: torch.Tensor, possible: torch.Tensor) -> torch.Tensor:
    """Dice and cross-entropy of every voxel, mean over the images of what has names; see :func:`segmentation_loss`.

    Parameters
    ----------
    outlines : per image of all views, logits (n, D, H, W) of its possible names
    names : (B, D, H, W)
    possible : (B, names) bool, "nothing that has a name" first
    """
    losses = [names.new_zeros((), dtype=torch.float32)] + [own.float().sum() * 0.0 for own in outlines]
    for number, own in enumerate(outlines):
        allowed = possible[number % len(possible)]
        if allowed.any():
            places = allowed.cumsum(0) - 1
            target = places[names[number % len(names)].long()]
            losses.append(segmentation_loss(own[None], target[None, None], pooled=False, balance=0.5) / len(outlines))
    return torch.stack(losses).sum()
