"""Requests through a real worker: results, progress, errors, noise."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from dropiris.errors import Cancelled, DeviceError, InputError, WorkerError
from dropiris.progress import CancelToken
from dropiris.volume import LabelMap, Reference, Structure, Volume
from dropiris.worker import client as client_module
from dropiris.worker.client import WorkerClient
from dropiris.worker.requests import wait_for


def test_the_client_needs_no_torch_and_starts_nothing_by_itself():
    code = "import sys, dropiris.worker.client as c; c.WorkerClient(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": package_root()})


def test_a_ping_names_the_worker(client):
    answer = client.start().result(20)
    assert answer["torch_loaded"] is False
    assert client.pid not in (None, os.getpid())


def test_labels_come_back_on_the_scans_grid_with_their_structures(client, scan):
    before = scan.array.copy()
    labels = client.submit("threshold", {"level": 100, "tiles": 3}, {"volume": scan}).result(20)["labels"]
    np.testing.assert_array_equal(labels.array, before > 100)
    np.testing.assert_array_equal(labels.affine, scan.affine)
    assert labels.array.dtype == np.uint8
    assert labels.structures == (Structure(1, "bright", (1.0, 0.5, 0.0), "a~b~c~^^"),)
    np.testing.assert_array_equal(scan.array, before)


def test_the_result_outlives_the_client_and_leaves_no_file(client, scan, eventually):
    labels = client.submit("threshold", {"level": 0}, {"volume": scan}).result(20)["labels"]
    eventually(lambda: [p.name for p in client.folder.iterdir()] == ["lock"])
    client.close()
    assert labels.array.sum() == (scan.array > 0).sum()
    labels.array[0, 0, 0] = 1


def test_references_arrive_with_overlapping_segments(client, scan):
    layers = tuple(
        LabelMap(np.full(scan.shape, n, np.uint8), scan.affine, (Structure(n, f"segment {n}"),)) for n in (1, 2)
    )
    answer = client.submit("count_structures", volumes={"reference 0": Reference(scan, layers)}).result(20)
    assert answer["voxels"] == {"segment 1": 60_000, "segment 2": 60_000}


def test_progress_names_the_stage_and_the_tile(client, scan):
    seen = []
    job = client.submit("threshold", {"level": 0, "tiles": 5, "seconds": 0.11}, {"volume": scan})
    wait_for(job, seen.append)
    assert [p.stage for p in seen] == ["Starting the worker"] + ["Segmenting"] * 5 + ["Writing the result"]
    assert [(p.tile, p.tiles) for p in seen[1:6]] == [(n, 5) for n in range(1, 6)]
    assert [p.fraction for p in seen[1:6]] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_thousands_of_tiles_do_not_flood_the_client_and_the_last_one_arrives(client):
    seen = []
    wait_for(client.submit("many_steps"), seen.append)
    assert len(seen) < 50
    assert seen[-1].tile == seen[-1].tiles == 5000


def test_submitting_and_polling_never_wait(client, scan):
    slowest = 0.0
    start = time.perf_counter()
    job = client.submit("threshold", {"level": 0, "tiles": 4, "seconds": 0.1}, {"volume": scan})
    slowest = max(slowest, time.perf_counter() - start)
    while not job.done:
        start = time.perf_counter()
        job.poll()
        slowest = max(slowest, time.perf_counter() - start)
        time.sleep(0.02)
    assert slowest < 0.05
    assert job.result().keys() == {"labels"}


def test_requests_wait_in_line_in_one_process(client, scan):
    jobs = [client.submit("threshold", {"level": level}, {"volume": scan}) for level in (-500, 0, 500)]
    counts = [job.result(20)["labels"].array.sum() for job in jobs]
    assert counts == [(scan.array > level).sum() for level in (-500, 0, 500)]
    assert client.log.text() == ""


def test_a_blocking_request_stops_by_its_token(client):
    token = CancelToken()
    threading.Timer(1.0, token.cancel).start()
    start = time.monotonic()
    with pytest.raises(Cancelled):
        wait_for(client.submit("sleep_deaf"), lambda step: None, token)
    assert time.monotonic() - start < 2.2


def test_a_failing_callback_cancels_the_request(client):
    def refuse(step):
        raise KeyboardInterrupt

    job = client.submit("sleep_deaf")
    with pytest.raises(KeyboardInterrupt):
        wait_for(job, refuse)
    with pytest.raises(Cancelled):
        job.result(1.5)


def test_an_expected_error_arrives_with_its_class_and_sentence(client):
    with pytest.raises(InputError, match=r"^The scan is empty; choose another one\.$"):
        client.submit("blame_input").result(20)


def test_an_unexpected_error_is_a_sentence_and_its_traceback_goes_to_the_log(client, eventually):
    with pytest.raises(WorkerError) as caught:
        client.submit("crash_in_python").result(20)
    assert "secret detail" not in str(caught.value) and "copy the log" in str(caught.value)
    eventually(lambda: "KeyError: 'secret detail'" in client.log.text())


def test_running_out_of_memory_inside_the_worker_is_a_device_error_and_the_worker_lives_on(client):
    client.start().result(20)
    pid = client.pid
    with pytest.raises(DeviceError, match="Memory ran out"):
        client.submit("run_out_of_memory").result(20)
    assert client.start().result(20) and client.pid == pid


def test_an_unknown_request_names_the_known_ones(client):
    with pytest.raises(WorkerError, match=r"'segement'.*doctor.*ping"):
        client.submit("segement").result(20)


def test_an_answer_that_is_not_json_is_an_error(client):
    with pytest.raises(WorkerError, match="cannot be sent"):
        client.submit("not_json").result(20)


def test_parameters_that_are_not_json_fail_their_job_only(client):
    with pytest.raises(WorkerError):
        client.submit("ping", {"x": object()}).result(20)
    assert client.start().result(20)


def test_prints_of_libraries_and_children_go_to_the_log(client, eventually):
    assert client.submit("print_noise").result(20) == {"read": ""}
    for who in ("a library prints\n", "a library prints in C", "a child prints"):
        eventually(lambda who=who: who in client.log.text() + "\n")
    assert client.start().result(20)


def test_garbage_from_the_worker_is_logged_and_the_result_still_arrives(client):
    assert client.submit("write_noise_into_stdout").result(20) == {"survived": True}
    assert "garbage" in client.log.text() and "request 999" in client.log.text()


def test_garbage_to_the_worker_is_answered_with_an_error_and_the_next_request_is_done(client):
    client.start().result(20)
    stream = client._process._child.stdin
    stream.write(b'\xff\xfe garbage\n{"type":"step","id":1,"stage":"x"}\n{"type":"request","id":"one"}\n')
    stream.flush()
    assert client.start().result(20)
    assert client.log.text().count("request -1") == 3


def test_the_log_keeps_the_last_lines_only():
    log = client_module.Log(lines=3, width=5)
    for n in range(10):
        log.add(f"line number {n}")
    log.add("last\n")
    assert log.text() == "line \nline \nlast" and log.last() == "last"


def test_a_worker_of_another_version_is_refused_in_words(short_folder, tmp_path):
    other = tmp_path / "python"
    hello = '{"type":"hello","protocol":99,"package":"9.0","python":"3","pid":1}'
    other.write_text(f"#!/bin/sh\necho '{hello}'\nsleep 5\n")
    other.chmod(0o755)
    if sys.platform == "win32":
        pytest.skip("a shell script stands for the other Python")
    with WorkerClient(python=str(other), temporary=short_folder) as client:
        with pytest.raises(WorkerError, match=r"dropiris 9\.0 speaks protocol 99.*install the same version"):
            client.start().result(20)


def test_a_python_that_does_not_exist_is_named(short_folder):
    with WorkerClient(python="/nowhere/python", temporary=short_folder) as client:
        with pytest.raises(WorkerError, match="/nowhere/python cannot be started"):
            client.start().result(20)


def test_a_worker_that_cannot_import_says_why(short_folder):
    with WorkerClient(temporary=short_folder, handlers="no_such_module:handlers") as client:
        with pytest.raises(WorkerError, match="no_such_module"):
            client.start().result(20)


def test_the_environment_is_the_given_one_and_ours_stays_as_it_is(short_folder, handlers_environment, monkeypatch):
    before = dict(os.environ)
    given = {**handlers_environment, "ONLY_FOR_WORKER": "ü"}
    with WorkerClient(environment=given, temporary=short_folder, handlers="slow_handlers:handlers") as client:
        answer = client.submit("environment").result(20)
    assert answer["variables"]["ONLY_FOR_WORKER"] == "ü"
    assert answer["variables"]["PYTHONPATH"].split(os.pathsep)[0] == package_root()
    assert dict(os.environ) == before


def test_another_python_does_not_inherit_our_pythonhome(monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/of/slicer")
    assert "PYTHONHOME" not in client_module.worker_environment("/usr/bin/other-python", None)
    assert client_module.worker_environment(None, None)["PYTHONHOME"] == "/of/slicer"
    assert client_module.worker_environment("/x/python", {"PYTHONHOME": "/given"})["PYTHONHOME"] == "/given"


def test_nothing_can_be_asked_of_a_closed_client(client):
    client.close()
    client.close()
    with pytest.raises(WorkerError, match="closed"):
        client.submit("ping")


def package_root():
    from pathlib import Path

    import dropiris

    return str(Path(dropiris.__file__).absolute().parents[1])


def test_a_volume_that_nobody_wrote_is_an_error(client, scan, monkeypatch):
    real = client_module.arrays.send

    def lose(value, folder, stem, check):
        description = real(value, folder, stem, check)
        (folder / description["file"]).unlink()
        return description

    monkeypatch.setattr(client_module.arrays, "send", lose)
    with pytest.raises(WorkerError, match=r"1-0\.npy is missing"):
        client.submit("threshold", {"level": 0}, {"volume": Volume(scan.array, scan.affine)}).result(20)
