"""How alike two scans are once they are aligned, and before."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from dropiris.inference.described import Described
from dropiris.intensity import tissue_quantiles

RANKED = 100_000  # voxels whose intensities are compared


def likeness(reference: Described, query: Described, where: torch.Tensor) -> float:
    """Mean correlation of aligned descriptors in what both show, -1 to 1."""
    found, inside = reference.at(where)
    weight = query.weight * inside
    total = weight.sum().clamp(min=1e-3)
    ours, theirs = (f - ((f * weight).sum((1, 2, 3)) / total)[:, None, None, None] for f in (found, query.features))
    shared, own, other = ((a * b * weight).sum((1, 2, 3)) for a, b in ((ours, theirs), (ours, ours), (theirs, theirs)))
    return float((shared / (own * other).sqrt().clamp(min=1e-6)).mean())


def rank_correlation(one: torch.Tensor, other: torch.Tensor, where: torch.Tensor) -> float:
    """Spearman's, of two images (D, H, W) on the processor, where a mask says; 0 where nothing can be said."""
    pairs = np.stack([image[where].float().numpy() for image in (one, other)])
    pairs = pairs[:, :: max(1, pairs.shape[1] // RANKED)]
    if pairs.shape[1] < 2 or (pairs.min(1) == pairs.max(1)).any():
        return 0.0
    return float(stats.spearmanr(*pairs).statistic)


def histogram_distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Mean difference of two images' scaled intensities at equal shares of the voxels that are not air, 0 to 1."""
    shares = []
    for image in (one, other):
        values = image.flatten()[:: max(1, image.numel() // RANKED)].float().numpy()
        low, high = np.percentile(values, (2, 98))
        shares.append(tissue_quantiles(values, low, high))
    return float(np.abs(shares[0] - shares[1]).mean())
