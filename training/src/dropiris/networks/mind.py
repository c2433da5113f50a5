"""MIND-SSC: a contrast-invariant descriptor without training, as an alternative stable extractor."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

# The six face neighbours; of their 15 pairs the 12 that are not opposite each other make the descriptor.
_NEIGHBOURS = torch.tensor([[0, 1, 1], [1, 1, 0], [1, 0, 1], [1, 1, 2], [2, 1, 1], [1, 2, 1]])


class MINDSSC(nn.Module):
    """Modality independent neighbourhood descriptor, self-similarity context, 12 channels.

    Heinrich et al., "Towards realtime multimodal fusion for image-guided interventions using self-similarities",
    MICCAI 2013. Distances between patches around each voxel, divided by their local mean, negated and
    exponentiated: values in (0, 1], unchanged by any linear change of intensity, sign included.

    Parameters
    ----------
    radius : int
        Half width of the patch, voxels.
    dilation : int
        Distance of the six neighbours, voxels.
    """

    feature_channels = 12

    def __init__(self, radius: int = 1, dilation: int = 2):
        super().__init__()
        self.radius, self.dilation = radius, dilation
        distance = (_NEIGHBOURS[:, None] - _NEIGHBOURS[None]).square().sum(-1)  # whole numbers: compared exactly below
        first, second = torch.meshgrid(torch.arange(6), torch.arange(6), indexing="ij")
        chosen = (first > second) & (distance == 2)
        self._pairs = [
            (tuple((_NEIGHBOURS[a] - 1).tolist()), tuple((_NEIGHBOURS[b] - 1).tolist()))
            for a, b in zip(first[chosen].tolist(), second[chosen].tolist(), strict=True)
        ]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Map an image (B, 1, D, H, W) to descriptors (B, 12, D, H, W) in (0, 1], float32."""
        image = image.float()
        reach = self.dilation
        padded = F.pad(image, (reach,) * 6, mode="replicate")
        sides = image.shape[2:]

        def moved(offset: tuple[int, ...]) -> torch.Tensor:
            window = [slice(reach + reach * o, reach + reach * o + n) for o, n in zip(offset, sides, strict=True)]
            return padded[(slice(None), slice(None), *window)]

        size = 2 * self.radius + 1
        distances = torch.cat([(moved(a) - moved(b)) ** 2 for a, b in self._pairs], dim=1)
        distances = F.avg_pool3d(F.pad(distances, (self.radius,) * 6, mode="replicate"), size, stride=1)
        distances = distances - distances.amin(dim=1, keepdim=True)
        variance = distances.mean(dim=1, keepdim=True)
        middle = variance.mean(dim=(2, 3, 4), keepdim=True)
        variance = variance.clamp(min=1e-3 * middle, max=1e3 * middle).clamp(min=1e-12)
        return torch.exp(-distances / variance)
