"""W&B and MLflow get the figures of a run, and of its resumption, in one curve; both offline."""

import json
import re
import sys
import time

import pytest

from dropiris.errors import InputError


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_that_is_not_installed_is_named_before_training(toy, config, tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not: importing it fails
    with pytest.raises(InputError, match=f"The logger {name} is not installed; run `pip install {name}`, or leave it"):
        toy.train(config(loggers=[name]), tmp_path)
    assert not (tmp_path / "last.pt").exists() and not (tmp_path / "loggers.json").exists()


@pytest.fixture
def two_halves(toy, config, tmp_path):
    """Trains four steps, then goes on to eight; returns the run's folder and the losses of ``log.jsonl``."""

    def train(logger):
        for steps in (4, 8):
            toy.train(config(loggers=[logger], max_steps=steps, log_every=2), tmp_path)
        lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        return tmp_path, {line["step"]: line["loss"] for line in lines if "loss" in line}

    return train


def test_mlflow_keeps_one_curve_in_the_runs_own_database(two_halves, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder, losses = two_halves("mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{(folder / 'mlflow.db').as_posix()}")
    [run] = client.search_runs([client.get_experiment_by_name("dropiris").experiment_id])
    kept = {point.step: point.value for point in client.get_metric_history(run.info.run_id, "loss")}
    assert kept == pytest.approx(losses) and sorted(kept) == [2, 4, 6, 8]
    assert run.info.status == "FINISHED" and run.data.params["max_steps"] == "4"


def test_wandb_keeps_one_run_offline(two_halves, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed")
    for name, value in {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    folder, losses = two_halves("wandb")
    number = json.loads((folder / "loggers.json").read_text())["wandb"]
    assert {path.name.rpartition("-")[2] for path in (folder / "wandb").glob("offline-run-*")} == {number}
    expected, deadline = sorted(losses.values()), time.monotonic() + 20
    # A process of W&B's own writes the files; it may end after finish() has returned.
    while (written := losses_in(folder)) != pytest.approx(expected) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert sorted(losses) == [2, 4, 6, 8] and written == pytest.approx(expected)


def losses_in(folder):
    """From W&B's binary logs, whose keys and numbers are text."""
    logs = b"".join(path.read_bytes() for path in folder.glob("wandb/offline-run-*/run-*.wandb"))
    return sorted({float(number) for number in re.findall(rb"loss[^a-z]{1,6}?(\d+\.\d+)", logs)})
