"""Iris's memory bank (supplement, Eq. 7): what training has seen of each class, so that it needs no reference later."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from dropiris.train.process_sums import sum_over_processes


class MemoryBank(nn.Module):
    """An exponential moving average of every class's task embedding: T_k <- a T_k + (1 - a) T_k_new.

    A structure's name is its class: one that several datasets have is one class.

    Parameters
    ----------
    names : sequence of str
        Of the K classes.
    tokens, channels : int
        Size of a task embedding.
    momentum : float
        a; 0.999 in the paper. The n-th update of a class uses at most (1 + n) / (10 + n), or a class that a short run
        sees 300 times would still be three quarters what the untrained network made of it.
    """

    def __init__(self, names: Sequence[str], tokens: int, channels: int, momentum: float = 0.999):
        super().__init__()
        self.names, self.momentum = list(names), momentum
        self.register_buffer("tokens", torch.zeros(len(self.names), tokens, channels))
        self.register_buffer("log_spacing", torch.zeros(len(self.names)))
        self.register_buffer("updates", torch.zeros(len(self.names), dtype=torch.long))
        self.tokens: torch.Tensor
        self.log_spacing: torch.Tensor
        self.updates: torch.Tensor

    @torch.no_grad()
    def update(self, task: torch.Tensor, classes: torch.Tensor, spacing: torch.Tensor) -> None:
        """Blend in a batch's embeddings (B, K', tokens, C); several of one class count as their mean.

        ``classes`` (B, K') are places in :attr:`names`, -1 for what is no class (a random shape); ``spacing`` (B, K')
        the working voxel sizes, mm.
        """
        known = classes.flatten() >= 0
        place = classes.flatten()[known]
        seen = sum_over_processes(torch.bincount(place, minlength=len(self.names)).float())
        new = torch.zeros_like(self.tokens).index_add_(0, place, task.detach().float().flatten(0, 1)[known])
        size = torch.zeros_like(self.log_spacing).index_add_(0, place, spacing.flatten()[known].float().log())
        new, size = (sum_over_processes(total) for total in (new, size))
        ramp = (1 + self.updates) / (10 + self.updates)
        keep = torch.where(self.updates == 0, 0.0, ramp.clamp(max=self.momentum))
        share = torch.where(seen > 0, 1 - keep, 0.0)
        self.tokens.lerp_(new / seen.clamp(min=1)[:, None, None], share[:, None, None])
        self.log_spacing.lerp_(size / seen.clamp(min=1), share)
        self.updates += seen > 0

    def learned(self) -> tuple[list[str], torch.Tensor, torch.Tensor]:
        """Names, tokens (k, tokens, C) and spacing (k,) of the classes that were seen, on the CPU."""
        seen = (self.updates > 0).cpu()
        names = [name for name, found in zip(self.names, seen.tolist(), strict=True) if found]
        return names, self.tokens.cpu()[seen], self.log_spacing.cpu()[seen].exp()
