"""A head in closed form (ours): what a structure looks like in the input, by ridge regression on the reference.

The score of a voxel is a quadratic function of its channels z = [x, s], fitted to the reference's mask in one solve, as
in Bertinetto et al., "Meta-learning with differentiable closed-form solvers" (ICLR 2019). Where stable features nearly
name what a voxel belongs to, a structure that no training has seen is found at once. A structure's weights are a few
more tokens of its task embedding; those of several references are averaged like the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

BALANCE = 0.5  # a voxel of a side (inside, outside) that n voxels have weighs n ** -BALANCE
RIDGE = 1e-3  # of products with unit variance
REACH = 1.5  # scores are about -1 outside and 1 inside; what products make of a strange voxel ends here
ENOUGH = 8192  # voxels of a side in a fit of a few hundred weights
_VOXELS_AT_ONCE = 4096  # their products fit into a processor's cache


class ClosedFormHead(nn.Module):
    """Ridge regression of masks on the channels of the input and their products.

    Parameters
    ----------
    channels : int
        F, of the network's input.
    task_channels : int
        C, of a token.

    Attributes
    ----------
    size : int
        1 + F + F (F + 1) / 2 weights of a structure.
    tokens : int
        How many tokens of C channels hold them and, after them, the quality of the fit and of the decoder's own mask.
    """

    def __init__(self, channels: int, task_channels: int):
        super().__init__()
        self.rows, self.columns = torch.triu_indices(channels, channels)
        self.size = 1 + channels + len(self.rows)
        self.task_channels = task_channels
        self.tokens = math.ceil((self.size + 2) / task_channels)

    @torch.no_grad()
    def fit(self, seen: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Input (B, F, D, H, W) and masks (B, K, D, H, W) in 0..1 to tokens (B, K, tokens, C); 0 for an empty mask."""
        both = zip(seen.flatten(2).float(), masks.flatten(2).float(), strict=True)
        with _in_float32(seen):
            weights = torch.stack([self._fit_one(z, mask) for z, mask in both])
        packed = weights.new_zeros(*weights.shape[:2], self.tokens * self.task_channels)
        packed[..., : self.size + 1] = weights
        return packed.unflatten(-1, (self.tokens, self.task_channels))

    def forward(self, seen: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Input (B, F, D, H, W) and tokens (B, K, tokens, C) to scores (B, K, D, H, W) within -REACH..REACH."""
        weights = tokens.flatten(2)[..., : self.size].float()
        with _in_float32(seen):
            scores = [
                torch.cat([w @ products for _, products in self._products(z)], dim=1)
                for z, w in zip(seen.flatten(2).float(), weights, strict=True)
            ]
            return REACH * torch.tanh(torch.stack(scores) / REACH).unflatten(-1, seen.shape[2:])

    def quality(self, tokens: torch.Tensor) -> torch.Tensor:
        """The share of a reference's mask (its variance) that its fit explains, 0..1: (B, K, tokens, C) to (B, K)."""
        return tokens.flatten(2)[..., self.size].float()

    def with_decoded(self, tokens: torch.Tensor, dice: torch.Tensor) -> torch.Tensor:
        """Tokens (B, K, tokens, C) that also hold the Dice (B, K) of the decoder's own mask of the reference."""
        flat = tokens.flatten(2).clone()
        flat[..., self.size + 1] = dice.to(flat)
        return flat.unflatten(-1, tokens.shape[2:])

    def decoded(self, tokens: torch.Tensor) -> torch.Tensor:
        """That Dice, 0..1: (B, K, tokens, C) to (B, K)."""
        return tokens.flatten(2)[..., self.size + 1].float()

    def _products(self, z: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
        """1, the channels and their products (size, n) of channels (F, N), a part of the voxels at a time."""
        for start in range(0, z.shape[1], _VOXELS_AT_ONCE):
            part = z[:, start : start + _VOXELS_AT_ONCE]
            products = torch.cat([torch.ones_like(part[:1]), part, part[self.rows] * part[self.columns]])
            yield slice(start, start + part.shape[1]), products

    def _fit_one(self, z: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Channels (F, N) and masks (K, N) to weights and quality (K, size + 1)."""
        chosen, weight = thinned(masks)
        z, masks = z[:, chosen], masks[:, chosen]
        moment, inside = z.new_zeros(self.size, self.size), z.new_zeros(len(masks), self.size, self.size)
        for where, products in self._products(z):
            moment += (products * weight[where]) @ products.T
            for n, mask in enumerate(masks[:, where] * weight[where]):
                voxels = mask.nonzero()[:, 0]
                if len(voxels):
                    own = products[:, voxels]
                    inside[n] += (own * mask[voxels]) @ own.T
        # The products' first is 1, so the first row of a moment holds sums. Few numbers from here on, in double.
        moment, inside = moment.cpu().double(), inside.cpu().double()
        mean = moment[0] / moment[0, 0]
        deviation = (moment.diagonal() / moment[0, 0] - mean.square()).clamp(min=1e-10).sqrt()
        mean[0], deviation[0] = 0.0, 1.0
        weights = torch.stack([_solve(moment, own, mean, deviation) for own in inside])
        return weights.to(z)


def thinned(masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Voxels that stand for all N of masks (K, N) in a fit: their places (n,) and how many each stands for (n,).

    About ENOUGH of each mask and of what lies outside all; all of a mask that has fewer. Evenly spread, not at random:
    the same reference makes the same embedding.
    """
    volume = masks.sum(1, keepdim=True).clamp(min=1)
    outside = 1 - masks.amax(0)
    outside = outside / outside.sum().clamp(min=1)
    share = (ENOUGH * torch.maximum((masks / volume).amax(0), outside)).clamp(max=1)
    steps = share.cpu().double().cumsum(0).floor()  # not every device has double
    chosen = steps.diff(prepend=steps.new_zeros(1)).nonzero()[:, 0].to(share.device)
    return chosen, 1 / share[chosen]


def _solve(moment: torch.Tensor, inside: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """Weights and quality (P + 1,) from moments (P, P) of all voxels and of those inside; mean and deviation of all."""
    volume, rest = float(inside[0, 0]), float(moment[0, 0] - inside[0, 0])
    if volume < 1e-3:
        return mean.new_zeros(len(mean) + 1)
    in_weight, out_weight = volume**-BALANCE, max(rest, 1.0) ** -BALANCE
    total = in_weight * volume + out_weight * rest
    weighted = (out_weight * (moment - inside) + in_weight * inside) / total
    target = (in_weight * inside[0] - out_weight * (moment - inside)[0]) / total  # 1 inside, -1 outside
    off = torch.outer(weighted[0], mean)
    centred = (weighted - off - off.T + torch.outer(mean, mean)) / torch.outer(deviation, deviation)
    system = centred + RIDGE * torch.eye(len(mean), dtype=mean.dtype)
    wanted = (target - target[0] * mean) / deviation
    solution = torch.linalg.solve(system, wanted)
    # The target is -1 or 1, its mean target[0]: what of its variance is explained beyond that mean.
    quality = ((solution @ wanted - target[0] ** 2) / (1 - target[0] ** 2).clamp(min=1e-6)).clamp(0, 1)
    solution = solution / deviation
    solution[0] -= solution[1:] @ mean[1:]  # as weights of what is not standardised
    return torch.cat([solution, quality[None]])


def _in_float32(like: torch.Tensor) -> torch.autocast:
    """Sums of products cancel: bfloat16 would leave nothing of them."""
    return torch.autocast(like.device.type, enabled=False)
