"""The one seam between the training loop and what is compared: batch, network, input, forward pass, loss, bundle."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn

from dropiris.networks import UNet
from dropiris.train.dropgen_config import DropGenConfig
from dropiris.train.segmentation_loss import segmentation_loss

State = dict[str, torch.Tensor]


class Method(Protocol):
    """What a training method may change of a step; each changes one or two of these and inherits the rest of ERM.

    Attributes
    ----------
    dropout : float
        Probability of dropping each input channel, in the loop's ``dropout3d``.
    """

    dropout: float

    def network(self, channels: int, classes: int, extractor: nn.Module | None) -> nn.Module:
        """The predictor that is trained, for ``channels`` of z and ``classes`` with background."""
        ...

    def batch(self, image: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Change images (B, 1, D, H, W) in [0, 1] and labels (B, 1, D, H, W); labels may become shares of classes."""
        ...

    def views(self, z: torch.Tensor) -> torch.Tensor:
        """Change z = [x, s] (B, C, D, H, W) after channel dropout."""
        ...

    def forward(self, network: nn.Module, z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Logits (B, classes, D, H, W)."""
        ...

    def loss(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The scalar that is minimised."""
        ...

    def bundle(self, state: State) -> tuple[dict[str, Any], State]:
        """``network`` of the model card and its weights: what inference builds, which sees z as it is."""
        ...


class ERM:
    """Empirical risk minimisation (Vapnik 1999): the image alone, unchanged. Every other method starts from it."""

    dropout = 0.0

    def __init__(self, config: DropGenConfig):
        self.config = config

    def network(self, channels: int, classes: int, extractor: nn.Module | None) -> nn.Module:
        self.channels, self.classes = channels, classes
        return UNet(channels, classes, self.config.base_width, self.config.downsamplings)

    def batch(self, image: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return image, target

    def views(self, z: torch.Tensor) -> torch.Tensor:
        return z

    def forward(self, network: nn.Module, z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return network(z)

    def loss(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return segmentation_loss(logits, target, balance=self.config.balance)

    def bundle(self, state: State) -> tuple[dict[str, Any], State]:
        return self.spec("UNet", self.channels), state

    def spec(self, name: str, channels: int) -> dict[str, Any]:
        """``network`` of a model card."""
        return {
            "name": name,
            "in_channels": channels,
            "out_channels": self.classes,
            "base_width": self.config.base_width,
            "downsamplings": self.config.downsamplings,
        }


class DropGen(ERM):
    """DropGen (Diaz et al.; also MaskGen): the loop's channel dropout on [image, stable features] is all of it."""

    def __init__(self, config: DropGenConfig):
        super().__init__(config)
        self.dropout = config.dropout

    @torch.no_grad()
    def network(self, channels: int, classes: int, extractor: nn.Module | None) -> nn.Module:
        """The first kernels of the image start ``image_gain`` times as large.

        x has a deviation of about 0.2 and each of 16 features one of 1: at first the image is a thousandth of what the
        network sees, and beside features that are smooth it learns no edges for a long time.
        """
        network = super().network(channels, classes, extractor)
        network.get_parameter("model.0.weight")[:, 0] *= self.config.image_gain
        return network
