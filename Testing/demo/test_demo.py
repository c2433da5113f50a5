"""``make demo``'s script, whole: both modules with the shipped models on real scans."""

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    output = tmp_path_factory.mktemp("demo")
    command = [sys.executable, str(ROOT / "training" / "demo" / "run_demo.py"), "-o", str(output), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return output, done.stdout


def test_every_task_writes_its_segmentation_and_pictures(demo):
    output, _ = demo
    tasks = {path.name for path in output.iterdir()}
    assert {"hippocampus-right-dropgen", "hippocampus-left-dropgen", "hippocampus-left-iris"} <= tasks
    for task in output.iterdir():
        written = {path.name for path in task.iterdir()}
        assert {"segmentation.seg.nrrd", "labels.nii.gz", "overlay.png"} <= written


def test_both_modules_find_a_hippocampus_of_human_size(demo):
    output, _ = demo
    for task in ("hippocampus-right-dropgen", "hippocampus-left-dropgen", "hippocampus-left-iris"):
        labels = nib.load(output / task / "labels.nii.gz")
        millilitres = np.count_nonzero(np.asarray(labels.dataobj)) * abs(np.linalg.det(labels.affine[:3, :3])) / 1000
        assert 1.5 < millilitres < 7.0


def test_the_modules_agree_on_the_left_side(demo):
    output, _ = demo
    one, other = (
        np.asarray(nib.load(output / f"hippocampus-left-{name}" / "labels.nii.gz").dataobj) > 0
        for name in ("dropgen", "iris")
    )
    assert 2 * (one & other).sum() / (one.sum() + other.sum()) > 0.7
