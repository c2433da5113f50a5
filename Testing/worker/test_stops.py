"""Cancel at any point within a second; death at any point noticed within a second, in words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from dropiris.errors import Cancelled, WorkerError
from dropiris.volume import Volume

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills with POSIX signals")

STAGES = ("Loading the model", "Encoding the reference", "Segmenting")


def usable_afterwards(client, scan):
    labels = client.submit("threshold", {"level": 0}, {"volume": scan}).result(20)["labels"]
    return np.array_equal(labels.array, scan.array > 0)


@pytest.mark.parametrize("stage", STAGES)
def test_a_worker_killed_at_any_stage_is_reported_within_a_second_and_replaced(client, scan, await_stage, stage):
    before = scan.array.tobytes()
    job = client.submit("stages", {"seconds": 0.5}, {"volume": scan})
    await_stage(job, stage)
    pid, start = client.pid, time.monotonic()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match="stopped by the system, most likely because memory ran out"):
        job.result(5)
    assert time.monotonic() - start < 1.0
    assert usable_afterwards(client, scan) and client.pid != pid
    assert scan.array.tobytes() == before


def test_a_worker_killed_while_it_starts_is_reported(client, scan):
    job = client.submit("ping")
    while client.pid is None:
        time.sleep(0.001)
    os.kill(client.pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match="stopped by the system"):
        job.result(5)
    assert usable_afterwards(client, scan)


def test_a_worker_killed_between_two_requests_is_replaced_unnoticed(client, scan):
    client.start().result(20)
    os.kill(client.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert usable_afterwards(client, scan)


@pytest.mark.parametrize(
    ("method", "params", "sentence"),
    [
        ("leave", {"code": 3}, "ended by itself, exit code 3"),
        ("leave", {"code": 0}, "ended by itself, exit code 0"),
        ("break_in_a_library", {"signal": "SIGSEGV"}, r"crashed in a library \(SIGSEGV\)"),
        ("break_in_a_library", {"signal": "SIGABRT"}, r"crashed in a library \(SIGABRT\)"),
        ("break_in_a_library", {"signal": "SIGTERM"}, "stopped from outside"),
    ],
)
def test_every_kind_of_death_has_words(client, scan, method, params, sentence):
    with pytest.raises(WorkerError, match=sentence):
        client.submit(method, params).result(20)
    assert usable_afterwards(client, scan)


def test_death_takes_the_running_job_only(client, scan, await_stage):
    first = client.submit("sleep_deaf")
    second = client.submit("threshold", {"level": 0}, {"volume": scan})
    await_stage(first, "Segmenting")
    os.kill(client.pid, signal.SIGKILL)
    with pytest.raises(WorkerError):
        first.result(5)
    assert second.result(20)["labels"].array.any()


@pytest.mark.parametrize("method", ["sleep_deaf", "hold_interpreter"])
def test_work_that_hears_nothing_is_cancelled_within_a_second(client, scan, await_stage, method):
    job = client.submit(method)
    await_stage(job, "Segmenting")
    pid, start = client.pid, time.monotonic()
    job.cancel()
    assert time.monotonic() - start < 0.1
    with pytest.raises(Cancelled):
        job.result(5)
    assert time.monotonic() - start < 1.0
    assert usable_afterwards(client, scan) and client.pid != pid


def test_work_that_listens_is_cancelled_at_the_next_tile_and_the_worker_stays_warm(client, scan, await_stage):
    job = client.submit("threshold", {"level": 0, "tiles": 20, "seconds": 0.1}, {"volume": scan})
    await_stage(job, "Segmenting")
    pid, start = client.pid, time.monotonic()
    job.cancel()
    with pytest.raises(Cancelled, match="nothing was changed"):
        job.result(5)
    assert time.monotonic() - start < 0.4
    assert usable_afterwards(client, scan) and client.pid == pid


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.05, 0.1, 0.15, 0.2, 0.3])
def test_cancel_works_at_any_moment_of_the_start(client, scan, delay):
    job = client.submit("stages", {"seconds": 0.2}, {"volume": scan})
    time.sleep(delay)
    start = time.monotonic()
    job.cancel()
    job.cancel()
    with pytest.raises(Cancelled):
        job.result(5)
    assert time.monotonic() - start < 1.0
    assert usable_afterwards(client, scan)


def test_a_waiting_job_is_cancelled_at_once_and_the_running_one_goes_on(client, scan):
    running = client.submit("threshold", {"level": 0, "tiles": 3, "seconds": 0.1}, {"volume": scan})
    waiting = client.submit("threshold", {"level": 0}, {"volume": scan})
    waiting.cancel()
    assert waiting.done
    with pytest.raises(Cancelled):
        waiting.result(0)
    assert running.result(20)["labels"].array.any()


def test_cancelling_a_finished_job_changes_nothing(client, scan):
    job = client.submit("threshold", {"level": 0}, {"volume": scan})
    job.result(20)
    job.cancel()
    assert job.result()["labels"].array.any()


def test_a_frozen_worker_can_be_cancelled(client, scan, await_stage):
    job = client.submit("sleep_deaf")
    await_stage(job, "Segmenting")
    os.kill(client.pid, signal.SIGSTOP)
    job.cancel()
    with pytest.raises(Cancelled):
        job.result(1.0)
    assert usable_afterwards(client, scan)


def test_children_of_the_worker_die_with_it(client, await_stage, is_alive):
    job = client.submit("spawn_child")
    child = int(await_stage(job, "Segmenting").message)
    job.cancel()
    with pytest.raises(Cancelled):
        job.result(5)
    time.sleep(0.2)
    assert not is_alive(child)


def test_closing_cancels_everything_quickly(client, await_stage, is_alive):
    jobs = [client.submit("sleep_deaf"), client.submit("ping")]
    await_stage(jobs[0], "Segmenting")
    pid, start = client.pid, time.monotonic()
    client.close()
    assert time.monotonic() - start < 2.0
    for job in jobs:
        with pytest.raises(Cancelled):
            job.result(0)
    assert not is_alive(pid)


def test_a_full_disk_under_the_worker_is_a_sentence(client, scan, eventually):
    big = Volume(np.zeros((128, 128, 128), np.int16), scan.affine)
    with pytest.raises(WorkerError, match=r"temporary folder .* is full \(2 MiB needed\)"):
        client.submit("fill_the_disk", {"level": 0}, {"volume": big}).result(20)
    eventually(lambda: [p.name for p in client.folder.iterdir()] == ["lock"])


def test_a_full_disk_under_the_client_is_a_sentence_and_the_next_request_is_done(client, scan, no_file_beyond):
    big = Volume(np.zeros((128, 128, 128), np.int16), scan.affine)
    client.start().result(20)
    with no_file_beyond(2**20), pytest.raises(WorkerError, match=r"is full \(4 MiB needed\)"):
        client.submit("threshold", {"level": 0}, {"volume": big}).result(20)
    assert usable_afterwards(client, scan)


def test_a_private_folder_that_was_cleaned_away_is_made_again(client, scan):
    client.start().result(20)
    for path in client.folder.iterdir():
        path.unlink()
    client.folder.rmdir()
    assert usable_afterwards(client, scan)


def test_the_worker_leaves_and_tidies_up_when_its_program_is_killed(short_folder, handlers_environment, is_alive):
    program = """
        import sys, time
        from pathlib import Path
        from dropiris.worker.client import WorkerClient
        client = WorkerClient(temporary=Path(sys.argv[1]), handlers="slow_handlers:handlers")
        job = client.submit("sleep_deaf")
        while not any(step.stage == "Segmenting" for step in job.poll(0.1)): pass
        print(client.pid, flush=True)
        time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(short_folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=with_package(handlers_environment)) as parent:
        worker = int(parent.stdout.readline())
        assert is_alive(worker) and len(list(short_folder.iterdir())) == 1
        parent.kill()
    deadline = time.monotonic() + 2
    while is_alive(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(worker)
    assert list(short_folder.iterdir()) == []


def test_a_program_that_forgets_to_close_ends_quickly_and_leaves_nothing(short_folder, handlers_environment):
    program = """
        import sys
        from pathlib import Path
        from dropiris.worker.client import WorkerClient
        WorkerClient(temporary=Path(sys.argv[1])).start().result(20)
    """
    start = time.monotonic()
    command = [sys.executable, "-c", textwrap.dedent(program), str(short_folder)]
    subprocess.run(command, check=True, timeout=20, env=with_package(handlers_environment))
    assert time.monotonic() - start < 5
    assert list(short_folder.iterdir()) == []


def with_package(environment):
    from dropiris.worker.process import worker_environment

    return worker_environment(None, environment)
