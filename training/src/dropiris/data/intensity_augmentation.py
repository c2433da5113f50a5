"""Random intensity changes of one window, seeded by a generator; the window's values are z-scores or rendered."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from dropiris.data.point_spread import along_axes, blur_matrix


def augment_intensity(
    image: torch.Tensor, rng: np.random.Generator, probability: float = 0.33, strength: float = 1.0
) -> torch.Tensor:
    """Gamma, smooth bias field, low resolution, blur and noise, each with the given probability."""

    def chance() -> bool:
        return bool(rng.random() < probability)

    low, high = image.amin(), image.amax()
    span = (high - low).clamp(min=1e-6)
    unit = (image - low) / span
    if chance():
        unit = unit.clamp(min=0) ** float(np.exp(rng.uniform(-0.6, 0.6) * strength))
    if chance():
        coarse = torch.from_numpy(rng.normal(0, 0.35 * strength, (1, 1, 4, 4, 4))).float()
        field = F.interpolate(coarse, size=image.shape[1:], mode="trilinear", align_corners=True)[0]
        unit = unit * torch.exp(field - field.mean())
    if chance():
        factor = [float(f) for f in rng.uniform(0.35, 1.0, 3)]
        small = [max(4, round(n * f)) for n, f in zip(image.shape[1:], factor, strict=True)]
        unit = F.interpolate(unit[None], size=small, mode="nearest")
        unit = F.interpolate(unit, size=image.shape[1:], mode="trilinear")[0]
    if chance():
        sigma = torch.tensor([rng.uniform(0.4, 1.0)])
        unit = along_axes(unit, [blur_matrix(side, sigma) for side in image.shape[1:]])
    if chance():
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        unit = unit + torch.randn(unit.shape, generator=generator) * float(rng.uniform(0.01, 0.08)) * strength
    return unit * span + low


def remap(image: torch.Tensor, rng: np.random.Generator, knots: int = 7) -> torch.Tensor:
    """Intensities mapped by a random curve through ``knots`` points, which need not rise: another contrast.

    As the non-linear transformation of Models Genesis (Zhou et al., MedIA 2021), with straight pieces. The darkest
    value stays dark in most draws, as air does in MR and CT.
    """
    low, high = image.amin(), image.amax()
    unit = (image - low) / (high - low).clamp(min=1e-6) * (knots - 1)
    curve = rng.uniform(0, 1, knots)
    if rng.random() < 0.8:
        curve[0] = 0.0
    values = torch.from_numpy(curve).to(image.dtype)
    left = unit.floor().clamp(0, knots - 2)
    start, end = values[left.long()], values[left.long() + 1]
    return (start + (unit - left) * (end - start)) * (high - low) + low
