"""The stable feature extractor of DropGen: anatomix (5.90 M parameters), frozen."""

from __future__ import annotations

import torch

from dropiris.networks.unet import UNet

LAYERS = ("penultimate", "final")


class AnatomixUNet(UNet):
    """U-Net with 4 downsamplings and base width 16 whose activations hardly change with contrast.

    Official ``anatomix.pth`` files load into it unchanged (``load_state_dict(..., strict=True)``).

    Parameters
    ----------
    layer : {"penultimate", "final"}
        What :meth:`forward` returns. DropGen (Sec. 4) takes the penultimate convolutional block; the authors'
        released loop feeds the final layer. Both have ``base_width`` = 16 channels.
    """

    def __init__(
        self, in_channels: int = 1, out_channels: int = 16, base_width: int = 16, downsamplings: int = 4,
        layer: str = "penultimate",
    ):  # fmt: skip
        super().__init__(in_channels, out_channels, base_width, downsamplings)
        if layer not in LAYERS:
            raise ValueError(f"layer must be one of {LAYERS}, not {layer!r}")
        self.layer = layer
        self.feature_channels = base_width if layer == "penultimate" else out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map an image (B, 1, D, H, W) in [0, 1] to features (B, feature_channels, D, H, W)."""
        if self.layer == "final":
            return self.run(x, len(self.model))
        # the first convolution of the last decoder block: layer 59 of the published network, before its BatchNorm
        return self.run(x, self.skip_to[-1] + 2)
