"""Iris's task encoding (Sec. 3.2): a reference's features and masks become a few tokens per class."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

STRIDE = 4  # of the task features; PixelShuffle needs at least STRIDE**3 channels


def mask_share(masks: torch.Tensor, stride: int = STRIDE) -> torch.Tensor:
    """Share of each coarse voxel that the mask covers: (B, K, D, H, W) to (B, K, D/r, H/r, W/r)."""
    return F.avg_pool3d(masks, stride)


def masked_mean(features: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """T_f = Pool(Upsample(F) * y) (Eq. 2), (B, C, d, h, w) and (B, K, d, h, w) to (B, K, C).

    Upsampling F to full resolution and pooling over the full-resolution mask equals weighting each coarse feature
    by the share of its r**3 voxels that the mask covers (nearest upsampling), without the full-size features.
    """
    weighted = torch.einsum("bcs,bks->bkc", features.flatten(2).float(), share.flatten(2).float())
    return weighted / share.flatten(2).float().sum(-1, keepdim=True).clamp(min=1e-6)


class ContextualEmbedding(nn.Module):
    """T_c (Eq. 3, 4): learned queries read the reference's features fused with one class's mask."""

    def __init__(self, channels: int, queries: int, heads: int = 4):
        super().__init__()
        if channels % STRIDE**3:
            raise ValueError(f"task channels must be a multiple of {STRIDE**3}, not {channels}")
        fine = channels // STRIDE**3
        self.fuse = nn.Conv3d(fine + 1, fine, 1)
        self.queries = nn.Parameter(torch.randn(queries, channels) * 0.02)
        self.read_norm = nn.LayerNorm(channels)
        self.read = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.mix_norm = nn.LayerNorm(channels)
        self.mix = nn.MultiheadAttention(channels, heads, batch_first=True)

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, C, d, h, w) and one class's (B, 1, D, H, W) to T_c (B, m, C)."""
        fine = pixel_shuffle(features, STRIDE)
        fused = pixel_unshuffle(self.fuse(torch.cat([fine, mask.to(fine.dtype)], dim=1)), STRIDE)
        memory = self.read_norm(fused.flatten(2).transpose(1, 2))
        tokens = self.queries.expand(len(features), -1, -1)
        tokens = tokens + self.read(tokens, memory, memory, need_weights=False)[0]
        normed = self.mix_norm(tokens)
        return tokens + self.mix(normed, normed, normed, need_weights=False)[0]


def pixel_shuffle(x: torch.Tensor, r: int) -> torch.Tensor:
    """3D sub-pixel rearrangement: (B, C r^3, d, h, w) to (B, C, d r, h r, w r)."""
    b, c, d, h, w = x.shape
    x = x.reshape(b, c // r**3, r, r, r, d, h, w).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(b, c // r**3, d * r, h * r, w * r)


def pixel_unshuffle(x: torch.Tensor, r: int) -> torch.Tensor:
    """Inverse of :func:`pixel_shuffle`."""
    b, c, d, h, w = x.shape
    x = x.reshape(b, c, d // r, r, h // r, r, w // r, r).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return x.reshape(b, c * r**3, d // r, h // r, w // r)


class TaskEncoder(nn.Module):
    """A reference's features and K masks to task tokens (B, K, m + 4, C).

    Tokens per class, in this order: T_f, T_c (m of them), and three prototypes of the similarity prior (ours, see
    :mod:`dropiris.networks.iris_similarity`): foreground, background, and the ring just outside the structure.
    """

    def __init__(self, channels: int, queries: int):
        super().__init__()
        self.context = ContextualEmbedding(channels, queries)

    def forward(self, features: torch.Tensor, projected: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """``features`` F and its projection for the prior, both (B, C, d, h, w); ``masks`` (B, K, D, H, W) in 0..1."""
        share = mask_share(masks.float())
        ring = F.max_pool3d(share, 3, stride=1, padding=1) * (1 - share)
        t_f = masked_mean(features, share)
        t_c = torch.stack([self.context(features, masks[:, k : k + 1]) for k in range(masks.shape[1])], dim=1)
        prototypes = [masked_mean(projected, region) for region in (share, 1 - share, ring)]
        return torch.cat([t_f[:, :, None], t_c.float(), torch.stack(prototypes, dim=2)], dim=2)
