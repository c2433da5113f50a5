"""Python processes that are forked from one which has PyTorch and the training loops loaded already.

An interpreter of its own takes 4 s of the processor to import them; the tests start some fifty. What is forked is a
process like any other, with its own environment and end; where there is no forking (Windows) each one starts anew.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import dropiris

SOURCES = str(Path(dropiris.__file__).parents[1])
LOADED = ["torch._dynamo", "lightning_fabric", "dropiris.train", "dropiris.train.engine", "dropiris.cli.train"]
LOADED += ["dropiris.train.dropgen", "dropiris.train.iris", "torch.distributed.fsdp"]


def start(program, *words, **environment):
    """Start a script (path) or a module (its name) as ``python PROGRAM WORDS``; as subprocess.Popen with text pipes."""
    words, environment = [str(word) for word in words], {"OMP_NUM_THREADS": "1", **environment}
    if "forkserver" in multiprocessing.get_all_start_methods():
        return Forked(program, words, environment)
    command = [str(program)] if isinstance(program, Path) else ["-m", program]
    return subprocess.Popen(
        [sys.executable, *command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": SOURCES, **environment},
    )  # fmt: skip


class Forked:
    """What the tests need of subprocess.Popen; standard output and errors go through files."""

    def __init__(self, program, words, environment):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(LOADED)
        self._folder = tempfile.TemporaryDirectory()
        self._files = [Path(self._folder.name, name) for name in ("out", "err")]
        self._process = context.Process(target=_run, args=(program, words, environment, *self._files))
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = SOURCES  # of the process to fork from, which the first start starts
        try:
            self._process.start()
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self._process.is_alive():
            self.kill()  # or the end of the tests would wait for it
            raise subprocess.TimeoutExpired("a forked process", timeout)
        return self.returncode

    def communicate(self, timeout=None):
        self.wait(timeout)
        return tuple(file.read_text(encoding="utf-8") if file.exists() else "" for file in self._files)

    def send_signal(self, number):
        os.kill(self._process.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def _run(program, words, environment, out, err):
    for number, file in enumerate((out, err), start=1):
        with file.open("wb") as opened:
            os.dup2(opened.fileno(), number)
    os.environ.update(environment)
    sys.argv = [str(program), *words]
    if isinstance(program, Path):
        runpy.run_path(str(program), run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
