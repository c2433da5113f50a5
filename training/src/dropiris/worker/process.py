"""The child process itself: how it is started, killed with all its children, and how its end reads in words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import dropiris
from dropiris.errors import DropIrisError, WorkerError
from dropiris.worker.exit_words import end_in_words
from dropiris.worker.log import Log
from dropiris.worker.protocol import PROTOCOL, Bye, Cancel, Hello, Message, Request, decode, encode, read_lines


def worker_environment(python: str | None, environment: Mapping[str, str] | None) -> dict[str, str]:
    """The child's environment: the given one (or this process's), able to import this very ``dropiris``.

    This process's PYTHONHOME is dropped for another Python: Slicer sets it for its own interpreter, and any
    other one would not start with it.
    """
    result = dict(os.environ if environment is None else environment)
    if environment is None and python is not None and Path(python) != Path(sys.executable):
        result = {k: v for k, v in result.items() if k not in ("PYTHONHOME", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__")}
    package_root = str(Path(dropiris.__file__).absolute().parents[1])
    inherited = [os.path.abspath(p) for p in result.get("PYTHONPATH", "").split(os.pathsep) if p]
    result["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([package_root, *inherited]))
    result["PYTHONIOENCODING"] = "utf-8:backslashreplace"
    return result


class WorkerProcess:
    """One started worker. Two threads read it; ``on_message`` is called on one of them.

    Attributes
    ----------
    ready : Event
        Set by a Hello of our protocol.
    ended : Event
        Set once nothing more will be heard: the process ended or closed its output.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        log: Log,
        on_message: Callable[[Message], None],
    ) -> None:
        self.ready = threading.Event()
        self.ended = threading.Event()
        self.refused = ""
        self._log = log
        self._on_message = on_message
        self._launched = False
        self._lock = threading.Lock()
        # Its own session (POSIX): the group is killed as a whole, and Ctrl+C in a terminal reaches only us.
        flags = 0
        if sys.platform == "win32":
            flags = subprocess.CREATE_NO_WINDOW
        pipe = subprocess.PIPE
        try:
            self._child = subprocess.Popen(
                list(command),
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
                creationflags=flags,
            )
        except OSError as error:
            sentence = f"The Python program {command[0]} cannot be started ({error.strerror}); choose another one."
            raise WorkerError(sentence) from error
        self._threads = [
            threading.Thread(target=target, name=f"dropiris worker {target.__name__}", daemon=True)
            for target in (self._read_messages, self._read_log)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def usable(self) -> bool:
        return not self.ended.is_set() and self._child.poll() is None

    def send(self, message: Request | Cancel, patience: float = -1) -> None:
        """Write one line; a worker that is gone is noticed by its end, not here.

        ``patience`` (s) bounds the wait for another thread's write, so that a cancel never waits.
        """
        if self._lock.acquire(timeout=patience):
            try:
                assert self._child.stdin is not None
                self._child.stdin.write(encode(message))
                self._child.stdin.flush()
            except (OSError, ValueError) as error:
                self._log.add(f"[client] the worker does not listen: {error}")
            finally:
                self._lock.release()

    def kill(self) -> None:
        """Kill the process and its children now; does not wait."""
        self.ended.set()
        if sys.platform == "win32":
            if self._child.poll() is None:
                tree = ["taskkill", "/T", "/F", "/PID", str(self.pid)]
                quiet = subprocess.DEVNULL
                subprocess.Popen(tree, stdout=quiet, stderr=quiet, creationflags=subprocess.CREATE_NO_WINDOW)
            return
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        except PermissionError:
            # macOS says so of a group whose last member is a zombie.
            self._child.kill()

    def close(self, grace: float) -> None:
        """Close its input, wait ``grace`` seconds for it to leave, then kill what is left of it and reap it."""
        if self._lock.acquire(timeout=grace):
            try:
                assert self._child.stdin is not None
                if self.usable:
                    self._child.stdin.write(encode(Bye()))
                self._child.stdin.close()
            except (OSError, ValueError) as error:
                self._log.add(f"[client] the worker's input was closed already: {error}")
            finally:
                self._lock.release()
        try:
            self._child.wait(grace)
        except subprocess.TimeoutExpired:
            self._log.add("[client] the worker did not leave by itself and is killed")
        self.kill()
        try:
            self._child.wait(5.0)
        except subprocess.TimeoutExpired:
            self._child.kill()
        for thread in self._threads:
            thread.join(1.0)

    def end_in_words(self) -> str:
        """Why it ended, as a sentence for the user. Reaps the process."""
        try:
            code = self._child.wait(0.5)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.refused or "The worker closed its connection and was stopped; click again to start a new one."
        self.kill()
        self._threads[1].join(0.3)
        return self.refused or end_in_words(code, self._launched, self.ready.is_set(), self._log.last())

    def _read_messages(self) -> None:
        assert self._child.stdout is not None
        try:
            for line in read_lines(self._child.stdout):
                try:
                    message = decode(line)
                    if isinstance(message, Hello):
                        self._greet(message)
                    else:
                        self._on_message(message)
                except DropIrisError as error:
                    self._log.add(f"[client] {error}")
        except (OSError, ValueError) as error:
            self._log.add(f"[client] the worker cannot be read: {error}")
        finally:
            self.ended.set()

    def _greet(self, hello: Hello) -> None:
        if hello.protocol != PROTOCOL:
            self.refused = (
                f"The worker's dropiris {hello.package} speaks protocol {hello.protocol}, this program {PROTOCOL}; "
                "install the same version of dropiris for both."
            )
            self.kill()
            return
        self._launched = hello.pid != self.pid
        self.ready.set()

    def _read_log(self) -> None:
        assert self._child.stderr is not None
        try:
            for line in read_lines(self._child.stderr):
                self._log.add(line.decode("utf-8", "replace"))
        except (OSError, ValueError) as error:
            self._log.add(f"[client] the worker's log cannot be read: {error}")
