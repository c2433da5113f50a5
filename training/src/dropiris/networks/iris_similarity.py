"""A similarity prior (ours): how much each query voxel looks like the reference's structure.

logits += scale * upsample(cos(q, foreground) - max(cos(q, background), cos(q, ring))) + bias, with learned scale and
bias. It is the paper's T_f used directly, costs next to nothing, and lets a mixture of datasets learn where token
dot products alone did not move within the same number of steps.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

PROTOTYPES = 3  # foreground, background, ring


class SimilarityPrior(nn.Module):
    """Cosine similarity of projected query features to the reference's prototypes, as a logit per class."""

    def __init__(self, channels: int):
        super().__init__()
        self.project = nn.Conv3d(channels, channels, 1)
        self.scale = nn.Parameter(torch.tensor(8.0))
        self.bias = nn.Parameter(torch.tensor(-1.0))

    def forward(self, projected: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
        """(B, C, d, h, w) and (B, K, 3, C) to logits (B, K, d, h, w)."""
        query = F.normalize(projected.flatten(2).float(), dim=1)
        similarity = torch.einsum("bcs,bkpc->bkps", query, F.normalize(prototypes.float(), dim=-1))
        evidence = similarity[:, :, 0] - similarity[:, :, 1:].amax(dim=2)
        return (self.scale * evidence + self.bias).unflatten(-1, projected.shape[2:])
