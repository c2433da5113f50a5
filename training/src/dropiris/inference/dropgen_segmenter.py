"""DropGen on a whole scan: canonical grid, [image, stable features] per window, labels back on the scan's own grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from dropiris.errors import InputError
from dropiris.inference.decisions import largest_channel
from dropiris.inference.devices import Device, choose_device
from dropiris.inference.finer_labels import ScanGrid
from dropiris.inference.foreground import find_foreground
from dropiris.inference.loading import check_channels, check_window, load_extractor, load_network
from dropiris.inference.mirrored import mirrored_channels
from dropiris.inference.preparation import prepare
from dropiris.inference.sliding_window import Windows, label_type, pad_to_window, segment_windows
from dropiris.inference.upsampled_convolution import made_faster
from dropiris.models.bundle import Bundle
from dropiris.networks.unet import UNet
from dropiris.networks.views import views
from dropiris.progress import CancelToken, Progress, ProgressCallback, ignore_progress
from dropiris.volume import LabelMap, Structure, Volume


class DropGenScorer:
    """Predictor and extractor on a device, at its precision: windows (B, 1, D, H, W) to logits (B, 1 + K, D, H, W).

    With ``mirrored``, see :func:`~dropiris.inference.mirrored.mirrored_channels`, the mean of a window's logits and of
    those of the window mirrored left to right.
    """

    def __init__(
        self, predictor: nn.Module, extractor: nn.Module | None, channels: int, device: Device,
        mirrored: Sequence[int] | None = None,
    ):  # fmt: skip
        self.predictor, self.extractor, self.channels, self.mirrored = predictor, extractor, channels, mirrored
        self._place(device)

    def _place(self, device: Device) -> None:
        self.torch_device, self.dtype = device.torch_device, device.torch_dtype
        for network in (self.predictor, self.extractor):
            if network is not None:
                network.to(self.torch_device, self.dtype)
                network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    @torch.inference_mode()
    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        image = windows.to(self.torch_device, self.dtype)
        scores = self._scores(image)
        if self.mirrored is None:
            return scores
        return (scores + self._scores(image.flip(2))[:, list(self.mirrored)].flip(2)) / 2

    def _scores(self, image: torch.Tensor) -> torch.Tensor:
        z = views(self.extractor, image)
        scores: torch.Tensor = self.predictor(z.contiguous(memory_format=torch.channels_last_3d))
        return scores

    def to_cpu(self) -> None:
        self._place(choose_device("cpu"))


class DropGenSegmenter:
    """A DropGen model ready to segment.

    Parameters
    ----------
    bundle : Bundle
    device : str or Device
        See :func:`~dropiris.inference.devices.choose_device`.
    overlap, blending, batch
        See :class:`~dropiris.inference.sliding_window.Windows`; ``batch`` None takes 2 on a GPU, else 1.

    Raises
    ------
    ModelError
        If the bundle's weights and card do not fit each other.
    DeviceError
        If the device asked for does not work.
    """

    def __init__(
        self, bundle: Bundle, device: str | Device = "auto", overlap: float = 0.5, blending: str = "gaussian",
        batch: int | None = None,
    ):  # fmt: skip
        self.bundle, self.card = bundle, bundle.card
        self.device = choose_device(device) if isinstance(device, str) else device
        # channel n belongs to the n-th smallest label: the same number wherever labels are 1..K
        self.structures = sorted(self.card.structures, key=lambda s: s.label)
        tensors = bundle.tensors()
        predictor = load_network(bundle, self.card.network, tensors, "predictor.")
        extractor = load_extractor(bundle, tensors)
        if isinstance(predictor, UNet):
            check_channels(bundle, predictor.model[0].in_channels, extractor)  # type: ignore[arg-type]
            size = check_window(bundle, predictor.multiple, 2 * predictor.multiple)
            if type(predictor) is UNet:  # not one with a forward pass of its own
                predictor = made_faster(predictor, self.device.torch_device)
        else:
            size = self.card.window
        if isinstance(extractor, UNet):
            check_window(bundle, extractor.multiple, 2 * extractor.multiple)
            extractor = made_faster(extractor, self.device.torch_device)
        channels = 1 + len(self.structures)
        names = [s.name for s in self.structures]
        mirrored = mirrored_channels(f"The model {self.card.name!r}", names) if self.card.mirrored else None
        self.scorer = DropGenScorer(predictor, extractor, channels, self.device, mirrored)
        batch = batch or (1 if self.device.torch_device == "cpu" else 2)
        self.windows = Windows(size, overlap, blending, batch)

    def segment(
        self,
        volume: Volume,
        structures: Sequence[str] | None = None,
        progress: ProgressCallback = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> LabelMap:
        """Segment a scan on its own grid.

        Parameters
        ----------
        structures : sequence of str, optional
            Names to keep; the others still compete for voxels, so what is kept does not change.

        Raises
        ------
        InputError
            If the scan or a name cannot be used.
        Cancelled
            Within one batch of windows.
        """
        wanted = chosen(self.structures, structures)
        progress(Progress("Preparing the scan"))
        grid, image = prepare(volume, self.card.intensity_rule, self.card.spacing)
        padded, inside = pad_to_window(image, self.windows.size)
        found = np.zeros(volume.shape, label_type(self.scorer.channels))
        segment_windows(
            padded, self.scorer, largest_channel, self.windows, find_foreground(padded), progress, cancel, (0.02, 0.98),
            ScanGrid.of(grid, found, padded.shape, inside),
        )  # fmt: skip
        del image, padded
        progress(Progress("Placing the result on the scan", 0.98))
        labels = _numbered(found, self.structures, wanted)
        progress(Progress("Done", 1.0))
        return LabelMap(labels, volume.affine, tuple(wanted), volume.name)


def chosen(have: Sequence[Structure], names: Sequence[str] | None) -> list[Structure]:
    """The named structures (all when None), in the model's order."""
    if names is None:
        return list(have)
    unknown = [name for name in names if name not in {s.name for s in have}]
    if unknown or not names:
        known = ", ".join(s.name for s in have)
        what = f"Unknown structure {unknown[0]!r}" if unknown else "No structure is chosen"
        raise InputError(f"{what}; choose among: {known}.")
    return [replace(s) for s in have if s.name in set(names)]


def _numbered(channels: np.ndarray, structures: Sequence[Structure], wanted: Sequence[Structure]) -> np.ndarray:
    """Channel indices to the structures' labels; structures that are not wanted become background."""
    keep = {s.name for s in wanted}
    values = [0, *(s.label if s.name in keep else 0 for s in structures)]
    dtype = np.uint8 if max(s.label for s in structures) < 256 else np.uint16
    return np.array(values, dtype)[channels]
