"""What stays warm between requests: torch, the last models and the task embeddings."""

from __future__ import annotations

import gc
import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

from dropiris.errors import DeviceError, InputError, ModelError
from dropiris.progress import Progress, ProgressCallback

# One DropGen and one Iris model; a 4 GB card has no room for more.
MODELS_KEPT = 2
# A few hundred kB each.
TASKS_KEPT = 64


class Session:
    """Models and task embeddings by what identifies their content, the least recently used ones dropped."""

    def __init__(self) -> None:
        self._models: OrderedDict[Hashable, Any] = OrderedDict()
        self._tasks: OrderedDict[Hashable, Any] = OrderedDict()

    def segmenter(self, method: str, folder: str, device: str, progress: ProgressCallback) -> Any:
        """The ``"dropgen"`` or ``"iris"`` segmenter of the bundle in ``folder``, loaded once per content and device."""
        load_torch(progress)
        where = Path(folder)
        key = (method, str(where), _state(where / "model.json"), _state(where / "weights.safetensors"), device)

        def load() -> Any:
            progress(Progress("Loading the model"))
            from dropiris.inference import DropGenSegmenter, IrisSegmenter
            from dropiris.models.bundle import Bundle

            kind = {"dropgen": DropGenSegmenter, "iris": IrisSegmenter}[method]
            bundle = Bundle.open(where)
            if bundle.card.method != method:
                made_for = f"{bundle.card.name} is made for {bundle.card.method}, not {method}"
                raise ModelError(f"{made_for}; choose another model.")
            return kind(bundle, device)

        if key in self._models and _moved(self._models[key]):
            # Memory was short once and it went on with the processor; the next request tries its device again.
            del self._models[key]
            free_memory()
        return self._kept(self._models, key, MODELS_KEPT, load)

    def task(self, path: str, progress: ProgressCallback) -> Any:
        """The task embedding saved in ``path``."""
        load_torch(progress)

        def load() -> Any:
            from dropiris.inference import TaskEmbedding

            if not Path(path).is_file():
                raise InputError(f"The task embedding {path} does not exist; encode the reference again.")
            return TaskEmbedding.load(Path(path))

        return self._kept(self._tasks, (path, _state(Path(path))), TASKS_KEPT, load)

    def clear(self) -> None:
        """Drop the models, so that their memory is free before the next try."""
        self._models.clear()
        free_memory()

    def _kept(self, kept: OrderedDict[Hashable, Any], key: Hashable, limit: int, load: Callable[[], Any]) -> Any:
        if key not in kept:
            # Make room first: both models at once is what a small card cannot hold.
            while len(kept) >= limit:
                kept.popitem(last=False)
                free_memory()
            kept[key] = load()
        kept.move_to_end(key)
        return kept[key]


def load_torch(progress: ProgressCallback) -> Any:
    """Import torch, which takes seconds the first time, or :class:`DeviceError` saying how to get it."""
    if "torch" not in sys.modules:
        progress(Progress("Loading PyTorch"))
    try:
        import torch
    except ImportError as error:
        raise DeviceError(f"PyTorch cannot be loaded ({error}); install it, then try again.") from error
    return torch


def free_memory() -> None:
    """Give memory of dropped models back to the system and the graphics card."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _moved(segmenter: Any) -> bool:
    """Whether a segmenter left the device it was made for."""
    return segmenter.scorer.torch_device != segmenter.device.torch_device


def _state(path: Path) -> tuple[int, int]:
    """Modification time (ns) and size: another file under the same name is another model."""
    try:
        about = os.stat(path)
    except OSError:
        return (0, 0)
    return (about.st_mtime_ns, about.st_size)
