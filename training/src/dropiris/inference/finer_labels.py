"""From scores on the model's grid to labels on the scan's own, finer or coarser one.

Scores are resampled and then compared. To compare first and resample the labels throws away how sure the network was
on either side of a border: for five real brains of 1 mm, segmented with voxels of 2 mm, that costs 0.01 of Dice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dropiris.geometry import CanonicalGrid, axis_shares
from dropiris.inference.decisions import Decision


@dataclass(frozen=True)
class ScanGrid:
    """Where labels of a padded image on the model's grid go.

    Attributes
    ----------
    labels : ndarray (I, J, K)
        Of the scan, its axes turned to the canonical ones: a view that is written to.
    shares : three ndarrays (scan, image)
        Share of every plane of the padded image in every plane of the scan, along each axis.
    """

    labels: np.ndarray
    shares: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, grid: CanonicalGrid, result: np.ndarray, shape: Sequence[int], inside: Sequence[slice]) -> ScanGrid:
        """For ``result`` on the scan's grid; the image of ``shape`` holds the model's grid ``inside``."""
        labels, shares = grid.turned(result), []
        for new, old, side, part in zip(labels.shape, grid.shape, shape, inside, strict=True):
            share = np.zeros((new, side), np.float32)
            share[:, part] = axis_shares(old, new)
            shares.append(share)
        return cls(labels, tuple(shares))

    def part(self, box: Sequence[slice]) -> ScanGrid:
        """For a box of the image."""
        return ScanGrid(self.labels, tuple(share[:, side] for share, side in zip(self.shares, box, strict=True)))


class FinerLabels:
    """Takes finished planes of scores along ``axis`` in order, and decides every plane of the scan they suffice for.

    Parameters
    ----------
    onto : ScanGrid
        Of the image that the scores belong to.
    axis : int
    decide : callable
    """

    def __init__(self, onto: ScanGrid, axis: int, decide: Decision):
        self.labels = np.moveaxis(onto.labels, axis, 0)
        self.across = onto.shares[axis]
        across, down = (share for n, share in enumerate(onto.shares) if n != axis)
        self.sides = tuple(_taking(share) for share in (across, down))
        self.rows, self.columns = (
            torch.from_numpy(share[side]) for share, side in zip((across, down), self.sides, strict=True)
        )
        taking = self.across > 0
        self.last = np.where(taking.any(1), taking.shape[1] - 1 - taking[:, ::-1].argmax(1), -1)
        self.decide = decide
        self.next = 0  # plane of the scan
        self.first = 0  # plane of the image at which ``tail`` begins
        self.tail: torch.Tensor | None = None

    def take(self, planes: torch.Tensor) -> None:
        """The next planes (K, n, rows, columns); when it fails for want of memory it can be called again."""
        known = planes if self.tail is None else torch.cat([self.tail.to(planes), planes], dim=1)
        end, at = self.first + known.shape[1], self.next
        rows, columns = self.rows.to(known.device), self.columns.to(known.device)
        while at < len(self.last) and self.last[at] < end:
            used = np.flatnonzero(self.across[at])
            if used.size:
                weights = torch.from_numpy(self.across[at, used[0] : used[-1] + 1]).to(known.device)
                near = known[:, used[0] - self.first : used[-1] + 1 - self.first].float()
                scores = rows @ torch.einsum("n,knhw->khw", weights, near) @ columns.T
                self.labels[at][self.sides] = self.decide(scores).cpu().numpy()
            at += 1
        needed = int(np.flatnonzero(self.across[at])[0]) if at < len(self.last) and self.last[at] >= 0 else end
        kept = max(needed, self.first)
        self.tail = known[:, kept - self.first :].clone()
        self.next, self.first = at, kept


def _taking(share: np.ndarray) -> slice:
    """The planes of the scan that the image has a share in, one after the other."""
    planes = np.flatnonzero(share.any(axis=1))
    return slice(int(planes[0]), int(planes[-1]) + 1) if planes.size else slice(0, 0)
