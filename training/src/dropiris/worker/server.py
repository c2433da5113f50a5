"""The worker's side: a thread that listens, and the main thread that does one request after the other."""

from __future__ import annotations

import contextlib
import os
import platform
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from dropiris import __version__
from dropiris.errors import DeviceError, DropIrisError, WorkerError
from dropiris.progress import CancelToken, Progress
from dropiris.worker.folder import remove_if_stale
from dropiris.worker.protocol import (
    PROTOCOL,
    Answer,
    Bye,
    Cancel,
    Failure,
    Hello,
    Message,
    Request,
    Step,
    decode,
    encode,
    read_lines,
)

if TYPE_CHECKING:
    from dropiris.worker.arrays import Carried
    from dropiris.worker.session import Session

# Ten lines a second are more than a progress bar shows.
_STEP_INTERVAL = 0.1
# Seconds for a crashed client's lock to be dropped.
_LOCK_PATIENCE = 1.0


@dataclass
class Call:
    """What a handler gets: the request's content, and the means to report, to stop and to keep models warm."""

    params: dict[str, Any]
    volumes: dict[str, Carried]
    progress: Callable[[Progress], None]
    cancel: CancelToken
    session: Session


# A handler returns a dict; its Volumes and LabelMaps travel as arrays, the rest as JSON.
Handler = Callable[[Call], "dict[str, Any]"]


def take_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """The protocol's input and output; afterwards standard input is empty and prints go to the log (stderr).

    Done on file descriptors, so that a library's C++ ``printf`` or a child process cannot break the protocol.
    """
    lines_in = os.fdopen(os.dup(0), "rb")
    lines_out = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return lines_in, lines_out


class Server:
    """Reads requests from ``lines_in`` until its end; answers on ``lines_out``.

    Parameters
    ----------
    folder : Path
        The client's private folder; removed here only when the client crashed.
    load_handlers : callable
        Gives the table of handlers; called after the greeting, on the main thread.
    """

    def __init__(
        self, lines_in: BinaryIO, lines_out: BinaryIO, folder: Path, load_handlers: Callable[[], dict[str, Handler]]
    ) -> None:
        self._in = lines_in
        self._out = lines_out
        self._folder = folder
        self._load_handlers = load_handlers
        self._requests: queue.Queue[Request] = queue.Queue()
        self._tokens: dict[int, CancelToken] = {}
        self._write_lock = threading.Lock()

    def serve(self) -> None:
        """Does not return: the process ends when the client closes our input."""
        self._say(Hello(PROTOCOL, __version__, platform.python_version(), os.getpid()))
        threading.Thread(target=self._listen, name="listener", daemon=True).start()
        # After the greeting: numpy alone takes longer than the rest of the start.
        from dropiris.worker.session import Session

        session = Session()
        handlers = self._load_handlers()
        while True:
            request = self._requests.get()
            message = self._handle(request, handlers, session)
            self._tokens.pop(request.id, None)
            self._say(message)

    def _listen(self) -> None:
        for line in read_lines(self._in):
            try:
                message = decode(line)
                if isinstance(message, Cancel):
                    if message.id in self._tokens:
                        self._tokens[message.id].cancel()
                elif isinstance(message, Bye):
                    # The main thread may be deep in a convolution: end the process from here.
                    os._exit(0)
                elif isinstance(message, Request):
                    self._tokens[message.id] = CancelToken()
                    self._requests.put(message)
                else:
                    raise WorkerError(f"The worker cannot do anything with a {type(message).__name__}.")
            except DropIrisError as error:
                self._say(Failure(-1, type(error).__name__, str(error)))
        # The client crashed; the system drops its lock on the folder a moment later than its pipe.
        deadline = time.monotonic() + _LOCK_PATIENCE
        while not remove_if_stale(self._folder) and time.monotonic() < deadline:
            time.sleep(0.02)
        os._exit(0)

    def _handle(self, request: Request, handlers: dict[str, Handler], session: Session) -> Answer | Failure:
        token = self._tokens[request.id]
        try:
            return self._answer(request, handlers, session, token)
        except DropIrisError as error:
            if isinstance(error, DeviceError):
                session.clear()
            return Failure(request.id, _public_name(error), str(error))
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
                session.clear()
                sentence = "Memory ran out; close other programs, choose fewer structures, or choose the device cpu."
                return Failure(request.id, "DeviceError", sentence)
            sentence = f"The request {request.method!r} failed unexpectedly ({type(error).__name__}); copy the log."
            return Failure(request.id, "WorkerError", sentence)

    def _answer(self, request: Request, handlers: dict[str, Handler], session: Session, token: CancelToken) -> Answer:
        from dropiris.volume import LabelMap, Volume
        from dropiris.worker import arrays

        handler = handlers.get(request.method)
        if handler is None:
            known = ", ".join(sorted(handlers))
            raise WorkerError(f"The worker knows no request {request.method!r}; it knows {known}.")
        token.raise_if_cancelled()
        report = self._reporter(request.id, token)
        volumes = {name: arrays.receive(d, self._folder, mapped=True) for name, d in request.volumes.items()}
        result = handler(Call(request.params, volumes, report, token, session))
        token.raise_if_cancelled()
        carried = {name: value for name, value in result.items() if isinstance(value, (Volume, LabelMap))}
        if carried:
            report(Progress("Writing the result", 1.0))
        written = {
            name: arrays.send(value, self._folder, f"{request.id}-out{n}", token.raise_if_cancelled)
            for n, (name, value) in enumerate(carried.items())
        }
        return Answer(request.id, {k: v for k, v in result.items() if k not in carried}, written)

    def _reporter(self, number: int, token: CancelToken) -> Callable[[Progress], None]:
        """The handler's progress callback; it raises Cancelled, so that code which only reports stops too."""
        last_stage, last_time = "", 0.0

        def report(progress: Progress) -> None:
            nonlocal last_stage, last_time
            token.raise_if_cancelled()
            now = time.monotonic()
            is_last = 0 < progress.tiles == progress.tile
            if progress.stage == last_stage and now - last_time < _STEP_INTERVAL and not (progress.message or is_last):
                return
            last_stage, last_time = progress.stage, now
            fraction = min(1.0, max(0.0, float(progress.fraction)))
            self._say(Step(number, progress.stage, fraction, int(progress.tile), int(progress.tiles), progress.message))

        return report

    def _say(self, message: Message) -> None:
        try:
            line = encode(message)
        except TypeError as error:
            traceback.print_exc(file=sys.stderr)
            number = getattr(message, "id", -1)
            sentence = f"The worker's answer cannot be sent ({error}); copy the log."
            line = encode(Failure(number, "WorkerError", sentence))
        # A broken pipe means that the client is gone; the listener ends the process.
        with self._write_lock, contextlib.suppress(OSError):
            self._out.write(line)
            self._out.flush()


def _public_name(error: DropIrisError) -> str:
    """The nearest class of :mod:`dropiris.errors`, the only ones the client knows."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "dropiris.errors")
