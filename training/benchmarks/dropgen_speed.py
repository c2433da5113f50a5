"""DropGen on one window: the published networks as they are, a straightforward bfloat16 version, and ours."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import torch
from figure import Figure
from sizes import Sizes, network_in_words
from stopwatch import median, seconds_of
from torch import nn

from dropiris.inference.devices import Device
from dropiris.inference.dropgen_segmenter import DropGenScorer
from dropiris.inference.upsampled_convolution import made_faster
from dropiris.networks import build_network
from dropiris.networks.views import views

# On two AMX cores the straightforward version takes 2.6 s, the float32 form 14 s; without AMX no one gets 0.19.
_NOTE = "Two AMX cores, for comparison: 2.6 s straightforward bfloat16, 14 s float32."


def dropgen_speed(sizes: Sizes, device: Device, runs: int) -> list[Figure]:
    """Seconds per window: float32, straightforward half precision, ours, and ours with the image alone."""
    where = device.torch_device
    image = torch.rand(1, 1, *(sizes.window,) * 3)
    about = network_in_words(build_network(sizes.predictor), sizes.predictor)
    about += " + " + network_in_words(build_network(sizes.extractor), sizes.extractor)
    plain = seconds_of(_published(sizes, image, where, None), runs, where)
    simple = seconds_of(_published(sizes, image, where, _half(device)), runs, where)
    ours = seconds_of(_ours(sizes, image, device, features=True), runs, where)
    ours_plain = seconds_of(_ours(sizes, image, replace(device, dtype="float32"), features=True), runs, where)
    alone = seconds_of(_ours(sizes, image, device, features=False), runs, where)
    float32 = median(plain)
    window = f"{sizes.window}³ window"
    return [
        Figure("dropgen.float32", f"{window}, published networks, float32", float32, "s", runs=plain, note=about),
        Figure(
            "dropgen.straightforward", f"{window}, autocast and channels_last ({_half(device)})", median(simple), "s",
            median(simple) / float32, "float32", runs=simple, note=_NOTE,
        ),
        Figure(
            "dropgen.ours_float32", f"{window}, ours, float32", median(ours_plain), "s",
            median(ours_plain) / float32, "float32", 1.0, ours_plain,
        ),
        Figure(
            "dropgen.ours", f"{window}, ours, {device.dtype}", median(ours), "s",
            median(ours) / median(simple), "straightforward", 1.0, ours,
            details={"of_float32": median(ours) / float32},
        ),
        Figure("dropgen.image_only", f"{window}, ours, {device.dtype}, image only", median(alone), "s", runs=alone),
        Figure(
            "dropgen.overhead", "DropGen beyond the image alone", median(ours) - median(alone), "s",
            median(ours) / median(alone), "image only",
        ),
    ]  # fmt: skip


def _half(device: Device) -> str:
    """The half precision of the straightforward version: the device's own, bfloat16 where ours stays in float32."""
    return device.dtype if device.dtype != "float32" else "bfloat16"


def _networks(sizes: Sizes) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return build_network(sizes.predictor).eval(), build_network(sizes.extractor).eval()


def _published(sizes: Sizes, image: torch.Tensor, where: str, half: str | None):
    """The published networks in float32, or under autocast in channels_last."""
    layout = torch.contiguous_format if half is None else torch.channels_last_3d
    predictor, extractor = (network.to(where).to(memory_format=layout) for network in _networks(sizes))
    image = image.to(where)

    @torch.inference_mode()
    def run() -> torch.Tensor:
        precision = contextlib.nullcontext()
        if half is not None:
            precision = torch.autocast(torch.device(where).type, getattr(torch, half))
        with precision:
            return predictor(views(extractor, image).contiguous(memory_format=layout))

    return run


def _ours(sizes: Sizes, image: torch.Tensor, device: Device, features: bool):
    """As the segmenter runs them."""
    predictor, extractor = _networks(sizes)
    if not features:
        extractor = None
        predictor = build_network({**sizes.predictor, "in_channels": 1}).eval()
    if extractor is not None:
        extractor = made_faster(extractor, device.torch_device)
    predictor = made_faster(predictor, device.torch_device)
    scorer = DropGenScorer(predictor, extractor, sizes.predictor["out_channels"], device)
    return lambda: scorer(image)
