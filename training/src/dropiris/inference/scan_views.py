"""A scan on voxels of one size for registration, or a part of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from dropiris.geometry import CanonicalGrid
from dropiris.inference.described import Described
from dropiris.inference.preparation import prepare
from dropiris.intensity import IntensityRule
from dropiris.volume import Volume

MOST_VOXELS = 100_000_000  # of any scan that is resampled


@dataclass(frozen=True, eq=False)
class View:
    """A scan, or the part of it from ``corner`` on, with voxels of ``spacing``: mm along its canonical axes."""

    image: torch.Tensor  # (D, H, W)
    spacing: torch.Tensor  # (3,)
    corner: torch.Tensor  # (3,)

    def described(self, device: str) -> Described:
        return Described.of(*(t.to(device, torch.float32) for t in (self.image, self.spacing, self.corner)))

    @classmethod
    def of(cls, scan: Volume, rule: IntensityRule, spacing: float) -> tuple[CanonicalGrid, View]:
        """All of a scan, its intensities as a model sees them; also its grid."""
        grid, image = prepare(scan, rule, bounded(scan, spacing))
        return grid, cls(torch.from_numpy(image), torch.from_numpy(grid.spacing).float(), torch.zeros(3))

    def part(self, low: np.ndarray, high: np.ndarray) -> View:
        """From ``low`` to ``high``, mm, and a little more for descriptors, which look about."""
        voxel = self.spacing.numpy()
        start = np.maximum(np.floor(low / voxel).astype(int) - 4, 0)
        stop = np.minimum(np.ceil(high / voxel).astype(int) + 4, self.image.shape)
        image = self.image[tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))].clone()
        return View(image, self.spacing, torch.from_numpy(start * voxel).float())

    def resized(self, spacing: float) -> View:
        """With voxels of about this size (mm), where that is larger."""
        sides = [max(1, round(n * float(s) / spacing)) for n, s in zip(self.image.shape, self.spacing, strict=True)]
        if all(a >= b for a, b in zip(sides, self.image.shape, strict=True)):
            return self
        image = F.interpolate(self.image[None, None].float(), size=sides, mode="area")[0, 0]
        return View(image, self.spacing * torch.tensor(self.image.shape) / torch.tensor(sides), self.corner)


def extent_of(scan: Volume) -> np.ndarray:
    """Size along canonical axes (3,), mm."""
    grid = CanonicalGrid.over(scan.shape, scan.affine, None)
    return np.array(grid.shape) * grid.spacing


def spacing_for(extent: np.ndarray, voxels: int, finest: float) -> float:
    """Voxel size (mm) with which a box has about so many voxels."""
    return max(float(np.prod(extent) / voxels) ** (1 / 3), finest)


def bounded(scan: Volume, spacing: float) -> tuple[float, float, float]:
    """This voxel size (mm), or a larger one: a gland's voxels all over a whole body would be gigabytes."""
    return (spacing_for(extent_of(scan), MOST_VOXELS, spacing),) * 3


def axes_of(grid: CanonicalGrid) -> torch.Tensor:
    """Directions of a grid's axes in RAS, as columns (3, 3)."""
    return torch.from_numpy(grid.affine[:3, :3] / grid.spacing).float()
