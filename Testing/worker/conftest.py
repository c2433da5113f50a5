"""Real worker processes around the handlers of ``slow_handlers.py``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dropiris.progress import Progress
from dropiris.volume import Volume
from dropiris.worker.client import WorkerClient
from dropiris.worker.job import Job

HERE = Path(__file__).parent


@pytest.fixture
def short_folder(tmp_path: Path) -> Path:
    """A folder for the private folders, with a space and an accent in its name."""
    folder = tmp_path / "temp é x"
    folder.mkdir()
    return folder


@pytest.fixture
def handlers_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture
def client(short_folder: Path, handlers_environment: dict[str, str]) -> Iterator[WorkerClient]:
    """A client of the misbehaving handlers; at the end its folder must be gone and its worker dead."""
    with WorkerClient(
        environment=handlers_environment, temporary=short_folder, handlers="slow_handlers:handlers"
    ) as client:
        yield client
        pid = client.pid
    assert list(short_folder.iterdir()) == []
    assert pid is None or not alive(pid)


@pytest.fixture
def scan() -> Volume:
    """An oblique, anisotropic scan as it comes from MRML: (k, j, i) in memory, seen as (i, j, k)."""
    memory = np.random.default_rng(1).integers(-1000, 1000, size=(30, 40, 50), dtype=np.int16)
    affine = np.array([[0.6, 0.1, 0, -20], [-0.1, 0.6, 0, 5], [0, 0, 3, 100], [0, 0, 0, 1.0]])
    return Volume(memory.T, affine, "Scan 1", "CT")


@pytest.fixture
def await_stage() -> Callable[[Job[Any], str], Progress]:
    """Wait until a job reports a stage."""

    def wait(job: Job[Any], stage: str) -> Progress:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for progress in job.poll(0.1):
                if progress.stage == stage:
                    return progress
            assert not job.done or job.result() is None
        raise AssertionError(f"no stage {stage!r}")

    return wait


def alive(pid: int) -> bool:
    if sys.platform == "win32":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie (a grandchild that nobody reaps in a container) does not count.
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def is_alive() -> Callable[[int], bool]:
    return alive


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Wait up to 5 s for something that another thread or process brings about."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.01)

    return wait


@pytest.fixture
def no_file_beyond() -> Callable[[int], AbstractContextManager[None]]:
    """Within it, this process can write no file beyond a size: a full disk for those who cannot mount one."""
    resource = pytest.importorskip("resource")

    @contextmanager
    def limit(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit
