"""The contrastive objective of anatomix (Dey et al., ICLR 2025, Sec. 3): voxels of one label, in two contrasts, agree.

Supervised contrastive loss (Khosla et al., NeurIPS 2020) over sampled voxels, at several levels of the decoder.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from dropiris.networks import AnatomixUNet

# Stands for the network's output beside the strides of decoder levels.
OUTPUT = 0


class ContrastiveAnatomix(AnatomixUNet):
    """The extractor with, for training alone, a projection per level that the loss looks through.

    Its ``model.*`` weights are the extractor's; ``projections.*`` are thrown away.

    Parameters
    ----------
    levels : sequence of int
        Strides of decoder levels whose first convolution is compared (16 is the bottleneck, 1 the penultimate block
        of DropGen), and 0 for the output.
    width : int
        Of the projections: three linear layers with batch norm (the authors' code: 256).
    """

    def __init__(self, levels: Sequence[int], width: int = 256):
        super().__init__()
        known = {**self.decoder_convolutions(), OUTPUT: len(self.model) - 1}
        self.layers = [known[level] for level in levels]
        # what no level reads is not trained; processes that share gradients would wait for its
        self.model[max(self.layers) + 1 :].requires_grad_(False)
        channels = [self.model[layer].out_channels for layer in self.layers]
        self.projections = nn.ModuleList(projection(count, width) for count in channels)  # type: ignore[arg-type]

    def forward(self, images: torch.Tensor, voxels: Sequence[torch.Tensor]) -> list[torch.Tensor]:  # type: ignore[override]
        """Images of both views (2 B, 1, D, H, W) and, per level, sampled voxels (B, N), to features (B, 2 N, width).

        A voxel is its place in the flattened level; both views are read at the same places.
        """
        kept: dict[int, torch.Tensor] = dict.fromkeys(self.layers, images)
        self.run(images, max(self.layers) + 1, kept)
        features = []
        for layer, project, where in zip(self.layers, self.projections, voxels, strict=True):
            flat = kept[layer].flatten(2)
            read = flat.gather(2, where.repeat(2, 1)[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2)
            projected = project(read.flatten(0, 1)).unflatten(0, read.shape[:2])
            features.append(torch.cat(projected.chunk(2), dim=1))
        return features


def projection(inputs: int, width: int) -> nn.Sequential:
    """Three linear layers; the last norm has no weights, so that no channel can be scaled away."""
    layers: list[nn.Module] = []
    for n, wide in enumerate((inputs, width, width)):
        layers += [nn.Linear(wide, width, bias=False), nn.BatchNorm1d(width, affine=n < 2)]
        layers += [nn.ReLU(inplace=True)] if n < 2 else []
    return nn.Sequential(*layers)


def labels_at(labels: torch.Tensor, stride: int) -> torch.Tensor:
    """Labels (B, D, H, W) of the voxels of a level, flattened (B, n): those in the middle of each."""
    middle = stride // 2
    return labels[:, middle::stride, middle::stride, middle::stride].flatten(1)


def sample_voxels(labels: torch.Tensor, count: int, balanced: bool = True) -> torch.Tensor:
    """``count`` places of flattened labels (B, n) to compare: (B, count), without repetition where n allows.

    ``balanced`` draws every label about equally often; uniform draws are mostly air and large shapes.
    """
    count = min(count, labels.shape[1])
    if not balanced:
        return torch.rand(labels.shape, device=labels.device).topk(count, dim=1).indices
    frequency = torch.stack([torch.bincount(row.long(), minlength=256) for row in labels])
    weights = 1.0 / frequency.gather(1, labels.long())
    return torch.multinomial(weights, count)


def multi_positive_info_nce(features: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    """Mean over anchors of -log p(positive), p a softmax over all other voxels; positives share the anchor's label.

    ``features`` (B, M, C), ``labels`` (B, M); voxels of different images are not compared. An anchor without a
    positive does not count.
    """
    unit = F.normalize(features.float(), dim=-1)
    itself = torch.eye(labels.shape[1], dtype=torch.bool, device=labels.device)
    logits = (unit @ unit.transpose(1, 2) / temperature).masked_fill(itself, float("-inf"))
    likelihood = logits.log_softmax(dim=-1)
    positive = (labels[:, :, None] == labels[:, None, :]) & ~itself
    count = positive.sum(dim=-1)
    per_anchor = -likelihood.masked_fill(~positive, 0.0).sum(dim=-1) / count.clamp(min=1)
    return per_anchor[count > 0].mean()


def contrastive_loss(
    features: Sequence[torch.Tensor], labels: Sequence[torch.Tensor], temperature: float
) -> torch.Tensor:
    """The mean over levels; ``labels`` (B, N) of the sampled voxels are those of both views."""
    losses = [
        multi_positive_info_nce(f, torch.cat([own, own], dim=1), temperature)
        for f, own in zip(features, labels, strict=True)
    ]
    return torch.stack(losses).mean()
