"""From blended scores to labels. Both rules only compare, so blended sums need no division by their weights."""

from __future__ import annotations

from collections.abc import Callable

import torch

Decision = Callable[[torch.Tensor], torch.Tensor]


def largest_channel(scores: torch.Tensor) -> torch.Tensor:
    """DropGen: softmax over (1 + K, ...) channels, background first: the index of the largest logit."""
    return scores.argmax(dim=0)


def largest_positive(scores: torch.Tensor) -> torch.Tensor:
    """Iris: a sigmoid per class over (K, ...): 1 + the class of the largest logit, 0 where all are below 0."""
    best, index = scores.max(dim=0)
    return torch.where(best > 0, index + 1, 0)
