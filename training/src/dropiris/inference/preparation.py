"""A scan as a network sees it, the same for references, queries and training: scaled intensities, canonical grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dropiris.geometry import CanonicalGrid
from dropiris.intensity import IntensityRule, check_intensities, looks_like_ct
from dropiris.volume import Volume


def prepare(volume: Volume, rule: IntensityRule, spacing: Sequence[float] | None) -> tuple[CanonicalGrid, np.ndarray]:
    """The model's grid over a scan and its float32 intensities there.

    Intensities are clipped before they are averaged into larger voxels: metal (3000 HU and more) would shine out.
    """
    check_intensities(volume)
    grid = CanonicalGrid.over(volume.shape, volume.affine, spacing)
    return grid, grid.image_to_model(rule.apply(volume.array, looks_like_ct(volume)))
