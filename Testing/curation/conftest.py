"""Small datasets in nnU-Net's layout: one as it should be, and whatever a test breaks in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dropiris.cli.main import app

SHAPE = (26, 20, 16)
# Stored as scanners do: i to the left, j to the back.
AFFINE = np.array([[-3.0, 0, 0, 36], [0, -3.0, 0, 30], [0, 0, 4.0, -30], [0, 0, 0, 1]])
TABLE: dict[str, Any] = {
    "channel_names": {"0": "T2"},
    "labels": {"background": 0, "liver": 1, "spleen": 2, "left_kidney": 3, "right_kidney": 4},
    "numTraining": 5,
    "file_ending": ".nii.gz",
    "modality": "MR",
    "licence": "CC0-1.0",
    "source": "drawn by the tests",
}


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def person(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A body of noise with four organs, each person's a little elsewhere; liver and right kidney at low i."""
    rng = np.random.default_rng(seed)
    image = np.zeros(SHAPE, np.int16)
    image[2:24, 2:18] = rng.normal(300, 40, (22, 16, SHAPE[2]))
    labels = np.zeros(SHAPE, np.uint8)
    for value, (i, j, k), side in ((1, (4, 4, 8), 6), (2, (18, 9, 9), 4), (3, (17, 13, 3), 4), (4, (5, 13, 3), 4)):
        start = np.array((i, j, k)) + rng.integers(0, 2, 3)
        box = tuple(slice(at, at + side) for at in start)
        labels[box] = value
        image[box] += np.int16(rng.integers(150, 900))
    return image, labels


class SmallDataset:
    """A dataset folder that a test changes before it is checked."""

    shape, affine = SHAPE, AFFINE
    person, save = staticmethod(person), staticmethod(save)

    def __init__(self, root: Path) -> None:
        self.root = root
        self.table = json.loads(json.dumps(TABLE))
        for n in range(5):
            self.add("Tr", f"p{n}", *person(n))
        self.write()

    def add(self, split: str, name: str, image: Any, labels: Any, affine: np.ndarray = AFFINE) -> None:
        if image is not None:
            save(self.root / f"images{split}" / f"{name}_0000.nii.gz", image, affine)
        if labels is not None:
            save(self.root / f"labels{split}" / f"{name}.nii.gz", labels, affine)

    def write(self, **changes: Any) -> None:
        self.table.update(changes)
        (self.root / "dataset.json").write_text(json.dumps(self.table), encoding="utf-8")


@pytest.fixture
def dataset(tmp_path: Path) -> SmallDataset:
    return SmallDataset(tmp_path / "Dataset001_Small")


@pytest.fixture
def dropiris() -> Callable[..., Result]:
    """Call the command line: ``dropiris("data", "check", folder)``."""
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])
