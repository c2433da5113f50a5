"""Before a run: how long it will take and how much memory it needs, or that it cannot be known yet."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dropiris.errors import InputError
from dropiris.geometry import CanonicalGrid
from dropiris.inference.window_grid import window_count
from dropiris.models.bundle import WEIGHTS
from dropiris.panels.computer_memory import ComputerMemory
from dropiris.panels.measured_runs import MeasuredRuns
from dropiris.panels.run_memory import run_memory

SLOW = "The processor is used, which is slow."


@dataclass(frozen=True)
class Estimate:
    """What is known of a run before it starts.

    Attributes
    ----------
    seconds : float or None
        None until a run of this model on this device was measured here.
    sentence : str
        For the panel: "at most about 40 s, 12 windows".
    memory_bytes : int
        Of the computer's memory, at the run's peak.
    windows : int
        Of the sliding window, air included (air is skipped, so it is an upper bound).
    warning : str
        Memory may be short, or the processor will take long; one sentence or "".
    refusal : str
        Why the run must not be started: memory is clearly not enough; one sentence or "".
    """

    seconds: float | None
    sentence: str
    memory_bytes: int
    windows: int
    warning: str = ""
    refusal: str = ""


def estimate(
    shape: Sequence[int],
    spacing: Sequence[float],
    card: Any,
    device: str,
    measured: MeasuredRuns | None = None,
    *,
    affine: np.ndarray | None = None,
    working_spacings: Sequence[float] | None = None,
    structures: int = 1,
    scans: int = 1,
    weights_bytes: int = 0,
    warm: bool = True,
    memory: ComputerMemory | None = None,
) -> Estimate:
    """Estimate one run.

    Parameters
    ----------
    shape, spacing : of the scan, voxels and mm
    card : ModelCard
    device : str
        As the worker reports it ("cuda:0", "cpu"); the wish ("auto") while nothing is reported yet.
    measured : MeasuredRuns, optional
        Speeds of earlier runs; without it the time is unknown.
    affine : ndarray (4, 4), optional
        Of the scan, mm. Without it its axes are taken to be R, A, S; windows with unequal sides are then miscounted
        a little.
    working_spacings : sequence of float, optional
        Iris: voxel size (mm) of each pass, as the references ask for. Unknown, one pass at the scan's own finest
        voxel size is assumed for memory, and no time is promised.
    structures : int
        Iris: how many are looked for.
    scans : int
        How many like this one are segmented in a row.
    weights_bytes : int
        Size of the model's weights, shared features too; a compact model's is too small to matter.
    warm : bool
        Whether the worker runs and holds this model already.
    memory : ComputerMemory, optional
        By default this computer's, now.

    Raises
    ------
    InputError
        The scan's size and voxel size cannot be those of a scan.
    """
    geometry = np.diag([*spacing, 1.0]) if affine is None else np.asarray(affine, float)
    grids = _grids(shape, geometry, card, working_spacings)
    windows = sum(window_count(grid, card.window) for grid in grids) * scans
    needed = max(run_memory(shape, grid, card, device, structures, weights_bytes) for grid in grids)
    known = measured.speed(card, device) if measured is not None else None
    if card.method == "iris" and working_spacings is None:
        known = None
    seconds = None
    if known is not None:
        seconds = windows * known.per_window + scans * known.around + (0.0 if warm else known.loading or 0.0)
    slow = device == "cpu" and (seconds is None or seconds > 60)
    refusal, short = _memory_in_words(needed, memory or ComputerMemory.now())
    warnings = [short, SLOW if slow else ""]
    return Estimate(
        seconds, _sentence(seconds, windows), needed, windows, " ".join(filter(None, warnings)), refusal
    )  # fmt: skip


def weights_bytes(*folders: Path | None) -> int:
    """Size of the weights of a bundle and of features it shares; 0 for what cannot be read: the run will say so."""
    size = 0
    for folder in folders:
        with suppress(OSError):
            size += (Path(folder) / WEIGHTS).stat().st_size if folder is not None else 0
    return size


def seconds_in_words(seconds: float) -> str:
    """As exact as an estimate can be: "under a second", "about 40 s", "about 12 min", "about 2.5 h"."""
    if seconds < 1:
        return "under a second"
    if seconds < 100:
        return f"about {seconds:.0f} s" if seconds < 20 else f"about {round(seconds, -1):.0f} s"
    if seconds < 5400:
        return f"about {max(2, round(seconds / 60))} min"
    return f"about {seconds / 3600:.1f} h"


def bytes_in_words(count: float) -> str:
    """ "2 MB", "350 MB", "2.4 GB"."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{round(count / 1e7) * 10} MB" if count >= 1e8 else f"{max(1, round(count / 1e6))} MB"


def _grids(
    shape: Sequence[int], affine: np.ndarray, card: Any, working: Sequence[float] | None
) -> list[tuple[int, ...]]:
    """Shape of the model's grid in each pass."""
    if card.method == "iris" and card.spacing is None:
        own = np.linalg.norm(affine[:3, :3], axis=0)
        # As structure_spacing: finer than the scan's best axis shows nothing new.
        sizes = sorted(set(working)) if working else [max(0.5, 0.9 * float(own.min()))]
        return [CanonicalGrid.over(shape, affine, (size,) * 3).shape for size in sizes]
    return [CanonicalGrid.over(shape, affine, card.spacing).shape]


def _sentence(seconds: float | None, windows: int) -> str:
    parts = f"{windows} window{'s' if windows > 1 else ''}"
    if seconds is None:
        return f"time not known before a first run here ({parts})"
    # Windows in air are counted here and skipped there.
    most = "at most " if windows > 8 and seconds >= 1 else ""
    return f"{most}{seconds_in_words(seconds)}"


def _memory_in_words(needed: int, memory: ComputerMemory) -> tuple[str, str]:
    """Refusal and warning."""
    if memory.total is not None and needed > memory.total:
        sizes = f"about {bytes_in_words(needed)} of memory and this computer has {bytes_in_words(memory.total)}"
        return f"This scan needs {sizes}; crop it (Crop Volume module) or use a computer with more.", ""
    if memory.available is not None and needed > memory.available:
        sizes = f"about {bytes_in_words(needed)} and {bytes_in_words(memory.available)} are free"
        return "", f"Memory may be short: this scan needs {sizes}; close other programs or crop the scan."
    return "", ""


def refuse(estimated: Estimate) -> None:
    """Raise the refusal as :class:`InputError`, if there is one."""
    if estimated.refusal:
        raise InputError(estimated.refusal)
