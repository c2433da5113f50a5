"""Where an aligned reference has its structures in a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from dropiris.inference.described import Described, sample, voxel_places
from dropiris.inference.registration import Map, displaced

if TYPE_CHECKING:
    from dropiris.inference.atlas import Atlas

Box = tuple[np.ndarray, np.ndarray]  # low and high corner (3,), mm along a scan's canonical axes


@dataclass(frozen=True, eq=False)
class AlignedAtlas:
    """An atlas in a scan.

    Attributes
    ----------
    near : Described
        The part of the scan that was aligned.
    affine : callable
        Takes places in mm of the scan to those of the reference.
    field : Tensor (3, d, h, w)
        Added to that, see :func:`~dropiris.inference.registration.fit_field`.
    believed : float
        0 to 1: how far to believe it.
    likeness : float
        Correlation of aligned descriptors.
    contrast : float
        Rank correlation of aligned intensities in both foregrounds: near 1 in scans of one contrast, less in others.
    """

    atlas: Atlas
    near: Described
    affine: Map
    field: torch.Tensor
    believed: float
    likeness: float
    contrast: float

    @cached_property
    def _where(self) -> torch.Tensor:
        """Where the voxels of the aligned part lie in the reference, mm."""
        places = self.near.places()
        return self.affine(places) + displaced(self.field, self.near, places)

    def box(self, name: str) -> Box | None:
        """Where the scan has a structure, to about a voxel of what was aligned; None where it does not."""
        low, high = self.atlas.extent(name)
        voxel = float(self.near.spacing.mean())  # a structure may lie between the centres of two
        found = taken_to(self.near, self._where, low, high)
        return found or taken_to(self.near, self._where, low - voxel, high + voxel)

    def masks(self, names: Sequence[str], spacing: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The named masks (K, D, H, W) in 0..1 for voxels of this size (mm), see :meth:`Atlas.coarser`."""
        values, size = self.atlas.coarser(names, spacing)
        return values.to(self.near.spacing), size.to(self.near.spacing)

    def places(
        self, masks: tuple[torch.Tensor, torch.Tensor], shape: tuple[int, ...], spacing: Sequence[float],
        corner: Sequence[float],
    ) -> torch.Tensor:  # fmt: skip
        """Share of each voxel that structures cover, (K, D, H, W) in 0..1, on a grid along the scan's canonical axes.

        Parameters
        ----------
        masks
            What :meth:`masks` gives.
        shape, spacing, corner
            Voxels; voxel size and the first voxel's outer corner in mm of the scan.
        """
        values, size = masks
        return sample(values, size, self.atlas.corner.to(size), self._taken(shape, spacing, corner))

    def shown(self, shape: tuple[int, ...], spacing: Sequence[float], corner: Sequence[float]) -> torch.Tensor:
        """Which voxels (D, H, W) of such a grid lie inside the reference, whose scan may end before."""
        whole, where = self.atlas.whole, self._taken(shape, spacing, corner)
        size = (whole.spacing * whole.spacing.new_tensor(whole.image.shape)).to(where)[:, None, None, None]
        return ((where > 0) & (where < size)).all(0)

    def _taken(self, shape: tuple[int, ...], spacing: Sequence[float], corner: Sequence[float]) -> torch.Tensor:
        """Where the voxels of a grid lie in the reference (3, D, H, W), mm."""
        like = self.near.spacing
        where = voxel_places(shape, like.new_tensor(spacing), like.new_tensor(corner))
        return self.affine(where) + displaced(self.field, self.near, where)


def taken_to(query: Described, where: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> Box | None:
    """Of a query's voxels that lie at ``where`` (3, D, H, W) of a reference, those from ``low`` to ``high``."""
    low, high = (corner.to(where)[:, None, None, None] for corner in (low, high))
    close = ((where > low) & (where < high)).all(0)
    if not close.any():
        return None
    inside, half = query.places()[:, close].cpu(), query.spacing.cpu()[:, None] / 2
    return (inside - half).amin(1).numpy(), (inside + half).amax(1).numpy()
