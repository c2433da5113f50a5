"""From scores on the model's grid to labels on the scan's own, finer or coarser one.

Scores are resampled and then compared. To compare first and resample the labels throws away how sure the network was
on either side of a border: for three real brains of 1 mm, segmented with voxels of 2 mm, that costs 0.01 of Dice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dropiris.geometry import CanonicalGrid, axis_shares, reach, reached
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


class _Axis:
    """One axis of the scan, of which the image may cover a part."""

    def __init__(self, share: np.ndarray):
        covered = np.flatnonzero(share.any(axis=1))
        self.start, self.stop = (int(covered[0]), int(covered[-1]) + 1) if covered.size else (0, 0)
        self.share = share[self.start : self.stop]
        self.first, self.last = reach(self.share)
        self.same = bool((self.share.max(axis=1, initial=0) == 1).all())  # a plane of the image each

    def covered_by(self, box: slice) -> slice:
        """Planes, counted from ``start``, that any plane of the image within ``box`` has a share in."""
        return reached((self.first, self.last), box)

    def resampled(self, scores: torch.Tensor, planes: slice, dim: int) -> torch.Tensor:
        """Scores of the whole image along ``dim`` for these planes of the scan."""
        low, high = int(self.first[planes.start]), int(self.last[planes.stop - 1]) + 1
        near = scores.narrow(dim, low, high - low)
        if self.same:
            return near
        share = torch.from_numpy(self.share[planes, low:high]).to(near)
        return torch.tensordot(share, near, dims=([1], [dim])).movedim(0, dim)


class FinerLabels:
    """Takes finished planes of scores along ``axis`` in order, and decides every plane of the scan they suffice for.

    What is background in every voxel that takes part is background in the mean of them, so only what lies about found
    structures is resampled.

    Parameters
    ----------
    onto : ScanGrid
        Of the image that the scores belong to.
    axis : int
    decide : callable
    """

    def __init__(self, onto: ScanGrid, axis: int, decide: Decision):
        self.labels = np.moveaxis(onto.labels, axis, 0)
        self.across = _Axis(onto.shares[axis])
        self.rows, self.columns = (_Axis(share) for n, share in enumerate(onto.shares) if n != axis)
        self.decide = decide
        self.next = 0  # plane of the scan, counted from ``across.start``
        self.first = 0  # plane of the image at which ``tail`` begins
        self.tail: list[torch.Tensor] = []
        self.found: list[tuple[slice, slice] | None] = []  # where each plane of ``tail`` is not background

    def take(self, planes: torch.Tensor) -> None:
        """The next planes (K, n, rows, columns); when it fails for want of memory it can be called again."""
        new = planes.unbind(1)
        known, found = [*self.tail, *new], [*self.found, *map(self._found, new)]
        end, at = self.first + len(known), self.next
        while at < len(self.across.last) and self.across.last[at] < end:
            used = slice(self.across.first[at], self.across.last[at] + 1)
            here = slice(used.start - self.first, used.stop - self.first)
            box = _around(found[here])
            if box is not None:
                self._decide(at, known[here], torch.from_numpy(self.across.share[at, used]), box)
            at += 1
        # padding before the scan may end in a later call
        kept = min(int(self.across.first[at]), end) if at < len(self.across.first) else end
        self.tail = [plane.clone() for plane in known[kept - self.first :]]  # the slab they lie in moves on
        self.found = found[kept - self.first :]
        self.next, self.first = at, kept

    def _found(self, plane: torch.Tensor) -> tuple[slice, slice] | None:
        labels = self.decide(plane) != 0
        rows, columns = (labels.any(dim).nonzero().flatten().tolist() for dim in (1, 0))
        return (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)) if rows else None

    def _decide(self, at: int, planes: Sequence[torch.Tensor], shares: torch.Tensor, box: tuple[slice, slice]) -> None:
        scores = sum(share * plane.float() for share, plane in zip(shares.tolist(), planes, strict=True))
        assert isinstance(scores, torch.Tensor)
        rows, columns = self.rows.covered_by(box[0]), self.columns.covered_by(box[1])
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return  # beside the scan: padding
        scores = self.columns.resampled(self.rows.resampled(scores, rows, 1), columns, 2)
        place = tuple(
            slice(axis.start + part.start, axis.start + part.stop)
            for axis, part in ((self.rows, rows), (self.columns, columns))
        )
        self.labels[self.across.start + at][place] = self.decide(scores).cpu().numpy()


def _around(boxes: Sequence[tuple[slice, slice] | None]) -> tuple[slice, slice] | None:
    """The smallest box that holds all there are."""
    some = [box for box in boxes if box is not None]
    if not some:
        return None
    rows, columns = (slice(min(s.start for s in side), max(s.stop for s in side)) for side in zip(*some, strict=True))
    return rows, columns
