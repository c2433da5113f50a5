"""The one progress callback and the one cancel token every long operation takes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from dropiris.errors import Cancelled


@dataclass(frozen=True)
class Progress:
    """One step of a running operation.

    Attributes
    ----------
    stage : str
        What is being done, as a user would say it ("Loading the model", "Segmenting", ...).
    fraction : float
        Share of the whole operation that is done, 0 to 1.
    tile, tiles : int
        Window i of N while segmenting; 0 of 0 elsewhere.
    message : str
        A remark worth keeping in the log (a fallback taken, a reference skipped), or "".
    """

    stage: str
    fraction: float = 0.0
    tile: int = 0
    tiles: int = 0
    message: str = ""


ProgressCallback = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """The callback of a caller who does not ask for progress."""


class CancelToken:
    """Set once by whoever wants to stop; checked by whoever does the work."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        self._event.set()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def raise_if_cancelled(self) -> None:
        """Raise :class:`~dropiris.errors.Cancelled` once :meth:`cancel` was called."""
        if self._event.is_set():
            raise Cancelled()
