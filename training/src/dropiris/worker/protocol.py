"""What client and worker say to each other: one JSON object per line, UTF-8, arrays by file name.

The worker speaks first (:class:`Hello`), so that a client learns of a foreign or outdated worker before
it sends anything. This module needs the standard library only: the worker greets before numpy loads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import IO, Any

import dropiris.errors
from dropiris.errors import DropIrisError, WorkerError

# Raised by one whenever a message changes its meaning.
PROTOCOL = 1

# The longest honest line is a request with a few hundred named structures (about 100 kB).
MAX_LINE = 8 * 1024 * 1024


@dataclass(frozen=True)
class Hello:
    """The worker's first line: who it is."""

    protocol: int
    package: str
    python: str
    pid: int


@dataclass(frozen=True)
class Request:
    """Do something. ``volumes`` holds descriptions made by :mod:`dropiris.worker.arrays`."""

    id: int
    method: str
    params: dict = field(default_factory=dict)
    volumes: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Cancel:
    """Stop request ``id`` at the next opportunity."""

    id: int


@dataclass(frozen=True)
class Bye:
    """The client closes and removes its folder itself; an end of input without it means that it crashed."""


@dataclass(frozen=True)
class Step:
    """Progress of request ``id``; the fields are those of :class:`dropiris.progress.Progress`."""

    id: int
    stage: str
    fraction: float = 0.0
    tile: int = 0
    tiles: int = 0
    message: str = ""


@dataclass(frozen=True)
class Answer:
    """Request ``id`` is done."""

    id: int
    value: dict = field(default_factory=dict)
    volumes: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """Request ``id`` failed (-1: a line that could not be read); ``error`` names a DropIrisError class."""

    id: int
    error: str
    sentence: str

    def to_error(self) -> DropIrisError:
        """The error to raise for the caller; a class the client does not know becomes WorkerError."""
        kind = getattr(dropiris.errors, self.error, None)
        known = isinstance(kind, type) and issubclass(kind, DropIrisError)
        return kind(self.sentence) if known and kind is not None else WorkerError(self.sentence)


Message = Hello | Request | Cancel | Bye | Step | Answer | Failure
_KINDS: dict[str, type] = {kind.__name__.lower(): kind for kind in (Hello, Request, Cancel, Bye, Step, Answer, Failure)}
_TYPES: dict[str, Any] = {"int": int, "str": str, "dict": dict, "float": (int, float)}


def encode(message: Message) -> bytes:
    """One line, newline included. ``TypeError`` when a parameter is not JSON."""
    content = {"type": type(message).__name__.lower(), **asdict(message)}
    return json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> Message:
    """The message of one line, every field checked, or :class:`WorkerError`."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise WorkerError(f"A line between program and worker is not JSON: {_excerpt(line)}") from error
    kind = _KINDS.get(str(content.pop("type", ""))) if isinstance(content, dict) else None
    if kind is None:
        raise WorkerError(f"A line between program and worker is no known message: {_excerpt(line)}")
    expected = {f.name: _TYPES[str(f.type)] for f in fields(kind)}
    wrong = [name for name, value in content.items() if name not in expected or not _fits(value, expected[name])]
    if wrong:
        raise WorkerError(f"Field {wrong[0]!r} of a {kind.__name__} between program and worker is not usable.")
    try:
        return kind(**content)
    except TypeError as error:
        raise WorkerError(f"A {kind.__name__} between program and worker is incomplete.") from error


def read_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines of ``stream`` until its end; of a line beyond :data:`MAX_LINE` only the start, so memory stays bounded."""
    while line := stream.readline(MAX_LINE):
        yield line
        while line and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE)


def _fits(value: object, expected: Any) -> bool:
    return isinstance(value, expected) and not isinstance(value, bool)


def _excerpt(line: bytes) -> str:
    return repr(line[:80].decode("utf-8", "replace").rstrip())
