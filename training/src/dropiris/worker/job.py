"""A request as the caller sees it: progress to poll, a result or an error at the end, cancel at any moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from dropiris.errors import Cancelled, DropIrisError, WorkerError
from dropiris.progress import Progress
from dropiris.worker.arrays import Carried

T = TypeVar("T")

# A worker that has not obeyed a cancel by then is killed, so that every cancel is done within 1 s.
CANCEL_PATIENCE = 0.7


class Job(Generic[T]):
    """One request. Every method may be called from any thread; none but :meth:`result` waits.

    Made by :class:`~dropiris.worker.client.WorkerClient`, which gives ``convert`` (from the worker's answer to
    the result), ``tell`` (carries a cancel to a running worker) and ``stop`` (kills a worker that ignores it).
    """

    def __init__(
        self,
        number: int,
        method: str,
        params: Mapping[str, Any],
        volumes: Mapping[str, Carried],
        convert: Callable[[dict[str, Any]], T],
        tell: Callable[[Job[Any]], None],
        stop: Callable[[Job[Any]], None],
    ) -> None:
        self.number = number
        self.method = method
        self.params = dict(params)
        self.volumes: dict[str, Carried] = dict(volumes)
        self._convert = convert
        self._tell = tell
        self._stop = stop
        self._changed = threading.Condition()
        self._progress: list[Progress] = []
        self._running = False
        self._cancel_by: float | None = None
        self._done = False
        self._result: T | None = None
        self._error: BaseException | None = None

    @property
    def done(self) -> bool:
        """Whether :meth:`result` returns or raises at once."""
        self._stop_when_overdue()
        return self._done

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called in time."""
        return self._cancel_by is not None

    def poll(self, timeout: float = 0.0) -> list[Progress]:
        """Progress since the last call; waits up to ``timeout`` seconds for some, or for the end.

        With timeout 0 it still sleeps 1 ms: while Slicer's event loop runs, the threads that read the worker
        only get to run when Python code of the main thread lets go of the interpreter.
        """
        self._stop_when_overdue()
        if timeout <= 0 and not self._done:
            time.sleep(0.001)
        with self._changed:
            if timeout > 0:
                self._changed.wait_for(lambda: self._progress or self._done, timeout)
            news, self._progress = self._progress, []
        return news

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end; return the result or raise its :class:`~dropiris.errors.DropIrisError`.

        ``TimeoutError`` when ``timeout`` seconds were not enough.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"{self.method} is not done after {timeout} s.")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end; whether it came."""
        with self._changed:
            return self._changed.wait_for(lambda: self._done, timeout)

    def cancel(self) -> None:
        """End with :class:`~dropiris.errors.Cancelled`: at once when waiting, within 1 s when running."""
        with self._changed:
            if self._done or self._cancel_by is not None:
                return
            self._cancel_by = time.monotonic() + CANCEL_PATIENCE
            running = self._running
        if not running:
            self.fail(Cancelled())
            return
        # Both a timer and every poll watch the deadline: see poll() about threads in Slicer.
        timer = threading.Timer(CANCEL_PATIENCE, self._stop_when_overdue, [True])
        timer.daemon = True
        timer.start()
        self._tell(self)

    def begin(self) -> bool:
        """The worker gets the request now; False when it was cancelled before."""
        with self._changed:
            self._running = not self._done
            return self._running

    def report(self, progress: Progress) -> None:
        with self._changed:
            if not self._done:
                self._progress.append(progress)
                self._changed.notify_all()

    def succeed(self, answer: Callable[[], dict[str, Any]]) -> None:
        """End with what ``answer`` gives; an answer that comes after a cancel is dropped."""
        if self.cancelled:
            self.fail(Cancelled())
            return
        try:
            result = self._convert(answer())
        except DropIrisError as error:
            self.fail(error)
            return
        except Exception:
            # ``convert`` is the caller's: it may raise anything. The job ends with a sentence; the client writes the
            # exception itself into the log.
            self.fail(WorkerError("The worker's answer could not be read, perhaps for lack of memory; try again."))
            raise
        with self._changed:
            if not self._done and self._cancel_by is None:
                self._result = result
                self._end()
                return
        self.fail(Cancelled())

    def fail(self, error: BaseException) -> None:
        """End with ``error``, or with Cancelled when that was asked for; the first end counts."""
        with self._changed:
            if not self._done:
                self._error = Cancelled() if self._cancel_by is not None else error
                self._end()

    def _end(self) -> None:
        self._done = True
        # The scan is not kept alive by a job that someone keeps for its log.
        self.volumes = {}
        self._changed.notify_all()

    def _stop_when_overdue(self, now: bool = False) -> None:
        deadline = self._cancel_by
        if deadline is None or self._done or not (now or time.monotonic() >= deadline):
            return
        self.fail(Cancelled())
        self._stop(self)
