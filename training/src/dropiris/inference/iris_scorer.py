"""Iris on a device: windows to task features, task embeddings and logits."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
from torch import nn

from dropiris.inference.devices import Device, choose_device
from dropiris.networks.iris import Iris
from dropiris.networks.iris_encoder import ImageFeatures
from dropiris.networks.iris_place import Place
from dropiris.networks.views import iris_input


class IrisScorer:
    """Network, extractor and the tokens in use: windows (B, 1, D, H, W) to logits (B, K, D, H, W).

    Attributes
    ----------
    tokens : Tensor (1, K, tokens, C)
        What is looked for; see :meth:`look_for`.
    """

    def __init__(self, iris: Iris, extractor: nn.Module | None, device: Device):
        self.iris, self.extractor = iris, extractor
        self.channels = 0
        self.tokens = torch.zeros(1, 0, iris.tokens, iris.task_channels)
        self._place(device)

    def _place(self, device: Device) -> None:
        self.torch_device, self.dtype = device.torch_device, device.torch_dtype
        for network in (self.iris, self.extractor):
            if network is not None:
                network.to(self.torch_device)
        self.tokens = self.tokens.to(self.torch_device)

    def to_cpu(self) -> None:
        self._place(choose_device("cpu"))

    def look_for(self, tokens: torch.Tensor) -> None:
        """Take the tokens (K, tokens, C) of the structures to segment from now on."""
        self.tokens = tokens.to(self.torch_device)[None]
        self.channels = len(tokens)

    def precision(self) -> contextlib.AbstractContextManager[object]:
        """Convolutions and attention at the device's precision; norms and prototypes stay in float32."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self.torch_device).type, self.dtype)

    def features(self, windows: torch.Tensor) -> ImageFeatures:
        """Encode windows (B, 1, D, H, W), float32 on the CPU.

        In the default layout: instance norm undoes channels_last after every convolution, and copying back makes a
        64**3 window take 0.49 s instead of 0.34 s (one core, bfloat16).
        """
        windows = windows.to(self.torch_device)
        with self.precision():
            return self.iris.encode_image(iris_input(windows, self.extractor))

    @torch.inference_mode()
    def encode(self, window: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """A reference's window (1, 1, D, H, W) and masks (K, D, H, W) to tokens (K, tokens, C) on the CPU."""
        features = self.features(window)
        with self.precision():
            task = self.iris.encode_task(features, masks.to(self.torch_device)[None])
        return task[0].float().cpu()

    @torch.inference_mode()
    def __call__(self, windows: torch.Tensor, places: Sequence[Place] | None = None) -> torch.Tensor:
        """Windows (B, 1, D, H, W), and where aligned references have the structures of each, to logits."""
        features = self.features(windows)
        place = Place.batch(places, self.torch_device) if places else None
        with self.precision():
            return self.iris.decode(features, self.tokens.expand(len(windows), -1, -1, -1), place)
