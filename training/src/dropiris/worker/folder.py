"""The private temporary folder: short, ASCII, removed at the end, and after a crash by the next client."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from dropiris.errors import WorkerError

PREFIX = "dropiris-"
_LOCK = "lock"
# A folder that is being made has no lock for a moment; none needs an hour for that.
_UNLOCKED_AGE = 3600.0


class PrivateFolder:
    """A folder that belongs to this client alone, marked as in use by a lock the system drops with the process.

    The lock, not the process number in the name, decides what is stale: numbers are reused, and two
    containers that share one temporary folder do not see each other's processes.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self.parent = Path(parent or tempfile.gettempdir()).absolute()
        try:
            self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=self.parent))
            self._lock: int | None = _lock(self.path / _LOCK)
        except OSError as error:
            sentence = f"The temporary folder {self.parent} cannot be used ({error.strerror}); choose another one."
            raise WorkerError(sentence) from error

    def ensure(self) -> None:
        """Make the folder again when a cleaner of temporary files removed it."""
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            sentence = f"The temporary folder {self.path} cannot be made ({error.strerror}); check {self.parent}."
            raise WorkerError(sentence) from error

    def discard(self, stem: str) -> None:
        """Remove every file whose name starts with ``stem``; a file still mapped elsewhere waits for :meth:`remove`."""
        for path in self.path.glob(f"{stem}*"):
            try:
                path.unlink()
            except OSError:
                # Windows keeps a file that the worker still maps.
                continue

    def remove(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        shutil.rmtree(self.path, ignore_errors=True)


def remove_stale(parent: Path | None = None) -> list[Path]:
    """Remove what clients that crashed left in ``parent``; return what was removed."""
    folders = Path(parent or tempfile.gettempdir()).glob(f"{PREFIX}[0-9]*-*")
    return [path for path in folders if remove_if_stale(path)]


def remove_if_stale(path: Path) -> bool:
    """Remove a private folder whose client is gone; whether that was so."""
    if not path.name.startswith(PREFIX) or not _is_stale(path):
        return False
    shutil.rmtree(path, ignore_errors=True)
    return True


def _is_stale(path: Path) -> bool:
    try:
        about = path.lstat()
        if path.is_symlink() or not path.is_dir() or (hasattr(os, "getuid") and about.st_uid != os.getuid()):
            return False
        if not (path / _LOCK).exists():
            return time.time() - about.st_mtime > _UNLOCKED_AGE
        os.close(_lock(path / _LOCK))
        return True
    except OSError:
        # Locked by a living client, or gone meanwhile.
        return False


def _lock(path: Path) -> int:
    """Open ``path`` with an exclusive lock, or ``OSError`` when another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
