"""Processes that prepare data end with the run they belong to."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from preloaded import SOURCES

PROGRAM = Path(__file__).with_name("waiting_worker.py")


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_worker_of_a_killed_run_ends(method):
    run = subprocess.Popen(
        [sys.executable, str(PROGRAM), method], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": SOURCES, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    worker = int(run.stdout.readline())
    os.kill(worker, signal.SIGTERM)  # meant for the run, which decides
    time.sleep(0.1)
    os.kill(worker, 0)
    run.kill()
    run.wait()
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived its run")
