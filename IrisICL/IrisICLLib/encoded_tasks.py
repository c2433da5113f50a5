"""References that were encoded before: each is encoded once, however many scans and clicks it is used for."""

import shutil
import tempfile
import weakref
from pathlib import Path

# A few kB to a few hundred kB each, windows of the compact models 1 MB; more than any run has references.
_KEPT = 512


class EncodedTasks:
    """Task files by what they were made from, in a temporary folder that goes with this object.

    A key is anything hashable that changes with the reference's content and with the model; see
    :mod:`dropiris.mrml.node_state`.
    """

    def __init__(self):
        self._files = {}
        self._folder = None
        self._number = 0

    def find(self, key):
        """The file of a reference, or None when it must be encoded."""
        file = self._files.get(key)
        return file if file is not None and file.is_file() else None

    def place(self):
        """A path to write the next task to."""
        if self._folder is None or not self._folder.is_dir():
            self._folder = Path(tempfile.mkdtemp(prefix="iris-"))
            weakref.finalize(self, shutil.rmtree, str(self._folder), ignore_errors=True)
        self._number += 1
        return self._folder / f"task-{self._number}.safetensors"

    def keep(self, key, file):
        """Remember a file that was written to :meth:`place`; the oldest are forgotten."""
        self._files[key] = file
        while len(self._files) > _KEPT:
            oldest = self._files.pop(next(iter(self._files)))
            for path in (oldest, self.windows(oldest)):
                path.unlink(missing_ok=True)

    def windows(self, file):
        """Where what was seen of a reference is kept beside its task file, to check results against."""
        return file.with_suffix(".windows")

    def tidy(self):
        """After a run: a folder without a remembered task is removed."""
        if self._folder is not None and not self._files:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
