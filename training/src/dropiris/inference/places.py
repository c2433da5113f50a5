"""Where aligned references have the structures of one pass, window by window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch.nn import functional as F

from dropiris.geometry import CanonicalGrid
from dropiris.inference import appearance
from dropiris.inference.aligned_atlas import AlignedAtlas
from dropiris.networks.iris_place import SURE, Place

NO_ODDS = math.log(SURE / (1 - SURE))  # far from a structure


@dataclass(frozen=True, eq=False)
class Found:
    """One structure in a box of the grid, which begins at ``start``: see :class:`~dropiris.networks.iris_place.Place`.

    Half precision: a whole body's structures are many.
    """

    start: tuple[int, int, int]
    share: torch.Tensor  # (D, H, W)
    odds: torch.Tensor


@dataclass(frozen=True, eq=False)
class Places:
    """For windows of one padded image on a model's grid.

    Attributes
    ----------
    atlases : sequence of AlignedAtlas
    names : sequence of K str
    grid : CanonicalGrid
    image : ndarray (I, J, K)
        The scan on that grid, for what structures look like in it.
    before : sequence of 3 int
        Voxels of padding before the grid.
    size : tuple of 3 int
        Of a window.
    """

    atlases: Sequence[AlignedAtlas]
    names: Sequence[str]
    grid: CanonicalGrid
    image: np.ndarray
    before: Sequence[int]
    size: tuple[int, int, int]

    def __call__(self, start: tuple[int, int, int]) -> Place:
        """Of the window that begins at these voxels of the padded image."""
        share = torch.zeros(len(self.names), *self.size)
        odds = torch.full_like(share, NO_ODDS)
        for n, one in enumerate(self._found):
            if one is not None:
                begins = [its + before for its, before in zip(one.start, self.before, strict=True)]
                parts = [_shared(*side) for side in zip(start, self.size, begins, one.share.shape, strict=True)]
                here, there = (tuple(part) for part in zip(*parts, strict=True))
                share[n][here], odds[n][here] = one.share[there].float(), one.odds[there].float()
        return Place(share, odds, *self._matches)

    @cached_property
    def _matches(self) -> tuple[torch.Tensor, ...]:
        """How far to believe it, likeness and contrast (K,) each, of the reference that matches best."""
        best = []
        for name in self.names:
            known = [(one.believed, one.likeness, one.contrast) for one in self.atlases if name in one.atlas.names]
            best.append(max(known, default=(0.0, 0.0, 0.0)))
        return torch.tensor(best).unbind(1)

    @cached_property
    def _found(self) -> list[Found | None]:
        return [self._find(name) for name in self.names]

    def _find(self, name: str) -> Found | None:
        """A structure by the mean of all references that have it, and by what the scan shows there."""
        known = [(one, box) for one in self.atlases if name in one.atlas.names and (box := one.box(name)) is not None]
        if not known:
            return None
        spacing = self.grid.spacing
        low, high = np.min([box[0] for _, box in known], axis=0), np.max([box[1] for _, box in known], axis=0)
        start, stop = self._within(np.floor(low / spacing), np.ceil(high / spacing))
        atlases = [one for one, _ in known]
        share = self._mean(atlases, name, start, stop)
        thick = min(appearance.thickness(share), *share.shape)  # of what fills its box, no face is seen
        # the box is known to a voxel of what was aligned
        beyond = np.ceil(np.max([one.near.spacing.cpu().numpy() for one in atlases], axis=0) / spacing)
        around = np.maximum(appearance.about(thick), beyond)
        first, last = self._within(start - around, stop + around)
        start, stop = self._within(start - beyond, stop + beyond)
        share = self._mean(atlases, name, start, stop)
        wider = [width for a, b in zip((start - first)[::-1], (last - stop)[::-1], strict=True) for width in (a, b)]
        share = F.pad(share, [int(width) for width in wider])
        image = self.image[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
        likeness = max(one.likeness for one, _ in known)
        odds = appearance.odds(share, torch.from_numpy(np.ascontiguousarray(image)), thick, likeness)
        return Found((int(first[0]), int(first[1]), int(first[2])), share.half(), odds.half())

    def _within(self, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A box of voxels, at least one, inside the grid."""
        shape = np.array(self.grid.shape)
        start = np.clip(start.astype(int), 0, shape - 1)
        return start, np.clip(stop.astype(int), start + 1, shape)

    def _mean(self, atlases: Sequence[AlignedAtlas], name: str, start: np.ndarray, stop: np.ndarray) -> torch.Tensor:
        """Share (D, H, W) of each voxel of a box."""
        shape, corner = tuple((stop - start).tolist()), (start * self.grid.spacing).tolist()
        total, weights = torch.zeros(shape), 0.0
        for one in atlases:
            masks = one.masks([name], float(self.grid.spacing.mean()))
            total += one.believed * one.places(masks, shape, self.grid.spacing.tolist(), corner)[0].cpu()
            weights += one.believed
        return total / weights


def _shared(start: int, size: int, its: int, length: int) -> tuple[slice, slice]:
    """What a window and a box have in common along one axis: in the window, in the box."""
    low, high = max(start, its), min(start + size, its + length)
    high = max(low, high)
    return slice(low - start, high - start), slice(low - its, high - its)
