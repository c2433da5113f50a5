"""The shipped handlers: small DropGen and Iris bundles with random weights, through a real worker with torch."""

from __future__ import annotations

import os
import signal
import sys
import time

import numpy as np
import pytest

from dropiris.errors import Cancelled, InputError, ModelError, WorkerError
from dropiris.models.card import ModelCard
from dropiris.volume import LabelMap, Reference, Structure, Volume
from dropiris.worker.client import WorkerClient
from dropiris.worker.requests import wait_for

torch = pytest.importorskip("torch")

LIVER, SPLEEN = Structure(1, "liver", (0.8, 0.3, 0.2), "a~b~c"), Structure(2, "spleen", (0.2, 0.4, 0.9))
AFFINE = np.array([[-1.1, 0, 0, 40], [0, 1.3, 0, -20], [0, 0, 2.0, 7], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of a DropGen and an Iris bundle."""
    from dropiris.models.bundle import write_bundle
    from dropiris.networks import build_network

    root = tmp_path_factory.mktemp("models")
    specs = {
        "dropgen": {"name": "UNet", "in_channels": 1, "out_channels": 3, "base_width": 4, "downsamplings": 2},
        "iris": {"name": "Iris", "in_channels": 1, "base_width": 4, "task_channels": 64, "queries": 2},
    }
    for method, spec in specs.items():
        torch.manual_seed(3)
        prefix = "predictor." if method == "dropgen" else "iris."
        weights = {prefix + name: value for name, value in build_network(spec).state_dict().items()}
        structures = (LIVER, SPLEEN) if method == "dropgen" else ()
        spacing = (1.5, 1.5, 1.5) if method == "dropgen" else None
        card = ModelCard(method, "1.0", method, (32, 32, 32), spec, structures=structures, spacing=spacing)
        write_bundle(root / method, card, weights)
    return root


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with WorkerClient(
        environment={**os.environ, "OMP_NUM_THREADS": "1"}, temporary=tmp_path_factory.mktemp("private")
    ) as client:
        yield client


@pytest.fixture
def scan():
    memory = np.random.default_rng(5).normal(100, 30, size=(40, 34, 60)).astype(np.float32)
    return Volume(memory.T, AFFINE, "Scan 1", "MR")


@pytest.fixture
def reference(scan):
    labels = np.zeros(scan.shape, np.uint8)
    labels[10:22, 8:20, 6:16] = 1
    labels[25:37, 12:24, 8:18] = 2
    return Reference(scan, (LabelMap(labels, scan.affine, (LIVER, SPLEEN)),))


def test_the_doctor_runs_a_real_convolution(client):
    report = client.doctor()
    assert report["problem"] == ""
    assert report["torch"] == torch.__version__ and report["convolution_ms"] > 0
    assert report["device_name"] and report["precision"] in ("float32", "bfloat16", "float16")


def test_dropgen_gives_the_same_labels_as_in_this_process(client, models, scan):
    from dropiris.inference import Device, DropGenSegmenter
    from dropiris.models.bundle import Bundle

    # The precision is measured per process: take the worker's.
    device = Device("cpu", client.doctor("cpu")["precision"], "CPU", "as in the worker")
    seen = []
    got = client.segment_dropgen(scan, models / "dropgen", device="cpu", progress=seen.append)
    expected = DropGenSegmenter(Bundle.open(models / "dropgen"), device).segment(scan)
    # Two runs in two processes may round a tie differently.
    assert (got.array == expected.array).mean() > 0.999
    assert got.structures == (LIVER, SPLEEN) and got.array.dtype == np.uint8
    np.testing.assert_array_equal(got.affine, scan.affine)
    stages = list(dict.fromkeys(p.stage for p in seen))
    assert stages.index("Loading the model") < stages.index("Writing the result")
    assert any(p.tiles > 1 for p in seen)


def test_a_second_click_finds_the_model_warm_and_a_changed_model_is_loaded_again(client, models, scan):
    def stages():
        seen = []
        client.segment_dropgen(scan, models / "dropgen", ["spleen"], "cpu", seen.append)
        return {p.stage for p in seen}

    stages()
    assert "Loading the model" not in stages()
    weights = models / "dropgen" / "weights.safetensors"
    os.utime(weights, (0, 0))
    assert "Loading the model" in stages()


def test_iris_encodes_once_and_segments_with_the_saved_task(client, models, scan, reference, tmp_path):
    task = client.encode_iris([reference], models / "iris", tmp_path / "tâche 1.safetensors", "cpu")
    assert task == tmp_path / "tâche 1.safetensors" and task.is_file()
    labels = client.segment_iris(scan, models / "iris", [task], device="cpu")
    assert [s.name for s in labels.structures] == ["liver", "spleen"]
    assert labels.shape == scan.shape
    one = client.segment_iris(scan, models / "iris", [task, task], ["spleen"], "cpu", "ensemble")
    assert [s.name for s in one.structures] == ["spleen"]


def test_checks_of_results_travel_and_say_why_they_cannot_be_made(client, models, scan, reference, tmp_path):
    task, windows = tmp_path / "one.safetensors", tmp_path / "one.windows"
    client.submit_encode_iris([reference], models / "iris", task, "cpu", windows).result(60)
    assert windows.is_file()
    report = client.submit_check_iris(
        scan, reference.layers[0], models / "iris", [task, task], [windows], "cpu"
    ).result(60)
    assert report.check == "reverse check" and report.why == ""
    assert report.voxels == {"liver": 1440, "spleen": 1440} and all(0 <= v <= 1 for v in report.values.values())
    alone = client.submit_check_iris(scan, reference.layers[0], models / "iris", [task], [], "cpu").result(60)
    assert alone.values == {"liver": None, "spleen": None} and "saved task" in alone.why
    plain = client.submit_check_dropgen(scan, reference.layers[0], models / "dropgen", "cpu").result(60)
    assert plain.check == "view agreement" and "no stable features" in plain.why
    with pytest.raises(InputError, match="encode it again"):
        client.submit_check_iris(scan, reference.layers[0], models / "iris", [task], [tmp_path / "no"], "cpu").result(
            60
        )


def test_a_kept_reference_is_aligned_with_the_scan(client, models, scan, reference, tmp_path):
    """The scan is the reference's own: even a network without training finds its structures once it is aligned."""
    task, windows = tmp_path / "one.safetensors", tmp_path / "one.windows"
    client.submit_encode_iris([reference], models / "iris", task, "cpu", windows).result(60)
    job = client.submit_segment_iris(scan, models / "iris", [task], device="cpu", windows=[windows])
    stages = []
    labels = wait_for(job, lambda step: stages.append(step.stage))
    assert "Aligning the reference" in stages
    assert [s.name for s in labels.structures] == ["liver", "spleen"]


def test_errors_of_the_models_arrive_as_they_are(client, models, scan, tmp_path):
    with pytest.raises(ModelError):
        client.segment_dropgen(scan, tmp_path, device="cpu")
    with pytest.raises(ModelError, match="made for iris"):
        client.segment_dropgen(scan, models / "iris", device="cpu")
    with pytest.raises(InputError, match="pancreas"):
        client.segment_dropgen(scan, models / "dropgen", ["pancreas"], "cpu")
    with pytest.raises(InputError, match="encode the reference again"):
        client.segment_iris(scan, models / "iris", [tmp_path / "none.safetensors"], device="cpu")


@pytest.mark.parametrize("stage", ["Starting the worker", "Loading PyTorch", "Loading the model", "Segmenting"])
@pytest.mark.parametrize("end", ["cancel", "kill"])
def test_every_stage_can_be_cancelled_and_killed_within_a_second(tmp_path, models, scan, await_stage, stage, end):
    if end == "kill" and sys.platform == "win32":
        pytest.skip("kills with a POSIX signal")
    big = Volume(np.tile(scan.array, (2, 3, 3)), scan.affine)
    with WorkerClient(environment={**os.environ, "OMP_NUM_THREADS": "1"}, temporary=tmp_path) as client:
        job = client.submit_segment_dropgen(big, models / "dropgen", device="cpu")
        await_stage(job, stage)
        deadline = time.monotonic() + 5
        while client.pid is None and time.monotonic() < deadline:
            time.sleep(0.001)
        start = time.monotonic()
        if end == "cancel":
            job.cancel()
        else:
            os.kill(client.pid, signal.SIGKILL)
        with pytest.raises(Cancelled if end == "cancel" else WorkerError):
            job.result(5)
        assert time.monotonic() - start < 1.0
        assert client.start().result(20)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_fell_back_to_the_processor_tries_its_device_again(models):
    from dropiris.progress import ignore_progress
    from dropiris.worker.session import Session

    session = Session()

    def load():
        return session.segmenter("dropgen", str(models / "dropgen"), "cpu", ignore_progress)

    first = load()
    assert load() is first
    first.scorer.torch_device = "elsewhere"
    assert load() is not first
