"""A tiny real model and a small real scan: every verb runs for real, in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from dropiris.cli.main import app
from dropiris.models.bundle import write_bundle
from dropiris.models.card import ModelCard
from dropiris.networks import build_network
from dropiris.volume import Structure

AFFINE = np.array([[-1.0, 0, 0, 20], [0, -1.0, 0, 30], [0, 0, 2.0, -40], [0, 0, 0, 1]])


@pytest.fixture
def dropiris() -> Callable[..., Result]:
    """Call the command line: ``dropiris("models", "list")``."""
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one DropGen and one Iris model of random weights."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("shipped models")
    window, structures = (32, 32, 32), (Structure(1, "liver", (0.8, 0.4, 0.3)), Structure(2, "spleen"))
    spec = {"name": "UNet", "in_channels": 13, "out_channels": 3, "base_width": 4, "downsamplings": 2}
    card = ModelCard(
        "tiny", "1.0.0", "dropgen", window, spec,
        title="Tiny organs", licence="CC0-1.0", spacing=(2.0, 2.0, 2.0), structures=structures,
        extractor={"name": "MIND-SSC"},
    )  # fmt: skip
    weights = build_network(spec).state_dict()
    write_bundle(root / "tiny", card, {f"predictor.{name}": value for name, value in weights.items()})
    spec = {"name": "Iris", "in_channels": 1, "base_width": 8, "task_channels": 64, "queries": 2}
    card = ModelCard("tiny-iris", "1.0.0", "iris", window, spec, intensity={"scale": "zscore"})
    weights = build_network(spec).state_dict()
    write_bundle(root / "tiny-iris", card, {f"iris.{name}": value for name, value in weights.items()})
    return root


@pytest.fixture(autouse=True)
def own_models(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or touches the models of whoever runs it."""
    monkeypatch.setenv("DROPIRIS_MODELS", str(shipped))
    monkeypatch.setenv("DROPIRIS_USER_MODELS", str(tmp_path / "installed"))


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), path)
    return path


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    array = rng.normal(100, 10, (40, 36, 20)).astype(np.float32)
    array[10:25, 10:25, 5:15] += 200
    return save(tmp_path / "scan 1.nii.gz", array)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Labels of ``scan`` with a table of names beside them."""
    array = np.zeros((40, 36, 20), np.uint8)
    array[10:25, 10:25, 5:15] = 1
    array[2:8, 2:8, 2:8] = 2
    return save(tmp_path / "labels.nii.gz", array)
