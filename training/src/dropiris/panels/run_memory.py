"""How much of the computer's memory a run takes at its peak, from the arrays it holds: see the table in the tests."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

# Python with torch: 0.31 to 0.33 GB measured on Linux without CUDA, 40 MB to spare; with CUDA not measured, a guess.
_WORKER, _WORKER_WITH_CUDA = 370_000_000, 2_000_000_000
# The file's tensors, the network's own and reordered copies of them: 0.6 GB for 171 MB of float32.
_COPIES_OF_WEIGHTS = 4
# Float32 numbers per voxel of a window at the peak of a forward pass, measured on processors.
_MIND_PER_VOXEL, _UNET_PER_WIDTH, _IRIS_PER_WIDTH = 100, 4, 8
# As rolling_scores.HALF_ABOVE, which lies beside torch.
_HALF_ABOVE = 1_000_000_000


def run_memory(
    shape: Sequence[int], grid: Sequence[int], card: Any, device: str, classes: int = 1, weights_bytes: int = 0
) -> int:
    """Bytes at the peak of one run, worker and Slicer's share together.

    Parameters
    ----------
    shape : the scan's voxels
    grid : the model's, see :class:`~dropiris.geometry.CanonicalGrid`
    card : ModelCard
    device : str
        On a CUDA card the network and its scores take the card's memory, not the computer's.
    classes : int
        Iris: structures looked for.
    weights_bytes : int
        Size of the model's weights, those of features it shares too.
    """
    scan, model = prod(shape), prod(max(side, size) for side, size in zip(grid, card.window, strict=True))
    padded = 4 if any(side < size for side, size in zip(grid, card.window, strict=True)) else 0
    preparing = scan * 4 + prod(grid) * 4
    segmenting = model * (4 + padded + 1)
    placing = model * 2 + scan * 2
    on_card = device.startswith("cuda")
    if not on_card:
        segmenting += _scores(grid, card, classes) + _network(card)
    # The scan's file, mapped (4 bytes at most), stays throughout; Slicer then holds labels and segments.
    worker = (_WORKER_WITH_CUDA if on_card else _WORKER) + _COPIES_OF_WEIGHTS * weights_bytes
    return int(worker + scan * 4 + max(preparing, segmenting, placing + scan * 3))


def _scores(grid: Sequence[int], card: Any, classes: int) -> int:
    """The slab across the longest axis."""
    sides = [max(side, size) for side, size in zip(grid, card.window, strict=True)]
    along = sides.index(max(sides))
    sides[along] = card.window[along]
    channels = 1 + len(card.structures) if card.method == "dropgen" else classes
    size = channels * prod(sides) * 4
    return size // 2 if size > _HALF_ABOVE else size


def _network(card: Any) -> int:
    """One window's forward pass in float32; lower precisions take less."""
    width, channels = int(card.network.get("base_width", 32)), int(card.network.get("in_channels", 1))
    per_voxel = (channels + _UNET_PER_WIDTH * width) if card.method == "dropgen" else _IRIS_PER_WIDTH * width
    if card.extractor is not None and card.extractor.get("name") == "MIND-SSC":
        per_voxel = max(per_voxel, _MIND_PER_VOXEL)
    return prod(card.window) * per_voxel * 4
