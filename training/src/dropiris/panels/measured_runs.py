"""What runs took on this machine: the only honest source of how long the next one will take."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dropiris.models.folders import installed_folder
from dropiris.progress import Progress

_FILE = "measured-runs.json"
# Stages that only a worker that was not there yet, or another model, goes through.
_WARMING = ("Starting the worker", "Loading PyTorch", "Loading the model")


@dataclass(frozen=True)
class Speed:
    """How fast one model ran on one device.

    Attributes
    ----------
    per_window : float
        Seconds per window of the sliding window.
    around : float
        Seconds of a run outside the windows (scan in, result out), the model loaded.
    loading : float or None
        Seconds that starting the worker and loading the model took; None until seen.
    """

    per_window: float
    around: float
    loading: float | None = None


class RunWatch:
    """Looks on while a run reports its progress, and knows afterwards what took how long."""

    def __init__(self, now: float | None = None) -> None:
        self._began = self._last = time.monotonic() if now is None else now
        self._stage = ""
        self._loading = self._windows_seconds = 0.0
        self._windows = self._tile = 0

    def see(self, progress: Progress, now: float | None = None) -> None:
        """Take note of a step; ``now`` in seconds of any clock that only goes forward."""
        now = time.monotonic() if now is None else now
        # Time up to this step belongs to what was reported last.
        if self._stage.endswith(_WARMING):  # a queue puts the scan before it
            self._loading += now - self._last
        if progress.tiles:
            if progress.tile > self._tile:
                self._windows += progress.tile - self._tile
                self._windows_seconds += now - self._last
            # A second pass (Iris, another working voxel size) counts from the start.
            self._tile = progress.tile
        self._stage, self._last = progress.stage, now

    def speed(self, now: float | None = None) -> Speed | None:
        """What this run showed; None when it did not get as far as a window."""
        now = time.monotonic() if now is None else now
        if not self._windows:
            return None
        around = max(0.0, now - self._began - self._loading - self._windows_seconds)
        return Speed(self._windows_seconds / self._windows, around, self._loading or None)


class MeasuredRuns:
    """Speeds by model and device, kept in a small file beside the user's own models.

    Parameters
    ----------
    path : Path, optional
        Where they are kept. A file that cannot be read or written costs the memory, never the run.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or installed_folder().parent / _FILE
        self._speeds: dict[str, Speed] | None = None

    def speed(self, card: Any, device: str) -> Speed | None:
        """The last run's speed of this model on this device, or None."""
        return self._all().get(_key(card, device))

    def remember(self, card: Any, device: str, speed: Speed | None) -> None:
        """Keep what a finished run showed (``RunWatch.speed()``; None is ignored)."""
        if speed is None:
            return
        key, speeds = _key(card, device), self._all()
        before = speeds.get(key)
        if speed.loading is None and before is not None:
            speed = replace(speed, loading=before.loading)
        speeds[key] = speed
        self._write(speeds)

    def _all(self) -> dict[str, Speed]:
        if self._speeds is None:
            try:
                rows = json.loads(self._path.read_text(encoding="utf-8"))
                self._speeds = {str(key): Speed(**row) for key, row in rows.items()}
            except (OSError, ValueError, TypeError, AttributeError):
                self._speeds = {}  # none yet, or of another version: the next run measures again
        return self._speeds

    def _write(self, speeds: dict[str, Speed]) -> None:
        work = self._path.with_name(f".{self._path.name}.{os.getpid()}.partial")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            rows = {key: asdict(speed) for key, speed in speeds.items()}
            work.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
            work.replace(self._path)
        except OSError:
            # A read-only home: this session still remembers.
            with contextlib.suppress(OSError):
                work.unlink(missing_ok=True)


def _key(card: Any, device: str) -> str:
    return f"{card.name} {card.version} on {device}"
