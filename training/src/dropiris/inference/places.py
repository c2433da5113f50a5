"""Where aligned references have the structures of one pass, window by window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch

from dropiris.geometry import CanonicalGrid
from dropiris.inference.atlas import AlignedAtlas, Atlas
from dropiris.inference.devices import Device, free_cache, is_out_of_memory
from dropiris.intensity import IntensityRule
from dropiris.networks.iris_place import NOWHERE
from dropiris.progress import CancelToken, Progress, ProgressCallback
from dropiris.volume import Volume

MOST = 3  # references that are aligned: each costs as much as a few windows
T = TypeVar("T")
STAGE = "Aligning the reference"


def align_all(
    atlases: Sequence[Atlas], scan: Volume, rule: IntensityRule, device: Device,
    progress: ProgressCallback, cancel: CancelToken | None, until: float,
) -> list[AlignedAtlas]:  # fmt: skip
    """Those references, of :data:`MOST` evenly spread ones, that can be aligned with a scan.

    ``until`` is the progress when all is done.
    """
    chosen = evenly(atlases)
    count = len(chosen)
    # MPS has no trilinear sampling in three dimensions
    where = device.torch_device if device.torch_device.startswith("cuda") else "cpu"
    found = []
    for n, atlas in enumerate(chosen):
        progress(Progress(STAGE, until * n / count))

        def step() -> None:
            if cancel is not None:
                cancel.raise_if_cancelled()

        try:
            found.append(atlas.align(scan, rule, where, step))
            continue
        except Exception as problem:
            if where == "cpu" or not is_out_of_memory(problem):
                raise
        # outside the handler, which would keep the failed call's tensors alive
        free_cache(where)
        message = f"Not enough memory on {where}; the reference is aligned on the processor, which is slower."
        progress(Progress(STAGE, until * n / count, message=message))
        where = "cpu"
        found.append(atlas.align(scan, rule, where, step))
    progress(Progress(STAGE, until))
    return [aligned for aligned in found if aligned is not None]


def evenly(many: Sequence[T]) -> list[T]:
    """At most :data:`MOST` of many, evenly spread: which ones does not change from scan to scan."""
    count = min(MOST, len(many))
    return [many[n * len(many) // count] for n in range(count)]


@dataclass(frozen=True, eq=False)
class Places:
    """For windows of one padded image on a model's grid.

    Attributes
    ----------
    atlases : sequence of AlignedAtlas
    names : sequence of K str
    grid : CanonicalGrid
    before : sequence of 3 int
        Voxels of padding before the grid.
    size : tuple of 3 int
        Of a window.
    """

    atlases: Sequence[AlignedAtlas]
    names: Sequence[str]
    grid: CanonicalGrid
    before: Sequence[int]
    size: tuple[int, int, int]

    @cached_property
    def _known(self) -> list[tuple[AlignedAtlas, list[int], tuple[torch.Tensor, torch.Tensor]]]:
        """Atlases that have any of the structures: which, and their masks."""
        spacing, known = float(self.grid.spacing.mean()), []
        for one in self.atlases:
            rows = [n for n, name in enumerate(self.names) if name in one.atlas.names]
            if rows:
                known.append((one, rows, one.masks([self.names[n] for n in rows], spacing)))
        return known

    def __call__(self, start: tuple[int, int, int]) -> torch.Tensor:
        """Share (K, D, H, W) of each voxel, 0..1, of the window that begins there: the mean of all references.

        :data:`~dropiris.networks.iris_place.NOWHERE` for a structure that none has.
        """
        corner = (np.array(start) - np.array(self.before)) * self.grid.spacing
        sums = torch.zeros(len(self.names), *self.size)
        weights = torch.zeros(len(self.names))
        for one, rows, masks in self._known:
            share = one.places(masks, self.size, self.grid.spacing.tolist(), corner.tolist()).cpu()
            sums[rows] += one.likeness * _as_sure(share, one.likeness)
            weights[rows] += one.likeness
        mean = sums / weights.clamp(min=1e-6)[:, None, None, None]
        mean[weights == 0] = NOWHERE
        return mean


def _as_sure(share: torch.Tensor, likeness: float) -> torch.Tensor:
    """Nearer to one half, the less an alignment is believed."""
    return share if likeness == 1 else 0.5 + likeness * (share - 0.5)
