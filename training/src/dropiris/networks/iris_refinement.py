"""Scores in closed form and the decoder's logits become the final logits (ours): one small network for all."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from dropiris.networks.iris_closed_form import REACH

STRUCTURES_AT_ONCE = 8  # a hundred of a whole body would need several GB for one window


class Refinement(nn.Module):
    """What lies about a voxel says how far to believe its score; no weight belongs to any structure.

    A structure's maps are its score, that score's mean in the neighbourhood, the best score of the others that are
    asked for, and its logit, here and farther around. At the start the result is the logit plus the score.

    Parameters
    ----------
    channels, width : int
        Of the network's input, and of the decoder at full resolution.
    task_channels : int
        C, of the structure's token, which says with the quality of the fit how much its score is worth.
    hidden : int
        Channels per structure.
    """

    def __init__(self, channels: int, width: int, task_channels: int, hidden: int = 8):
        super().__init__()
        self.norm = nn.LayerNorm(task_channels)
        self.trust = nn.Linear(task_channels + 1, 2)  # in the decoder, in the score
        nn.init.zeros_(self.trust.weight)
        nn.init.ones_(self.trust.bias)
        self.look = nn.Conv3d(channels + width, 16, 3, padding=1, bias=False)
        self.look_norm = nn.InstanceNorm3d(16, affine=True)
        self.shared = nn.Conv3d(16, hidden, 3, padding=1)
        self.token = nn.Linear(task_channels + 1, hidden)
        self.own = nn.Conv3d(5, hidden, 1, bias=False)
        self.inner = nn.Conv3d(hidden, hidden, 1)
        self.correction = nn.Conv3d(hidden, 1, 1)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)  # type: ignore[arg-type]

    def forward(
        self, logits: torch.Tensor, scores: torch.Tensor, image: torch.Tensor, tokens: torch.Tensor,
        quality: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """To logits (B, K, D, H, W).

        Parameters
        ----------
        logits, scores : (B, K, D, H, W)
        image : (B, channels + width, D, H, W)
        tokens : (B, K, C)
        quality : (B, K), of the fits, 0..1
        """
        told = torch.cat([self.norm(tokens.float()), quality[..., None]], dim=-1)
        scores = scores.to(logits.dtype)
        rivals = best_of_others(scores)
        shared = self.shared(F.leaky_relu(self.look_norm(self.look(image)), 0.01))
        parts = [slice(k, k + STRUCTURES_AT_ONCE) for k in range(0, logits.shape[1], STRUCTURES_AT_ONCE)]
        refined = [self._refine(logits[:, k], scores[:, k], rivals[:, k], told[:, k], shared) for k in parts]
        return torch.cat(refined, dim=1)

    def _refine(
        self, logits: torch.Tensor, scores: torch.Tensor, rivals: torch.Tensor, told: torch.Tensor,
        shared: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        decoder, score = self.trust(told)[..., None, None].to(logits.dtype).split(1, dim=2)
        believed = decoder * logits + score * scores
        near = F.avg_pool3d(scores, 3, stride=1, padding=1)
        far = F.interpolate(F.avg_pool3d(believed, 4), scale_factor=4, mode="nearest")
        maps = torch.stack([scores, near, rivals, believed / 8, far / 8], dim=2)
        inside = self.own(maps.flatten(0, 1)).unflatten(0, logits.shape[:2])
        inside = inside + shared[:, None] + self.token(told)[..., None, None, None].to(inside.dtype)
        inside = F.leaky_relu(self.inner(F.leaky_relu(inside, 0.01).flatten(0, 1)), 0.01)
        return believed + self.correction(inside).unflatten(0, logits.shape[:2])[:, :, 0]


def best_of_others(scores: torch.Tensor) -> torch.Tensor:
    """For each of K scores (B, K, D, H, W) the largest of the other K - 1; the lowest there is where K is 1."""
    if scores.shape[1] == 1:
        return torch.full_like(scores, -REACH)
    first, second = scores.topk(2, dim=1).values.split(1, dim=1)
    return torch.where(scores == first, second, first)
