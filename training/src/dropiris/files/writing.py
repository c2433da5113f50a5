"""Files appear complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from dropiris.errors import InputError


@contextmanager
def replacing(path: Path, ending: str) -> Iterator[Path]:
    """Give a hidden name in the same folder to write to; it takes the place of ``path`` when all went well.

    Whatever stops the writing (an error, Ctrl-C, a full disk) leaves the folder as it was. The hidden name is short
    because a long file name plus an addition can exceed what Windows and many file systems allow.
    """
    hidden = path.with_name(f".{uuid4().hex[:8]}{ending}")
    try:
        yield hidden
        os.replace(hidden, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path} cannot be written ({reason}); choose another folder or free some space.") from error
    finally:
        hidden.unlink(missing_ok=True)
