"""The frozen extractor a training run asks for: descriptors without training, a file of weights, or one of your own."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from dropiris.errors import InputError
from dropiris.inference.loading import load_network
from dropiris.inference.upsampled_convolution import made_faster
from dropiris.models.bundle import CARD, Bundle
from dropiris.models.catalogue import Catalogue
from dropiris.networks import EXTRACTORS, MINDSSC, AnatomixUNet
from dropiris.networks.nninteractive import load_nninteractive
from dropiris.networks.published_weights import read_published_weights
from dropiris.train.dropgen_config import DropGenConfig
from dropiris.train.engine import TrainingRun
from dropiris.train.iris_config import IrisConfig

NNINTERACTIVE = "nnInteractive:"
_HALF = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def build_extractor(config: DropGenConfig | IrisConfig) -> nn.Module:
    """What ``config.extractor`` names, in evaluation mode, without gradients.

    ``MIND-SSC``; a bundle of features, by its folder or by the name of an installed or shipped one; a ``.pth`` or
    ``.safetensors`` file of anatomix weights, official or own; ``nnInteractive:FOLDER``; ``package.module:name`` of a
    class or function that returns a module with ``feature_channels``.

    Raises
    ------
    InputError
        Saying what the name could have been.
    ModelError
        The bundle that was named cannot be used.
    """
    name = config.extractor
    if name == "MIND-SSC":
        return MINDSSC().eval()
    if name.startswith(NNINTERACTIVE):
        return load_nninteractive(Path(name.removeprefix(NNINTERACTIVE)))
    path = Path(name)
    if path.is_file():
        return load_anatomix(path, config.extractor_layer)
    entries = [entry for entry in Catalogue().list() if entry.folder]
    folder = path if (path / CARD).is_file() else next((e.folder for e in entries if e.name == name), None)
    if folder is not None:
        return load_features(Bundle.open(folder), config.extractor_layer)
    if ":" in name:
        return _registered(name)
    here = [entry.name for entry in entries if entry.card and entry.card.method == "extractor"]
    known = ", ".join(sorted([*EXTRACTORS, *here]))
    raise InputError(
        f"Extractor {name!r} is neither weights, a file or a bundle of features, nor one of: {known}; correct the "
        "name, or give nnInteractive:FOLDER or package.module:name."
    )


def load_features(bundle: Bundle, layer: str = "penultimate") -> AnatomixUNet:
    """The anatomix network of a bundle of features, frozen, in evaluation mode."""
    if bundle.card.method != "extractor":
        raise InputError(f"{bundle.folder} is a {bundle.card.method} model; give a bundle of features as extractor.")
    network = load_network(bundle, {**bundle.card.network, "layer": layer}, bundle.tensors(), "extractor.")
    if not isinstance(network, AnatomixUNet):
        raise InputError(f"{bundle.folder} holds a {bundle.card.network['name']}; give features of anatomix.")
    return network


def _registered(name: str) -> nn.Module:
    """A user's own extractor; a bundle that names it can be used where the same module is registered."""
    module, _, attribute = name.partition(":")
    try:
        make: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as problem:
        raise InputError(f"The extractor {name} cannot be imported ({problem}); check package.module:name.") from None
    network = make()
    if not isinstance(network, nn.Module) or not isinstance(getattr(network, "feature_channels", None), int):
        raise InputError(f"The extractor {name} must make a torch module with a whole number feature_channels.")
    EXTRACTORS[name] = make
    return network.eval().requires_grad_(False)


def load_anatomix(path: Path, layer: str = "penultimate") -> AnatomixUNet:
    """The anatomix network with official or own weights, of any width and depth, frozen, in evaluation mode."""
    state = load_file(path) if path.suffix == ".safetensors" else read_published_weights(path)
    own = {name.removeprefix("extractor."): value for name, value in state.items()}  # as a bundle calls them
    try:
        return anatomix_of(own, layer)
    except InputError:
        raise InputError(f"{path} does not hold anatomix weights; give anatomix.pth.") from None


def anatomix_of(state: Mapping[str, torch.Tensor], layer: str = "penultimate") -> AnatomixUNet:
    """The anatomix network that these weights fit, whatever its width and depth, frozen, in evaluation mode."""
    try:
        kernels = {int(name.split(".")[1]): value for name, value in state.items() if value.ndim == 5}
        convolutions = [kernels[index] for index in sorted(kernels)]
        # 4 convolutions and 4 for each level (see UNet)
        depth = len(convolutions) // 4 - 1
        network = AnatomixUNet(
            1, convolutions[-1].shape[0], base_width=convolutions[0].shape[0], downsamplings=depth, layer=layer
        )
        network.load_state_dict(state, strict=True)
    except (RuntimeError, ValueError, IndexError):
        raise InputError("These are not the weights of an anatomix network; give those of one.") from None
    return network.eval().requires_grad_(False)


def anatomix_spec(network: AnatomixUNet) -> dict[str, Any]:
    """From which ``dropiris.networks.build_network`` builds the same network."""
    return {
        "name": "AnatomixUNet",
        "layer": network.layer,
        "out_channels": network.model[-1].out_channels,
        "base_width": network.model[0].out_channels,
        "downsamplings": len(network.skip_to),
    }


def extractor_spec(extractor: nn.Module, config: DropGenConfig | IrisConfig) -> dict[str, Any]:
    """``extractor`` of the model card, from which inference builds the same network."""
    if isinstance(extractor, AnatomixUNet):
        return anatomix_spec(extractor)
    if config.extractor.startswith(NNINTERACTIVE):
        return {"name": "nnInteractive", "architecture": extractor.architecture}
    return {"name": config.extractor}


class FrozenExtractor(nn.Module):
    """An extractor as fast as it runs in training: batch norm folded, at the run's precision.

    One core, anatomix on 64**3: 0.33 s instead of 0.81 s.
    """

    def __init__(self, extractor: nn.Module, run: TrainingRun):
        super().__init__()
        network: nn.Module = copy.deepcopy(extractor).eval().requires_grad_(False)
        self.dtype, self.precision = torch.float32, nullcontext
        if isinstance(network, AnatomixUNet):  # convolutions alone, once folded: no part of it needs float32
            self.dtype = _HALF.get(run.config.precision, torch.float32)
            network = made_faster(network, run.device.type).to(self.dtype)
        elif any(True for _ in network.parameters()):  # MIND-SSC has none; its differences need float32
            self.precision = run.fabric.autocast
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.network = run.fabric.to_device(network)

    dtype: torch.dtype
    precision: Callable[[], AbstractContextManager[Any]]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Image (B, 1, D, H, W) in [0, 1] to features (B, C, D, H, W)."""
        with self.precision():
            return self.network(image.to(self.dtype))


def frozen_copy(extractor: nn.Module, run: TrainingRun) -> FrozenExtractor:
    """The extractor on the run's device; the original stays as it is, for the bundle."""
    return FrozenExtractor(extractor, run)
