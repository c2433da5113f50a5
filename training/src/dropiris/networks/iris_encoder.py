"""Iris's image encoder: a residual 3D U-Net encoder with a light top-down path to stride 4."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F


class ImageFeatures(NamedTuple):
    """What the encoder gives for one image: the task features F (stride 4) and the skips of the decoder."""

    task: torch.Tensor  # (B, C, D/4, H/4, W/4)
    half: torch.Tensor  # (B, 2b, D/2, H/2, W/2)
    full: torch.Tensor  # (B, b, D, H, W)
    seen: torch.Tensor  # (B, in_channels, D, H, W), the input itself


class ResidualBlock(nn.Module):
    """Two 3x3x3 convolutions with instance norm and a shortcut; ``stride`` 2 halves each side."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.first = nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.InstanceNorm3d(outputs, affine=True)
        self.second = nn.Conv3d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.InstanceNorm3d(outputs, affine=True)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv3d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inside = F.leaky_relu(self.first_norm(self.first(x)), 0.01, inplace=True)
        return F.leaky_relu(self.second_norm(self.second(inside)) + self.shortcut(x), 0.01, inplace=True)


class IrisEncoder(nn.Module):
    """Image (B, in_channels, D, H, W) to :class:`ImageFeatures`.

    Four downsamplings, base width doubling each time (supplement, "Network Architecture"). The paper does not say
    which level F comes from; PixelShuffle by r needs C >= r**3 channels, which rules out the deepest. We take
    stride 4 and add the deeper levels top-down, so that F sees the whole window.
    """

    def __init__(self, in_channels: int, base_width: int, task_channels: int, downsamplings: int = 4):
        super().__init__()
        self.multiple = 2**downsamplings
        widths = [base_width * 2**level for level in range(downsamplings + 1)]
        self.stages = nn.ModuleList([ResidualBlock(in_channels, widths[0])])
        self.stages.extend(ResidualBlock(a, b, stride=2) for a, b in pairwise(widths))
        deep = widths[2:]
        self.lateral = nn.ModuleList(nn.Conv3d(width, task_channels, 1) for width in deep)
        # Stride 4 and 8; at 16 a window is a few voxels wide.
        self.smooth = nn.ModuleList(ResidualBlock(task_channels, task_channels) for _ in deep[:2])

    def forward(self, x: torch.Tensor) -> ImageFeatures:
        if any(side % self.multiple for side in x.shape[2:]):
            raise ValueError(f"sides {tuple(x.shape[2:])} must be multiples of {self.multiple}")
        seen, levels = x, []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        deep = [lateral(level) for lateral, level in zip(self.lateral, levels[2:], strict=True)]
        top = deep.pop()
        if len(deep) < len(self.smooth):
            top = self.smooth[len(deep)](top)
        while deep:
            top = F.interpolate(top, scale_factor=2, mode="nearest") + deep.pop()
            top = self.smooth[len(deep)](top)
        return ImageFeatures(task=top, half=levels[1], full=levels[0], seen=seen)
