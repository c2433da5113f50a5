"""Blended scores of the few planes that windows still reach; finished planes become labels at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from dropiris.inference.decisions import Decision

# Above this the scores are kept in float16: 16 classes x 128 planes of 512 x 400 voxels take 1.7 GB in float32.
HALF_ABOVE = 1_000_000_000
# Planes decided at a time: argmax makes an int64 per voxel.
_PLANES = 16


class Labels(Protocol):
    """What finished planes become."""

    def take(self, planes: torch.Tensor) -> None:
        """The next planes of scores (K, n, rows, columns); when it fails for want of memory it is called again."""
        ...


class SameLabels:
    """Labels on the grid of the scores: ``labels`` (I, J, K) are written plane by plane along ``axis``."""

    def __init__(self, labels: np.ndarray, axis: int, decide: Decision):
        self.labels, self.decide, self.first = np.moveaxis(labels, axis, 0), decide, 0

    def take(self, planes: torch.Tensor) -> None:
        count = planes.shape[1]
        for low in range(0, count, _PLANES):
            decided = self.decide(planes[:, low : low + _PLANES]).cpu().numpy()
            self.labels[self.first + low : self.first + low + len(decided)] = decided
        self.first += count


class RollingScores:
    """A slab (K, window along ``axis``, everything across) that moves along the volume.

    A window starting at plane s ends every plane before s: those become labels and are dropped.

    Parameters
    ----------
    channels : int
        Scores per voxel.
    shape : (I, J, K)
        Of the volume.
    depth : int
        Window along ``axis``.
    axis : int
        Along which windows come in order.
    labels : Labels
        What takes finished planes.
    """

    def __init__(self, channels: int, shape: Sequence[int], depth: int, axis: int, labels: Labels, device: str):
        self.labels = labels
        self.axis = axis
        self.first = 0  # plane of the volume at the slab's first plane
        sides = list(shape)
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
        """Finish every plane before ``to``; windows that are still to come start there or later."""
        depth = self.scores.shape[1 + self.axis]
        planes = self.scores.movedim(1 + self.axis, 1)
        done = min(to - self.first, depth)
        self.labels.take(planes[:, :done])
        kept = depth - done
        for n in range(0, kept, max(1, done)):  # pieces that do not overlap what they are copied from
            size = min(done, kept - n)
            planes[:, n : n + size] = planes[:, n + done : n + done + size]
        planes[:, kept:] = 0
        self.first = to
