"""What Iris looks at of a reference: windows around its structures, kept to check results against.

A task file holds no image, so that it can be passed on; these windows are parts of the patient's scan and stay where
the reference is.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dropiris.errors import InputError
from dropiris.inference.atlas import Atlas


@dataclass(frozen=True, eq=False)
class ReferenceWindow:
    """One window of a reference on its working grid.

    Attributes
    ----------
    image : Tensor (1, 1, D, H, W)
        Prepared intensities.
    masks : Tensor (K, D, H, W)
        Share of each voxel that the structure covers, 0 to 1; read from a file, rounded to 1/255.
    names : tuple of K str
        The structures this window is for.
    spacing : float
        Working voxel size, mm.
    """

    image: torch.Tensor
    masks: torch.Tensor
    names: tuple[str, ...]
    spacing: float


@dataclass(frozen=True, eq=False)
class SeenReference:
    """What is kept of a reference.

    Attributes
    ----------
    windows : sequence of ReferenceWindow
    own : mapping of str to float
        Dice with which its own embedding segments each structure in them: the best a result can be held to.
    atlas : Atlas, optional
        What aligns it with scans.
    """

    windows: Sequence[ReferenceWindow]
    own: Mapping[str, float]
    atlas: Atlas | None = None


def save_reference(seen: SeenReference, path: str | os.PathLike[str]) -> Path:
    """Write a ``.safetensors`` file in one step: 1 to 2 MB for each structure, and as much for the scan."""
    from safetensors.torch import save

    path = Path(path)
    tensors = {}
    for n, window in enumerate(seen.windows):
        tensors[f"image.{n}"] = window.image.half().contiguous()
        tensors[f"masks.{n}"] = (255 * window.masks).round().to(torch.uint8).contiguous()
    windows = [[list(window.names), window.spacing] for window in seen.windows]
    about = json.dumps(
        {"windows": windows, "own": dict(seen.own), "atlas": seen.atlas.names if seen.atlas else None},
        ensure_ascii=False,
    )
    if seen.atlas:
        tensors.update({f"atlas.{name}": tensor for name, tensor in seen.atlas.tensors().items()})
    work = path.with_name(f".{uuid.uuid4().hex[:8]}.tmp")
    try:
        work.write_bytes(save(tensors, metadata={"dropiris_reference": about}))
        os.replace(work, path)
    except OSError as problem:
        raise InputError(f"The reference cannot be kept as {path} ({problem.strerror}); free some space.") from None
    finally:
        work.unlink(missing_ok=True)
    return path


def load_reference(path: str | os.PathLike[str]) -> SeenReference:
    """Read what :func:`save_reference` wrote."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:  # closed at once: Windows cannot remove an open file
            about = json.loads(file.metadata()["dropiris_reference"])
            windows = [
                ReferenceWindow(
                    file.get_tensor(f"image.{n}").float(),
                    file.get_tensor(f"masks.{n}").float() / 255,
                    tuple(names),
                    float(spacing),
                )
                for n, (names, spacing) in enumerate(about["windows"])
            ]
            atlas = None
            if about["atlas"]:
                held = {key[6:]: file.get_tensor(key) for key in file.keys() if key.startswith("atlas.")}
                atlas = Atlas.from_tensors(held, tuple(map(str, about["atlas"])))
            return SeenReference(windows, {str(name): float(dice) for name, dice in about["own"].items()}, atlas)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"What was kept of the reference in {path} is missing or damaged; encode it again.") from None
