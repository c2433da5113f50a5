"""Weights as their authors publish them: ``anatomix.pth`` and the checkpoints of DropGen's training loop."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import torch

from dropiris.errors import ModelError

# git's blob id of the official model-weights/anatomix.pth (MIT licence).
ANATOMIX_BLOB = "d13b2f335850a0a3a9042dcaf9a7181631098b80"
# Where training loops keep the weights inside a checkpoint dictionary, most specific first.
_NESTED = ("model_state_dict", "state_dict", "model", "net", "network")
# Wrappers that training puts in front of each name.
_WRAPPERS = ("module.", "_orig_mod.")


def read_published_weights(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """State dict of a published ``.pth``, with checkpoint nesting and wrapper prefixes taken off.

    The file is read with ``weights_only=True``: a checkpoint that needs to run code is refused.

    Raises
    ------
    ModelError
        If the file is missing, is no checkpoint or holds no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"There is no weights file {path}; check the path.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:
        raise ModelError(f"{path} is not a plain PyTorch weights file; download it again.") from problem
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = dict(content) if isinstance(content, Mapping) else {}
    if not tensors or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise ModelError(f"{path} holds no network weights; choose the file that the authors publish.")
    return {_bare(str(name)): value for name, value in tensors.items()}


def _bare(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.split(".", 1)[1]
    return name


def git_blob_id(path: str | os.PathLike[str]) -> str:
    """The id git gives a file's content: sha1("blob <size>\\0" + bytes). Compare with :data:`ANATOMIX_BLOB`."""
    content = Path(path).read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
