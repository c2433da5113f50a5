"""``--init-from``: start from a bundle, a checkpoint of a run or a file of weights instead of from random ones."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from dropiris.errors import InputError
from dropiris.models.bundle import Bundle
from dropiris.train.checkpoint import read_checkpoint

log = logging.getLogger("dropiris.train")

# What the networks' tensors are called in a bundle; an extractor's are the network's only where there is no other.
_PREFIXES = ("predictor.", "iris.", "extractor.")


def initialise(network: nn.Module, source: Path) -> list[str]:
    """Load every weight that fits by name and shape; return the names of the network's that stay random.

    A last layer for another number of structures does not fit and is trained anew. A first layer with more inputs,
    features beside the image, takes the weights of the inputs there were; those of the others start at 0, so the
    network starts as what it was.

    Raises
    ------
    InputError
        The source cannot be read, or nothing in it fits.
    """
    given = read_weights(source)
    own = network.state_dict()
    fitting = {key: value for key, value in given.items() if key in own and own[key].shape == value.shape}
    wider = {
        key: _widened(own[key], value) for key, value in given.items() if key in own and _is_wider(own[key], value)
    }
    if not any(key in fitting for key, _ in network.named_parameters()):
        raise InputError(f"{source} holds no weights that fit this network; give a model of the same kind and width.")
    network.load_state_dict(fitting | wider, strict=False)
    left = [key for key, _ in network.named_parameters() if key not in fitting and key not in wider]
    log.info(f"{source}: {len(fitting) + len(wider)} of {len(own)} tensors taken; random: {', '.join(left) or 'none'}")
    return left


def _is_wider(own: torch.Tensor, given: torch.Tensor) -> bool:
    """Whether a convolution (outputs, inputs, ...) is the given one with more inputs."""
    alike = own.ndim == given.ndim == 5 and own.shape[0] == given.shape[0] and own.shape[2:] == given.shape[2:]
    return alike and own.shape[1] > given.shape[1]


def _widened(own: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    return torch.cat([given.to(own.dtype), torch.zeros_like(own[:, given.shape[1] :])], dim=1)


def read_weights(source: Path) -> dict[str, torch.Tensor]:
    """Tensors by the network's own names, from a bundle folder, a ``.safetensors`` or a ``.pt`` of a run."""
    if source.is_dir():
        return _unprefixed(Bundle.open(source).tensors())
    if not source.is_file():
        raise InputError(f"init_from={source} is neither a bundle nor a file; check the path.")
    if source.suffix == ".safetensors":
        try:
            return _unprefixed(load_file(source))
        except (SafetensorError, OSError) as problem:
            raise InputError(f"{source} cannot be read ({problem}); copy or export it again.") from None
    state = read_checkpoint(source)
    for key in ("averaged", "network", "model_state_dict", "state_dict"):
        if isinstance(state.get(key), dict):
            return dict(state[key])
    return _unprefixed({key: value for key, value in state.items() if isinstance(value, torch.Tensor)})


def _unprefixed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    for prefix in _PREFIXES:
        named = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        if named:
            return named
    return tensors
