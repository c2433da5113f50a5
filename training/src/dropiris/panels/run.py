"""One segmentation from click to segments: jobs in the worker one after the other, the scene on this thread only."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from dropiris.errors import Cancelled, DropIrisError, WorkerError
from dropiris.progress import CancelToken, Progress, ProgressCallback, ignore_progress

# A waiting caller looks for a cancel this often (s).
_PATIENCE = 0.05


class Job(Protocol):
    """What a run needs of the worker's jobs."""

    @property
    def done(self) -> bool: ...

    def poll(self, timeout: float = 0.0) -> list[Progress]: ...

    def result(self) -> Any: ...

    def cancel(self) -> None: ...


@dataclass(frozen=True)
class Step:
    """A job of a run, the share of the whole run (0 to 1) it covers, and what is put before its stages' names."""

    job: Job
    start: float = 0.0
    end: float = 1.0
    prefix: str = ""


# Yields the jobs, is sent their results or errors, and returns what it made.
Work = Generator[Step, Any, Any]


class Run:
    """A running segmentation. Call :meth:`poll` now and then (from a timer), or :meth:`wait`; both on the main thread.

    Parameters
    ----------
    work : generator
        Reads the scene and writes it between its yields, on the caller's thread; a job gets no hold of the scene.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._step: Step | None = None
        self._cancelled = False
        self._result: Any = None
        self._started = time.monotonic()
        self.error: BaseException | None = None
        self.done = False
        self.seconds = 0.0
        self._advance(lambda: next(work))

    def poll(self, timeout: float = 0.0) -> list[Progress]:
        """Progress since the last call; waits at most ``timeout`` seconds, but writes the result when it is there."""
        if self.done or self._step is None:
            return []
        step = self._step
        finished = step.job.done
        news = [
            replace(
                progress,
                stage=f"{step.prefix}{progress.stage}",
                fraction=step.start + (step.end - step.start) * progress.fraction,
            )
            for progress in step.job.poll(0.0 if finished else timeout)
        ]
        if finished:
            self._finish_job(step.job)
        return news

    def cancel(self) -> None:
        """Stop; the scene stays as it is. :meth:`poll` until :attr:`done`."""
        self._cancelled = True
        if self._step is not None and not self.done:
            self._step.job.cancel()

    def result(self) -> Any:
        """What the run made (a segmentation node, as a rule), or the error that ended it."""
        if self.error is not None:
            raise self.error
        if not self.done:
            raise WorkerError("The segmentation is still running; wait for it or cancel it.")
        return self._result

    def wait(self, progress: ProgressCallback | None = None, cancel: CancelToken | None = None) -> Any:
        """Block until the end and return the segmentation node."""
        report = progress or ignore_progress
        try:
            while not self.done:
                if cancel is not None and cancel.cancelled and not self._cancelled:
                    self.cancel()
                for news in self.poll(_PATIENCE):
                    report(news)
        except BaseException:
            self.cancel()
            self._work.close()
            raise
        return self.result()

    def _finish_job(self, job: Job) -> None:
        try:
            if self._cancelled:
                raise Cancelled()
            result = job.result()
        except Exception as problem:
            error = problem  # `problem` itself is unbound once this block ends
            self._advance(lambda: self._work.throw(error))
        else:
            self._advance(lambda: self._work.send(result))

    def _advance(self, go_on: Callable[[], Step]) -> None:
        try:
            self._step = go_on()
            if self._cancelled:  # work that goes on to keep what it has begins nothing new
                self._step.job.cancel()
        except StopIteration as end:
            self._result = end.value
        except DropIrisError as error:
            self.error = error
        except Exception as error:
            logging.getLogger(__name__).exception("The segmentation ended unexpectedly")
            self.error = error
        else:
            return
        self._step = None
        self.seconds = time.monotonic() - self._started
        self.done = True
