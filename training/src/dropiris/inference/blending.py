"""How overlapping windows are weighed where they meet."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dropiris.errors import InputError

BLENDINGS = ("gaussian", "constant")
# As nnU-Net and MONAI: an eighth of the window, and no voxel without any weight.
_SIGMA = 0.125
_SMALLEST = 1e-3


def window_weights(window: Sequence[int], blending: str = "gaussian") -> torch.Tensor:
    """Weight of each voxel of a window (D, H, W), float32, at most 1."""
    if blending not in BLENDINGS:
        raise InputError(f"Unknown blending {blending!r}; choose gaussian or constant.")
    weights = torch.ones(())
    for n in window:
        distance = torch.arange(n, dtype=torch.float32) - (n - 1) / 2
        profile = torch.exp(-0.5 * (distance / (_SIGMA * n)) ** 2)
        weights = weights[..., None] * (profile if blending == "gaussian" else torch.ones(n))
    return weights.clamp(min=_SMALLEST)
