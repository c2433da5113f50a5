"""Choosing a threshold of trust, and the scans made hard on purpose."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dropiris.errors import ModelError
from dropiris.models.card import ModelCard
from dropiris.volume import LabelMap, Structure, Volume

BENCHMARKS = Path(__file__).resolve().parents[2] / "training" / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


figures, hard_inputs = load("trust_figures"), load("hard_inputs")


@dataclass
class Row:
    half: int
    dice: float
    trust: float
    voxels: int = 100
    hard: str = "as it is"


def results(half, rng, good=40, bad=10):
    """Good ones with trust from 0.6 to 1, bad ones from 0 to 0.7: they overlap."""
    rows = [Row(half, 0.8 + 0.2 * q, 0.6 + 0.4 * q) for q in rng.random(good)]
    return rows + [Row(half, 0.4 * q, 0.7 * q) for q in rng.random(bad)] + [Row(half, 0.0, 0.0, voxels=0)]


def test_the_threshold_of_one_half_flags_a_tenth_of_the_good_and_the_other_half_says_what_it_does():
    rng = np.random.default_rng(0)
    rows = results(0, rng) + results(1, rng)
    found = figures.calibrate(rows, "boxes")
    chosen = [row.trust for row in rows if row.half == 0 and row.dice >= 0.8]
    assert sum(value < found["threshold"] for value in chosen) <= 0.1 * len(chosen)
    assert sum(value < found["threshold"] + 0.02 for value in chosen) > 0.05 * len(chosen)
    told = [row for row in rows if row.half == 1 and row.voxels]
    assert (found["results"], found["good"], found["bad"], found["not_found"]) == (50, 40, 10, 1)
    assert found["caught"] == sum(r.trust < found["threshold"] for r in told if r.dice < 0.5) / 10
    assert 0.8 < found["rank_correlation"] <= 1 and found["false_alarms"] < 0.3
    assert ModelCard("any", "1.0", "iris", (32, 32, 32), {"name": "Iris"}, trust=found).trust == found


def test_a_few_good_results_choose_nothing(tmp_path):
    rows = results(0, np.random.default_rng(0), good=5) + results(1, np.random.default_rng(1))
    found = figures.calibrate(rows, "boxes")
    assert found["threshold"] is None
    figures.draw(rows, found, "boxes", tmp_path / "trust.png")
    assert (tmp_path / "trust.png").stat().st_size > 1000


@pytest.mark.parametrize("key, value", [("threshold", 1.5), ("threshold", "high"), ("rank_correlation", -2)])
def test_a_card_refuses_a_calibration_that_is_none(key, value):
    with pytest.raises(ModelError, match=key):
        ModelCard("any", "1.0", "iris", (32, 32, 32), {"name": "Iris"}, trust={key: value})


@pytest.mark.parametrize("name", hard_inputs.HARD)
def test_hard_scans_keep_what_is_labelled_where_it_is(name):
    affine = np.diag([2.0, 2, 2, 1])
    image, labels = np.zeros((20, 24, 40), np.float32), np.zeros((20, 24, 40), np.uint8)
    image[4:16, 4:20, 10:34] = 100.0
    labels[image > 0] = 1
    volume, truth = hard_inputs.HARD[name](
        Volume(image, affine), LabelMap(labels, affine, (Structure(1, "box"),)), np.random.default_rng(0)
    )
    assert volume.shape == truth.shape and np.array_equal(volume.affine, truth.affine)
    inside, outside = volume.array[truth.array > 0].mean(), volume.array[truth.array == 0].mean()
    assert (inside < outside) if name == "inverted" else (inside > outside)
    first = np.argwhere(truth.array)[0] @ volume.affine[:3, :3] + volume.affine[:3, 3]
    expected = np.argwhere(labels)[0] @ affine[:3, :3]
    assert np.array_equal(first, expected) or name == "cropped"
    if name == "cropped":
        assert volume.shape[2] < 40 and first[2] in (expected[2], volume.affine[2, 3])
