"""A small nnU-Net dataset: bright blobs in noise, written as real NIfTI files."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from dropiris.files import write_labels, write_volume
from dropiris.volume import LabelMap, Volume

sys.path.insert(0, str(Path(__file__).parent))  # for preloaded.py


def blobs(seed: int, shape=(40, 36, 32)) -> tuple[np.ndarray, np.ndarray]:
    """An image with a bright ball and a dim box at random places, and their labels 1 and 3 (with a gap)."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 5, shape)
    labels = np.zeros(shape, np.uint8)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    centre = rng.uniform(10, 14, 3)
    labels[np.linalg.norm(grid - centre, axis=-1) < 6] = 1
    corner = rng.integers(19, 22, 3)
    labels[tuple(slice(c, c + 8) for c in corner)] = 3
    image[labels == 1] += 100
    image[labels == 3] += 50
    return image.astype(np.float32), labels


@pytest.fixture(scope="session")
def blob_dataset(tmp_path_factory):
    """Four training and two validation cases, voxels of 1 x 1 x 2 mm, stored left-posterior-superior."""
    folder = tmp_path_factory.mktemp("data") / "Dataset901_Blobs"
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    for split, seeds in (("Tr", range(4)), ("Val", range(10, 12))):
        (folder / f"images{split}").mkdir(parents=True)
        (folder / f"labels{split}").mkdir()
        for seed in seeds:
            image, labels = blobs(seed)
            write_volume(Volume(image, affine), folder / f"images{split}" / f"case{seed}_0000.nii.gz")
            write_labels(LabelMap(labels, affine), folder / f"labels{split}" / f"case{seed}.nii.gz")
            (folder / f"labels{split}" / f"case{seed}.json").unlink(missing_ok=True)
    table = {"labels": {"background": 0, "ball": 1, "box": 3}, "channel_names": {"0": "MR"}, "licence": "CC0 1.0"}
    (folder / "dataset.json").write_text(json.dumps(table), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def toy():
    """``toy_run.py`` as a module: a real run of a small network."""
    spec = importlib.util.spec_from_file_location("toy_run", Path(__file__).with_name("toy_run.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def config(toy):
    """Makes settings of a short run."""

    def make(**settings):
        fixed = {"data": ["none"], "accelerator": "cpu", "precision": "32-true", "learning_rate": 1e-2, "workers": 0}
        return toy.ToyConfig(**{**fixed, "max_steps": 12, "log_every": 4, **settings})

    return make
