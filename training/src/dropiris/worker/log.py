"""The worker's live log: what it and its libraries printed, for the panel to show and copy."""

from __future__ import annotations

import threading
from collections import deque


class Log:
    """The last lines the worker and its libraries printed, bounded in number and length."""

    def __init__(self, lines: int = 2000, width: int = 2000) -> None:
        self._lines: deque[str] = deque(maxlen=lines)
        self._width = width
        self._lock = threading.Lock()

    def add(self, line: str) -> None:
        with self._lock:
            self._lines.append(line.rstrip()[: self._width])

    def text(self) -> str:
        with self._lock:
            return "\n".join(self._lines)

    def last(self) -> str:
        """The last line that is not empty, or ""."""
        with self._lock:
            return next((line.strip() for line in reversed(self._lines) if line.strip()), "")
