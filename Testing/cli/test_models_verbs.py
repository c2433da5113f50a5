"""``dropiris models`` and ``dropiris doctor``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]


def test_models_are_listed_shown_and_verified(dropiris: Run) -> None:
    listed = dropiris("models", "list")
    assert listed.exit_code == 0 and "Tiny organs" in listed.stdout and "tiny-iris" in listed.stdout
    shown = dropiris("models", "info", "tiny")
    assert "liver, spleen" in shown.stdout and "CC0-1.0" in shown.stdout and "Not a medical device" in shown.stdout
    assert json.loads(dropiris("models", "info", "tiny", "--json").stdout)["name"] == "tiny"
    assert "whole" in dropiris("models", "verify", "tiny").stdout


def test_a_models_scores_have_their_intervals_and_its_failures_are_told(
    dropiris: Run, shipped: Path, tmp_path: Path
) -> None:
    from dropiris.models.bundle import Bundle, write_bundle

    score = {"dataset": "A (Val)", "structure": "liver", "metric": "Dice", "value": 0.8412, "cases": 6}
    tiny = Bundle.open(shipped / "tiny")
    card = replace(
        tiny.card,
        name="measured",
        training={"date": "2026-03-01", "steps": 1500, "hardware": "processor, 1 thread"},
        scores=[{**score, "interval": [0.8, 0.879]}, {**score, "structure": "spleen"}],
        failures=[{"text": "Misses small livers.", "picture": "small.png"}, {"text": "No CT.", "picture": "ct.png"}],
    )
    write_bundle(tmp_path / "measured", card, tiny.tensors(), also={"small.png": b"PNG"})
    said = dropiris("models", "info", tmp_path / "measured").stdout
    assert "liver: Dice 0.841 [0.80, 0.88] (6 cases)" in said and "spleen: Dice 0.841 (6 cases)" in said
    assert "Failure:      Misses small livers. (see small.png)\n" in said and "Failure:      No CT.\n" in said
    assert "Trained:      2026-03-01, 1500 steps, processor, 1 thread\n" in said
    plain = dropiris("models", "info", "tiny").stdout
    assert "Failure:" not in plain and "Trained:" not in plain


def test_a_model_is_imported_and_removed_again(dropiris: Run, shipped: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "model"), "zip", shipped / "tiny")
    done = dropiris("models", "import", archive)
    assert done.exit_code == 0 and (tmp_path / "installed" / "tiny" / "model.json").is_file()
    rows = json.loads(dropiris("models", "list", "--json").stdout)
    assert {row["name"]: row["state"] for row in rows} == {"tiny": "installed", "tiny-iris": "shipped"}
    assert dropiris("models", "remove", "tiny").exit_code == 0
    assert not (tmp_path / "installed" / "tiny").exists()


def test_a_checkpoint_of_the_authors_code_is_imported(dropiris: Run, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from dropiris.networks import UNet

    args = {
        "in_channels": 1,
        "num_classes": 2,
        "base_filters": 2,
        "num_levels": 2,
        "class_mapping": {"bg": 0, "pancreas": 1},
    }
    args |= {"spacing": [1.0, 1.0, 4.0], "crop_size": [16, 16, 16], "method": "erm", "dataset": "pancreas"}
    run = tmp_path / "erm pancreas"
    run.mkdir()
    torch.save({"model_state_dict": UNet(1, 2, 2, 2).state_dict(), "args": args}, run / "best.pth")
    done = dropiris("models", "import", run / "best.pth")
    assert done.exit_code == 0, done.output
    assert "pancreas" in dropiris("models", "info", "erm-pancreas").stdout
    refused = dropiris("models", "import", tmp_path / "model.zip", "--name", "other")
    assert refused.exit_code == 2 and ".pth" in refused.stderr


def test_a_model_shares_features_that_come_later(dropiris: Run, shipped: Path, tmp_path: Path) -> None:
    from dropiris.models.bundle import Bundle, write_bundle
    from dropiris.models.card import ModelCard
    from dropiris.networks import build_network

    spec = {"name": "AnatomixUNet", "layer": "final", "out_channels": 12, "base_width": 4, "downsamplings": 2}
    weights = {f"extractor.{name}": value for name, value in build_network(spec).state_dict().items()}
    features = write_bundle(tmp_path / "calm", ModelCard("calm", "1.0.0", "extractor", (32, 32, 32), spec), weights)
    tiny = Bundle.open(shipped / "tiny")
    card = replace(tiny.card, name="calmer", extractor=spec)
    model = write_bundle(tmp_path / "calmer", card, {**tiny.tensors(), **weights})
    done = dropiris("models", "share", model.folder, features.folder)
    assert done.exit_code == 0 and "calmer shares" in done.stdout, done.output
    early = dropiris("models", "import", model.folder)
    assert early.exit_code == 0 and "import calm 1.0.0 too" in early.stderr
    assert "import calm 1.0.0 too" in dropiris("doctor", "--device", "cpu").stdout
    assert dropiris("models", "import", features.folder).exit_code == 0
    assert "calm       installed  features  1.0.0" in dropiris("models", "list").stdout
    assert "Used by:      calmer" in dropiris("models", "info", "calm").stdout
    assert "Shares:       calm 1.0.0" in dropiris("models", "info", "calmer").stdout
    refused = dropiris("dropgen", "segment", tmp_path, "-m", "calm", "-o", tmp_path / "out")
    assert refused.exit_code == 1 and "calm" in refused.stderr


def test_failures_are_sentences(dropiris: Run, tmp_path: Path) -> None:
    for words, text in (
        (["remove", "tiny"], "shipped"),
        (["info", "tinnny"], "did you mean 'tiny'"),
        (["import", tmp_path / "no.zip"], "no.zip"),
        (["download", "tiny"], "already here"),
        (["download", "nothing-like-it"], "no model"),
    ):
        done = dropiris("models", *words)
        assert done.exit_code == 1 and text in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_the_doctor_runs_a_real_forward_pass_and_looks_at_the_models(dropiris: Run) -> None:
    done = dropiris("doctor", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "Forward pass" in done.stdout and "Model tiny" in done.stdout and "Everything works." in done.stdout


def test_the_doctor_says_what_is_wrong_and_what_to_do(dropiris: Run, tmp_path: Path, shipped: Path) -> None:
    damaged = tmp_path / "installed" / "broken"
    shutil.copytree(shipped / "tiny", damaged)
    (damaged / "weights.safetensors").write_bytes(b"cut")
    done = dropiris("doctor", "--device", "cpu", "--json")
    report = json.loads(done.stdout)
    assert done.exit_code == 1 and not report["good"]
    bad = [finding for finding in report["findings"] if not finding["good"]]
    assert len(bad) == 1 and "weights.safetensors" in bad[0]["found"] and "models remove" in bad[0]["advice"]


def test_the_doctor_answers_for_a_device_that_is_not_here(dropiris: Run) -> None:
    import torch

    if not torch.cuda.is_available():
        done = dropiris("doctor", "--device", "cuda")
        assert done.exit_code == 1 and "--device cpu" in done.stdout and "Traceback" not in done.output
