"""Blended scores of the few planes that windows still reach; finished planes become labels at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dropiris.inference.decisions import Decision

# Above this the scores are kept in float16: 16 classes x 128 planes of 512 x 400 voxels take 1.7 GB in float32.
HALF_ABOVE = 1_000_000_000
# Planes decided at a time: argmax makes an int64 per voxel.
_PLANES = 16


class RollingScores:
    """A slab (K, window along ``axis``, everything across) that moves along the volume.

    A window starting at plane s ends every plane before s: those are decided, written into ``labels`` and dropped.

    Parameters
    ----------
    channels : int
        Scores per voxel.
    labels : ndarray (I, J, K)
        Where decided indices go.
    depth : int
        Window along ``axis``.
    axis : int
        Along which windows come in order.
    """

    def __init__(self, channels: int, labels: np.ndarray, depth: int, axis: int, decide: Decision, device: str):
        self.labels = labels
        self.axis = axis
        self.decide = decide
        self.first = 0  # plane of the volume at the slab's first plane
        sides = list(labels.shape)
        sides[axis] = depth
        half = channels * float(np.prod(sides)) * 4 > HALF_ABOVE
        self.scores = torch.zeros((channels, *sides), dtype=torch.float16 if half else torch.float32, device=device)

    def to_cpu(self) -> None:
        self.scores = self.scores.cpu()

    def add(self, scores: torch.Tensor, weights: torch.Tensor, start: Sequence[int]) -> None:
        """Add one window's scores (K, d, h, w), of the slab's type and device, that begin at voxel ``start``."""
        where = [slice(s, s + n) for s, n in zip(start, scores.shape[1:], strict=True)]
        low = start[self.axis] - self.first
        where[self.axis] = slice(low, low + scores.shape[1 + self.axis])
        self.scores[(slice(None), *where)].addcmul_(scores, weights)

    def advance(self, to: int) -> None:
        """Decide every plane before ``to``; windows that are still to come start there or later."""
        axis, depth = self.axis, self.scores.shape[1 + self.axis]
        planes = self.scores.movedim(1 + axis, 1)
        labels = np.moveaxis(self.labels, axis, 0)
        done = min(to - self.first, depth)
        for low in range(0, done, _PLANES):
            high = min(low + _PLANES, done)
            decided = self.decide(planes[:, low:high]).cpu().numpy()
            labels[self.first + low : self.first + high] = decided
        kept = depth - done
        for n in range(0, kept, max(1, done)):  # pieces that do not overlap what they are copied from
            size = min(done, kept - n)
            planes[:, n : n + size] = planes[:, n + done : n + done + size]
        planes[:, kept:] = 0
        self.first = to
