"""A scan by descriptors that no contrast changes, and values of its voxels anywhere in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from dropiris.networks.mind import MINDSSC
from dropiris.networks.views import stable_features


@dataclass(frozen=True)
class Described:
    """Descriptors of a scan, or a part of it, on its canonical axes.

    Attributes
    ----------
    features : Tensor (C, D, H, W)
    weight : Tensor (D, H, W)
        1 in the foreground, 0 in air.
    spacing, corner : Tensor (3,)
        Voxel size, and where the first voxel's outer corner lies in the scan, mm.
    """

    features: torch.Tensor
    weight: torch.Tensor
    spacing: torch.Tensor
    corner: torch.Tensor

    @classmethod
    def of(cls, image: torch.Tensor, spacing: torch.Tensor, corner: torch.Tensor) -> Described:
        """Of an image (D, H, W) of any contrast."""
        with torch.no_grad():
            unit = (image - image.min()) / (image.max() - image.min()).clamp(min=1e-6)
            features = stable_features(MINDSSC(), unit[None, None])[0]
        return cls(features, foreground(image), spacing, corner)

    def averaged(self, voxels: int) -> Described:
        """Over blocks of voxels; a thin side stays as it is."""
        sides = [voxels if side >= 2 * voxels else 1 for side in self.weight.shape]
        features, weight = (F.avg_pool3d(t[None], sides)[0] for t in (self.features, self.weight[None]))
        return Described(features, weight[0], self.spacing * self.spacing.new_tensor(sides), self.corner)

    def places(self) -> torch.Tensor:
        """Centres of the voxels (3, D, H, W), mm."""
        return voxel_places(self.weight.shape, self.spacing, self.corner)

    def at(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (C, ...) at places in mm, 0 outside, and how far inside each lies (...), 0 to 1."""
        inside = torch.ones_like(self.features[:1])
        found = sample(torch.cat([self.features, inside]), self.spacing, self.corner, places)
        return found[:-1], found[-1]


def foreground(image: torch.Tensor) -> torch.Tensor:
    """1 where an image is brighter than a tenth of its range, else 0."""
    low, high = np.percentile(image.cpu().numpy(), (1, 99))
    return (image > low + 0.1 * (high - low)).to(image.dtype)


def voxel_places(shape: tuple[int, ...], spacing: torch.Tensor, corner: torch.Tensor) -> torch.Tensor:
    """Centres of a grid's voxels (3, D, H, W), mm."""
    sides = [torch.arange(n, device=spacing.device, dtype=spacing.dtype) for n in shape]
    index = torch.stack(torch.meshgrid(*sides, indexing="ij"))
    return (index + 0.5) * along(spacing) + along(corner)


def sample(values: torch.Tensor, spacing: torch.Tensor, corner: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Trilinear values (C, ...) of a grid's (C, D, H, W) at places (3, ...) in mm; 0 outside the grid."""
    size = spacing * spacing.new_tensor(values.shape[1:])
    where = 2 * (places - along(corner)) / along(size) - 1
    grid = where.flip(0).movedim(0, -1)[None]
    return F.grid_sample(values[None], grid, padding_mode="zeros", align_corners=False)[0]


def along(vector: torch.Tensor) -> torch.Tensor:
    """One value for each axis (3,), to be added to places (3, D, H, W)."""
    return vector[:, None, None, None]
