"""References aligned with a scan, or a scan's result with its references, on the device or else on the processor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from dropiris.inference.aligned_atlas import AlignedAtlas
from dropiris.inference.atlas import Atlas
from dropiris.inference.devices import Device, free_cache, is_out_of_memory
from dropiris.inference.registration import Step
from dropiris.intensity import IntensityRule
from dropiris.progress import CancelToken, Progress, ProgressCallback
from dropiris.volume import Volume

MOST = 3  # references that are aligned: each costs as much as a few windows
STAGE = "Aligning the reference"
T = TypeVar("T")
Align = Callable[[str, Step], AlignedAtlas | None]  # on a device, calling the step all along


def align_all(
    atlases: Sequence[Atlas], scan: Volume, rule: IntensityRule, device: Device,
    progress: ProgressCallback, cancel: CancelToken | None, until: float,
) -> list[AlignedAtlas]:  # fmt: skip
    """Those references, of :data:`MOST` evenly spread ones, that can be aligned with a scan.

    ``until`` is the progress when all is done.
    """

    def one(atlas: Atlas) -> Align:
        return lambda where, step: atlas.align(scan, rule, where, step)

    found = _each([one(atlas) for atlas in evenly(atlases)], device, progress, cancel, STAGE, (0.0, until))
    return [aligned for aligned in found if aligned is not None]


def align_back(
    result: Atlas, references: Sequence[Atlas], device: Device, progress: ProgressCallback, cancel: CancelToken | None,
    stage: str,
) -> list[tuple[Atlas, AlignedAtlas]]:  # fmt: skip
    """A scan with its result, aligned with those of :data:`MOST` evenly spread references where that is possible."""

    def one(reference: Atlas) -> Align:
        return lambda where, step: result.align_with(reference, where, step)

    chosen = evenly(references)
    found = _each([one(reference) for reference in chosen], device, progress, cancel, stage, (0.5, 0.95))
    return [(atlas, aligned) for atlas, aligned in zip(chosen, found, strict=True) if aligned is not None]


def evenly(many: Sequence[T]) -> list[T]:
    """At most :data:`MOST` of many, evenly spread: which ones does not change from scan to scan."""
    count = min(MOST, len(many))
    return [many[n * len(many) // count] for n in range(count)]


def _each(
    works: Sequence[Align], device: Device, progress: ProgressCallback, cancel: CancelToken | None, stage: str,
    share: tuple[float, float],
) -> list[AlignedAtlas | None]:  # fmt: skip
    # MPS has no trilinear sampling in three dimensions
    where = device.torch_device if device.torch_device.startswith("cuda") else "cpu"
    found: list[AlignedAtlas | None] = []

    def step() -> None:
        if cancel is not None:
            cancel.raise_if_cancelled()

    for n, work in enumerate(works):
        at = share[0] + (share[1] - share[0]) * n / len(works)
        progress(Progress(stage, at))
        try:
            found.append(work(where, step))
            continue
        except Exception as problem:
            if where == "cpu" or not is_out_of_memory(problem):
                raise
        # outside the handler, which would keep the failed call's tensors alive
        free_cache(where)
        message = f"Not enough memory on {where}; the reference is aligned on the processor, which is slower."
        progress(Progress(stage, at, message=message))
        where = "cpu"
        found.append(work(where, step))
    progress(Progress(stage, share[1]))
    return found
