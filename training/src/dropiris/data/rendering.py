"""Images from label maps: every label gets a random intensity, so shape is all a network can learn from.

After SynthSeg (Billot et al., Medical Image Analysis 2023), on windows that are already cut and turned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class Contrast:
    """Mean and spread of each label's intensity, drawn once and used for any number of windows.

    ``mean`` and ``spread`` are (n_labels,), about 0 to 1; label 0 is air or whatever surrounds the body.
    """

    mean: torch.Tensor
    spread: torch.Tensor

    @classmethod
    def draw(cls, labels: int, rng: np.random.Generator) -> Contrast:
        mean = rng.uniform(0.05, 1.0, labels)
        if rng.random() < 0.7:
            mean[0] = rng.uniform(0.0, 0.1)
        spread = rng.uniform(0.01, 0.12, labels)
        return cls(torch.from_numpy(mean).float(), torch.from_numpy(spread).float())


def render(labels: torch.Tensor, contrast: Contrast, rng: np.random.Generator) -> torch.Tensor:
    """Labels (D, H, W) as indices into ``contrast`` to an image (1, D, H, W), about 0 to 1."""
    index = labels.long()
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    noise = torch.randn(labels.shape, generator=generator)
    if rng.random() < 0.5:  # grain larger than a voxel, as tissue has
        noise = F.avg_pool3d(noise[None, None], 3, 1, 1)[0, 0] * 3.0
    image = (contrast.mean[index] + contrast.spread[index] * noise)[None]
    width = rng.uniform(0.0, 1.0)
    if width > 0.3:  # partial volume and point spread
        image = blur(image, width)
    return image


def blur(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of (C, D, H, W), sigma in voxels, one axis after the other."""
    radius = max(1, int(3 * sigma + 0.5))
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1).float() / sigma) ** 2)
    kernel = kernel / kernel.sum()
    x = image[:, None]
    for axis in range(3):
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = -1
        padding = [0] * 6
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = radius
        x = F.conv3d(F.pad(x, padding, mode="replicate"), kernel.reshape(shape))
    return x[:, 0]
