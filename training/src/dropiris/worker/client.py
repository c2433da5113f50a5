"""The torch-free client: requests go in, progress and results come out, and the worker is kept alive or renewed."""

from __future__ import annotations

import atexit
import itertools
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from dropiris.errors import Cancelled, DropIrisError, WorkerError
from dropiris.progress import Progress
from dropiris.worker import arrays
from dropiris.worker.folder import PrivateFolder, remove_stale
from dropiris.worker.job import Job
from dropiris.worker.log import Log
from dropiris.worker.process import WorkerProcess, worker_environment
from dropiris.worker.protocol import Answer, Cancel, Failure, Message, Request, Step
from dropiris.worker.requests import SegmentationRequests

T = TypeVar("T")

# A cold Python on a slow disk with a virus scanner takes tens of seconds, not minutes.
START_PATIENCE = 120.0


class WorkerClient(SegmentationRequests):
    """Owns at most one worker process; requests wait in line and one runs at a time.

    Parameters
    ----------
    python : str, optional
        The Python that has torch (``PythonSlicer`` in Slicer); this one by default.
    environment : mapping, optional
        The worker's complete environment; by default this process's. ``os.environ`` is never changed.
    temporary : Path, optional
        Where the private folder is made; the system's temporary folder by default.
    handlers : str, optional
        ``"module:function"`` that gives another table of request handlers (tests).

    Notes
    -----
    Only :meth:`close` and the blocking requests wait. A worker that dies takes only the running job with it
    (it fails with a sentence); the next job starts a new worker.
    """

    def __init__(
        self,
        python: str | None = None,
        environment: Mapping[str, str] | None = None,
        temporary: Path | None = None,
        handlers: str | None = None,
    ) -> None:
        self.log = Log()
        self._python = python or sys.executable
        self._environment = worker_environment(python, environment)
        self._temporary = temporary
        self._handlers = handlers
        self._numbers = itertools.count(1)
        self._waiting: deque[Job[Any]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._running: Job[Any] | None = None
        self._process: WorkerProcess | None = None
        self._folder: PrivateFolder | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> WorkerClient:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The running worker's process number, or None."""
        process = self._process
        return process.pid if process is not None and process.usable else None

    @property
    def folder(self) -> Path | None:
        """The private folder, once there is one."""
        return self._folder.path if self._folder else None

    def start(self) -> Job[dict[str, Any]]:
        """Start the worker ahead of the first request."""
        return self.submit("ping")

    def submit(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        volumes: Mapping[str, arrays.Carried] | None = None,
        convert: Callable[[dict[str, Any]], T] | None = None,
    ) -> Job[T]:
        """Put a request in line and return at once.

        The arrays of ``volumes`` are written by another thread: leave them unchanged until the job is done.
        ``convert`` turns the answer (parameters and volumes in one dict) into the job's result.
        """
        number = next(self._numbers)
        job = Job(number, method, params or {}, volumes or {}, convert or _as_it_is, self._tell, self._stop)
        with self._changed:
            if self._closed:
                raise WorkerError("The worker was closed; make a new one.")
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="dropiris worker client", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def close(self) -> None:
        """Cancel what runs and waits, end the worker, remove the private folder. A second call does nothing."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            jobs = [*([self._running] if self._running else []), *self._waiting]
            self._waiting.clear()
            self._changed.notify_all()
        for job in jobs:
            job.fail(Cancelled())
        if self._process is not None and jobs:
            self._process.kill()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(10.0)
        atexit.unregister(self.close)

    def _serve(self) -> None:
        """The client's own thread: one job after the other."""
        try:
            while (job := self._next()) is not None:
                try:
                    self._run(job)
                except DropIrisError as error:
                    job.fail(error)
                except Exception:
                    # Whatever it was, the job must end or its caller waits for ever, and the next job has its turn.
                    # What can be foreseen (no space, no worker, a dead one) came as a DropIrisError above.
                    self.log.add(traceback.format_exc())
                    job.fail(WorkerError(f"The request {job.method!r} could not be sent; copy the log and report it."))
                finally:
                    self._tidy(job)
        finally:
            if self._process is not None:
                self._process.close(grace=0.5)
            if self._folder is not None:
                self._folder.remove()

    def _next(self) -> Job[Any] | None:
        with self._changed:
            self._running = None
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            self._running = self._waiting.popleft()
            return self._running

    def _run(self, job: Job[Any]) -> None:
        if job.done:
            return
        if self._folder is None:
            remove_stale(self._temporary)
            self._folder = PrivateFolder(self._temporary)
        self._folder.ensure()
        process = self._process
        if process is None or not process.usable:
            job.report(Progress("Starting the worker"))
            if process is not None:
                process.close(grace=0.0)
            process = self._process = self._launch(self._folder.path)
        volumes = {
            name: arrays.send(value, self._folder.path, f"{job.number}-{n}", lambda: _raise_if_done(job))
            for n, (name, value) in enumerate(job.volumes.items())
        }
        request = Request(job.number, job.method, job.params, volumes)
        waited = 0.0
        while process.usable and not process.ready.wait(0.05) and not job.done:
            waited += 0.05
            if waited > START_PATIENCE:
                process.kill()
                raise WorkerError("The worker did not start within two minutes; run the doctor to see why.")
        if process.usable and not job.begin():
            return
        process.send(request)
        # The end of a process is seen by its closed output at once, and by its exit code when a child holds that open.
        while not job.wait(0.05):
            if not process.usable:
                process.ended.wait(0.2)
                job.fail(WorkerError(process.end_in_words()))

    def _launch(self, folder: Path) -> WorkerProcess:
        command = [self._python, "-X", "faulthandler", "-m", "dropiris.worker", "--folder", str(folder)]
        if self._handlers:
            command += ["--handlers", self._handlers]
        return WorkerProcess(command, self._environment, folder, self.log, self._hear)

    def _tidy(self, job: Job[Any]) -> None:
        """Before the next job: a killed worker is gone (its GPU memory too), and this job's files are removed."""
        process = self._process
        if process is not None and not process.usable:
            process.close(grace=0.0)
        if self._folder is not None:
            self._folder.discard(f"{job.number}-")

    def _hear(self, message: Message) -> None:
        """Called on the reading thread for everything the worker says."""
        job = self._running
        number = getattr(message, "id", None)
        if job is None or job.number != number:
            sentence = message.sentence if isinstance(message, Failure) else type(message).__name__
            self.log.add(f"[client] the worker spoke of request {number}, which does not run: {sentence}")
        elif isinstance(message, Step):
            job.report(Progress(message.stage, message.fraction, message.tile, message.tiles, message.message))
        elif isinstance(message, Failure):
            job.fail(message.to_error())
        elif isinstance(message, Answer) and self._folder is not None:
            folder, answer = self._folder.path, message
            try:
                job.succeed(lambda: _received(answer, folder))
            except Exception as error:
                self.log.add("".join(traceback.format_exception(error)))

    def _tell(self, job: Job[Any]) -> None:
        if self._process is not None:
            self._process.send(Cancel(job.number), patience=0.05)

    def _stop(self, job: Job[Any]) -> None:
        if self._process is not None and self._running is job:
            self.log.add("[client] the worker did not stop in time and is killed")
            self._process.kill()


def _as_it_is(answer: dict[str, Any]) -> Any:
    return answer


def _raise_if_done(job: Job[Any]) -> None:
    if job.done:
        raise Cancelled()


def _received(answer: Answer, folder: Path) -> dict[str, Any]:
    volumes = {name: arrays.receive(description, folder, mapped=False) for name, description in answer.volumes.items()}
    return {**answer.value, **volumes}
