"""Segmenting volumes: devices, sliding window, DropGen's segmenter, Iris's task embeddings and strategies.

Importing this package (and :mod:`dropiris.inference.task_embedding`) needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WHERE = {
    "Device": "devices",
    "DropGenSegmenter": "dropgen_segmenter",
    "IrisSegmenter": "iris_segmenter",
    "TaskEmbedding": "task_embedding",
    "average": "task_embedding",
    "choose_device": "devices",
    "segment_with_strategy": "strategies",
}

__all__ = ["Device", "DropGenSegmenter", "IrisSegmenter", "TaskEmbedding", "average", "choose_device"]
__all__ += ["segment_with_strategy"]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
