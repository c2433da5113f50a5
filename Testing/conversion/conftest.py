"""A small oblique, anisotropic scan with three structures, as every source layout gets it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner, Result

from dropiris.cli.main import app

SHAPE = (14, 12, 8)
# Columns: along i (to the patient's left), along j (to the back), across slices; RAS mm.
TURN = np.diag([-1.0, -1.0, 1.0]) @ Rotation.from_euler("xyz", (10, -25, 40), degrees=True).as_matrix()
AFFINE = np.eye(4)
AFFINE[:3, :3] = TURN @ np.diag([0.6, 0.8, 3.0])
AFFINE[:3, 3] = (30.5, -40.25, 300.0)


def _labels() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:7, 3:9, 1:6] = 1
    labels[4:6, 5:7, 2:4] = 3  # inside 1
    labels[9:13, 2:5, 4:8] = 2
    return labels


def _scan(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1500, SHAPE).astype(np.int16)


def _save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


@pytest.fixture(scope="session")
def small() -> SimpleNamespace:
    """``scan(seed)``, ``labels`` (values 1, 2, 3), ``affine``, ``save(path, array)``."""
    return SimpleNamespace(scan=_scan, labels=_labels(), affine=AFFINE, turn=TURN, shape=SHAPE, save=_save)


@pytest.fixture
def convert() -> Callable[..., Result]:
    """Call ``dropiris data convert``."""
    return lambda *words: CliRunner().invoke(app, ["data", "convert", *(str(word) for word in words)])
