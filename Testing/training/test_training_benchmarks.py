"""The training benchmarks in a quick form: every line runs and says what it measured. No figure is judged here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from dropiris.files import write_labels, write_volume
from dropiris.train import train_dropgen
from dropiris.train.dropgen_config import DropGenConfig
from dropiris.volume import LabelMap, Volume

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "training" / "benchmarks"


def run(script, *words):
    path = os.pathsep.join(filter(None, [str(ROOT / "training" / "src"), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, str(BENCHMARKS / script), *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def abdomen(folder, split, cases, structures=("liver", "right_kidney", "left_kidney", "spleen")):
    """Boxes of four intensities in a block of 5 mm voxels, in nnU-Net's layout."""
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / f"{kind}{split}").mkdir(parents=True, exist_ok=True)
    for number in range(cases):
        labels = np.zeros((40, 40, 40), np.uint8)
        for value in range(1, 5):
            labels[8 * value : 8 * value + 6, 10:30, 10:30] = value
        image = (20 * labels + rng.normal(0, 3, labels.shape)).astype(np.float32)
        affine = np.diag([5.0, 5.0, 5.0, 1.0])
        write_volume(Volume(image, affine), folder / f"images{split}" / f"case{number}_0000.nii.gz")
        write_labels(LabelMap(labels, affine), folder / f"labels{split}" / f"case{number}.nii.gz")
        (folder / f"labels{split}" / f"case{number}.json").unlink(missing_ok=True)
    table = {"labels": {"background": 0, **{name: n for n, name in enumerate(structures, start=1)}}}
    (folder / "dataset.json").write_text(json.dumps(table), encoding="utf-8")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    abdomen(folder / "Dataset002_AbdomenMR", "Tr", 2)
    abdomen(folder / "Dataset002_AbdomenMR", "Val", 1)
    abdomen(folder / "Dataset003_AbdomenCT", "Ts", 1)
    return folder


def test_training_overhead_stands_beside_erm(tmp_path):
    output = tmp_path / "overhead.json"
    words = [
        "--window",
        32,
        "--base-width",
        4,
        "--downsamplings",
        3,
        "--rounds",
        1,
        "--steps",
        1,
        "--accelerator",
        "cpu",
    ]
    printed = run("training_overhead.py", *words, "-o", output, "--only", "erm", "mind", "anatomix")
    figures = json.loads(output.read_text(encoding="utf-8"))["figures"]
    assert figures["overhead.mind"]["ratio"] > 0 and figures["overhead.anatomix"]["target"] == 1.15
    assert 0 <= figures["waiting.erm"]["value"] <= 1 and "DropGen, anatomix" in printed


def test_adaptations_stand_in_one_table(data, tmp_path):
    folder = data / "Dataset002_AbdomenMR"
    models = {}
    kinds = {"erm": {"method": "erm"}, "no-dropout": {"ablation": "no-dropout"}, "dropgen": {}}
    for name, more in {**kinds, "stable": {"ablation": "representations-only"}}.items():
        settings = {"window": (32, 32, 32), "spacing": (5, 5, 5), "base_width": 4, "downsamplings": 3, "max_steps": 2}
        config = DropGenConfig(data=[folder], name=name, accelerator="cpu", precision="32-true", **settings, **more)
        models[name] = train_dropgen(config, tmp_path / name).folder
    words = [word for name, path in models.items() for word in (f"--{name}", path)]
    words += ["--data", folder, "--split", "Val", "--steps", 1, "--device", "cpu"]
    printed = run("test_time_adaptation.py", *words)
    for row in ("DropGen", "ERM", "no dropout", "stable only", "EntMin (ERM)", "EntMin (no dropout)", "SFB"):
        assert f"| {row} |" in printed
    assert "| alpha tuning (" in printed


def test_learning_speed_compares_optimisers_on_heads_that_are_held_back(tmp_path):
    recipe = yaml.safe_load((ROOT / "training" / "recipes" / "brain-any-contrast.yaml").read_text(encoding="utf-8"))
    folder = tmp_path / recipe["data"][0]
    (folder / "labelsTr").mkdir(parents=True)
    names = [name for parts in recipe["merge"].values() for name in parts]
    labels = np.zeros((48, 48, 48), np.uint8)
    for number in range(len(names)):
        i, j, k = number // 16, number // 4 % 4, number % 4
        labels[8 + 10 * i : 18 + 10 * i, 4 + 10 * j : 14 + 10 * j, 4 + 10 * k : 14 + 10 * k] = number + 1
    for case in ["training_seg_01", *recipe["training"]["without"]]:
        write_labels(LabelMap(labels, np.diag([4.0, 4.0, 4.0, 1.0])), folder / "labelsTr" / f"{case}.nii.gz")
        (folder / "labelsTr" / f"{case}.json").unlink(missing_ok=True)
    table = {"labels": {"background": 0, **{name: n for n, name in enumerate(names, start=1)}}}
    (folder / "dataset.json").write_text(json.dumps(table), encoding="utf-8")
    printed = run("learning_speed.py", "--data", tmp_path, "--steps", 1)
    assert all(name in printed for name in ("AdamW, balanced", "Muon", "Muon, balanced")) and "1 steps" in printed
