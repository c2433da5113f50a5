"""What a structure looks like in the scan itself, learned there from where an aligned reference has it (ours).

The reference may have another contrast; the scan's own intensities then say what its image cannot. Intensities inside
the moved labels and around them give two histograms, whose ratio moves the labels to borders that the scan shows, and
that again gives histograms: expectation and maximisation with an atlas as the prior, as in Van Leemput et al.,
"Automated model-based tissue classification of MR images of the brain" (IEEE TMI 1999), for one structure at a time in
a box not much larger than it.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from dropiris.networks.iris_place import SURE

ROUNDS = 3
BINS = 64  # each holds about as many voxels of the box
VOXELS = 200_000  # of a box that its bins are found from
STRONGEST = 3.0  # the logarithm of a histogram's ratio counts no more
ABOUT = 1.0  # of the structure's thickness: how much of its surroundings counts
LEAST_ABOUT = 2  # voxels
# An alignment is unsure up to the first correlation of descriptors, and sure from the second on. Unsure labels are
# blurred by this part of the structure's thickness, and what the scan shows weighs more.
UNSURE = 0.45, 0.65
BLUR, WIDEST = 0.35, 2.0  # standard deviation; no more than these voxels
WEIGHT = 0.6, 1.4  # of the histograms' ratio, sure and unsure
_SEEN = 0.3  # voxels: narrower is no blur


def thickness(share: torch.Tensor) -> float:
    """Twice volume by surface of what (D, H, W) in 0..1 covers more than half, in voxels; 0 for nothing."""
    inside = (share > 0.5).float()
    volume = float(inside.sum())
    # faces of voxels are half as much again as the surface they stand for
    faces = sum(float(inside.diff(dim=dim).abs().sum()) for dim in range(3))
    return 2 * volume / max(1.0, faces / 1.5)


def about(thick: float) -> int:
    """Voxels about a structure of this thickness (voxels) that are looked at."""
    return max(LEAST_ABOUT, int(ABOUT * thick))


def odds(share: torch.Tensor, image: torch.Tensor, thick: float, likeness: float) -> torch.Tensor:
    """Logarithm of the odds (D, H, W) that voxels of a box belong to one structure.

    Parameters
    ----------
    share : Tensor (D, H, W)
        0..1, by the aligned reference.
    image : Tensor (D, H, W)
        The scan there, in any unit: only the order of its values counts.
    thick : float
        The structure's, in voxels.
    likeness : float
        Correlation of aligned descriptors.
    """
    unsure = float(np.interp(likeness, UNSURE, (1, 0)))
    width = min(WIDEST, BLUR * thick) * unsure
    weight = float(np.interp(unsure, (0, 1), WEIGHT))
    if width >= _SEEN:
        blurred = ndimage.gaussian_filter(share.numpy(), width, truncate=3, mode="nearest")
        prior = torch.logit(torch.from_numpy(blurred), eps=SURE)
    else:
        prior = torch.logit(share, eps=SURE)
    if not bool((share > 0.5).any()):
        return prior
    bins = _binned(image)
    result, found = prior, share
    for _ in range(ROUNDS):
        result = prior + weight * _ratio(bins, found).clamp(-STRONGEST, STRONGEST)
        found = result.sigmoid()
    return result


def _binned(image: torch.Tensor) -> torch.Tensor:
    """Which of :data:`BINS` equally filled ones holds each voxel."""
    values = image.flatten()
    few = values[:: max(1, len(values) // VOXELS)]
    edges = torch.from_numpy(np.quantile(few.numpy(), np.linspace(0, 1, BINS + 1)[1:-1])).to(image)
    return torch.bucketize(image, edges.unique())


def _ratio(bins: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """Logarithm of how much likelier each voxel's bin is inside than outside."""
    flat = bins.flatten()
    inside = torch.bincount(flat, found.flatten(), BINS)
    outside = (torch.bincount(flat, minlength=BINS) - inside).clamp(min=0)
    likely = [_smoothed(count + 1) / (count.sum() + BINS) for count in (inside, outside)]
    return (likely[0] / likely[1]).log()[bins]


def _smoothed(counts: torch.Tensor) -> torch.Tensor:
    left, right = torch.cat([counts[:1], counts[:-1]]), torch.cat([counts[1:], counts[-1:]])
    return 0.5 * counts + 0.25 * (left + right)
