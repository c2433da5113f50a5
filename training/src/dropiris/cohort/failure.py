"""What went wrong with a case: a sentence for its row, and whether another attempt may help."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from dropiris.errors import DropIrisError

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
# A network disk that hiccups, or a machine that is short of memory for a moment; a damaged file has none of these.
_MOMENTARY = _FULL | {
    getattr(errno, name) for name in ("EIO", "ESTALE", "EAGAIN", "ETIMEDOUT", "ENOMEM") if hasattr(errno, name)
}


def is_disk_full(problem: BaseException) -> bool:
    return any(cause.errno in _FULL for cause in _system_errors(problem))


def is_temporary(problem: BaseException) -> bool:
    """Whether the same scan may succeed at the next attempt."""
    memory = any(isinstance(cause, MemoryError) for cause in _causes(problem))
    return memory or any(cause.errno in _MOMENTARY for cause in _system_errors(problem))


def sentence_of(problem: BaseException) -> str:
    """An expected failure speaks for itself; another one names its kind."""
    if isinstance(problem, DropIrisError):
        return str(problem)
    if isinstance(problem, MemoryError):
        return "The memory of the machine is too small for this scan; crop it or use a larger machine."
    if isinstance(problem, OSError) and problem.filename:
        return f"{problem.filename}: {problem.strerror}; check the path, its permissions and the free space."
    text = " ".join(str(problem).split())
    return f"Unexpected {type(problem).__name__}: {text[:300]}; segment this scan alone with --debug and report it."


def _causes(problem: BaseException | None) -> Iterator[BaseException]:
    while problem is not None:
        yield problem
        problem = problem.__cause__ or problem.__context__


def _system_errors(problem: BaseException) -> Iterator[OSError]:
    return (cause for cause in _causes(problem) if isinstance(cause, OSError))
