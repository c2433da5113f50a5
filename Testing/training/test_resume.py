"""A run that is killed, told to stop or left unfinished goes on to the very same losses and weights."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from preloaded import SOURCES
from preloaded import start as start_program

from dropiris.models.bundle import Bundle

TOY = Path(__file__).with_name("toy_run.py")
REQUEUE = 75
ENVIRONMENT = {**os.environ, "PYTHONPATH": SOURCES, "OMP_NUM_THREADS": "1"}


def start(folder, *words):
    return start_program(TOY, folder, *words)


def finish(folder, *words):
    """(losses by step, stderr) of a run that must end well."""
    process = start(folder, *words)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return dict(line.split() for line in out.splitlines()), err


def same_weights(one, other):
    a, b = (torch.load(folder / "last.pt", weights_only=True) for folder in (one, other))
    assert a["step"] == b["step"]
    for part in ("network", "averaged"):
        assert all(torch.equal(a[part][name], b[part][name]) for name in a[part])
    for number, moments in a["optimizer"]["state"].items():
        assert all(torch.equal(value, b["optimizer"]["state"][number][name]) for name, value in moments.items())
    assert a["also"]["memory"]["seen"] == b["also"]["memory"]["seen"] == a["step"]
    return a["step"]


def logged(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines]


def wait_for_step(folder, process, step, seconds=120):
    """Until the log has a line of ``step``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        path = folder / "log.jsonl"
        if path.exists() and any(json.loads(line)["step"] >= step for line in _whole_lines(path)):
            return
        time.sleep(0.01)
    raise AssertionError("the run did not get there")


def _whole_lines(path):
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """(losses by step, folder) of a run nothing happened to, in an interpreter of its own."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    command = [sys.executable, TOY, folder, "batch_size=2", "checkpoint_every=1000", "log_every=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return dict(line.split() for line in done.stdout.splitlines()), folder


@pytest.mark.parametrize("workers", [0, 1])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, unbroken, workers):
    """kill -9 at a random step, twice: the losses that remain and the final weights are those of an unbroken run."""
    words = ["batch_size=2", "checkpoint_every=7", "log_every=1", f"workers={workers}"]
    straight, folder = unbroken
    moments = sorted(random.sample(range(2, 36), 2))
    for moment in moments:
        process = start(tmp_path / "killed", *words, "pause=0.05")
        wait_for_step(tmp_path / "killed", process, moment)
        process.kill()
        process.communicate()
    resumed, _ = finish(tmp_path / "killed", *words)
    assert len(resumed) < 40 or moments[-1] < 7, "nothing was left of the killed run"
    assert resumed == {step: straight[step] for step in resumed}, f"killed after {moments}"
    assert same_weights(folder, tmp_path / "killed") == 40
    assert logged(folder) == logged(tmp_path / "killed")


def test_a_report_that_spans_the_interruption_is_the_same(tmp_path, unbroken):
    """The mean of 10 losses, 3 of them before the checkpoint at step 13."""
    words = ["batch_size=2", "log_every=10", "checkpoint_every=13"]
    losses = torch.tensor([float(loss) for loss in unbroken[0].values()])
    process = start(tmp_path / "killed", *words, "pause=0.05")
    end = time.monotonic() + 120
    while not (tmp_path / "killed" / "last.pt").exists() and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    finish(tmp_path / "killed", *words)
    means = [float(f"{float(part.mean()):.9g}") for part in losses.split(10)]
    assert logged(tmp_path / "killed") == list(zip((10, 20, 30, 40), means, strict=True))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")
def test_told_to_stop_it_saves_and_asks_to_be_started_again(tmp_path, unbroken):
    words = ["batch_size=2", "checkpoint_every=1000", "log_every=1", "workers=1"]
    straight, folder = unbroken
    process = start(tmp_path / "stopped", *words, "pause=0.05")
    wait_for_step(tmp_path / "stopped", process, 5)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == REQUEUE, err
    assert "the same command goes on" in err
    resumed, _ = finish(tmp_path / "stopped", *words)
    assert 0 < len(resumed) <= 35
    assert resumed == {step: straight[step] for step in resumed}
    assert same_weights(folder, tmp_path / "stopped") == 40


SMALL = ["window=[32, 32, 32]", "base_width=4", "accelerator=cpu", "precision=32-true", "max_steps=8", "log_every=1"]
METHODS = {
    "dropgen": [*SMALL, "downsamplings=3", "spacing=[1, 1, 1]", "validation_cases=1"],
    "iris": [*SMALL, "queries=2", "max_classes=2", "task_channels=64", "validation_cases=1"],
}


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_training_of_a_method_ends_in_the_same_model(blob_dataset, tmp_path, method):
    """Data, augmentation, extractor and memory of the real loops through kill -9; validation on the way, best kept."""
    words = [*METHODS[method], "checkpoint_every=2", "validate_every=4", "workers=1"]

    def train(folder):
        return start_program("dropiris.cli", "train", method, "--data", blob_dataset, "-o", folder, *words)

    for name in ("straight", "killed"):
        process = train(tmp_path / name)
        if name == "killed":
            wait_for_step(tmp_path / name, process, random.randint(3, 7))
            process.kill()
            process.communicate()
            process = train(tmp_path / name)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    straight, killed = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("straight", "killed"))
    for part in ("network", "averaged"):
        assert all(torch.equal(value, killed[part][key]) for key, value in straight[part].items())
    assert shown(tmp_path / "straight") == shown(tmp_path / "killed")
    one, other = (Bundle.open(tmp_path / name / "model").tensors() for name in ("straight", "killed"))
    assert one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def shown(folder):
    """What the log says of the training itself; seconds differ."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(line["step"], line.get("loss"), line.get("score"), line.get("best_score")) for line in lines]


def test_a_finished_run_trains_no_further_and_a_damaged_one_is_named(tmp_path):
    finish(tmp_path / "run", "max_steps=3")
    process = start(tmp_path / "run", "max_steps=3", "learning_rate=0.02")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and out == ""
    assert "learning_rate: 0.02" in (tmp_path / "run" / "config.yaml").read_text()

    whole = (tmp_path / "run" / "last.pt").read_bytes()
    (tmp_path / "run" / "last.pt").write_bytes(whole[: len(whole) // 2])
    process = start(tmp_path / "run", "max_steps=5")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "last.pt cannot be read" in err and "start anew" in err and len(err.strip().splitlines()) == 1
