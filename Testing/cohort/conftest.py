"""A small cohort: five scans, one of them no scan."""

import sys
from pathlib import Path

import numpy as np
import pytest

from dropiris.cohort import Case
from dropiris.files import write_volume
from dropiris.volume import Volume

sys.path.insert(0, str(Path(__file__).parent))  # for threshold_recipe.py


@pytest.fixture
def cohort(tmp_path):
    """(cases, folder of scans, folder of results); scan n has 10 (n + 1) bright voxels of 1 mm³."""
    scans, results = tmp_path / "scans", tmp_path / "results"
    scans.mkdir()
    for n, name in enumerate("abcde"):
        array = np.random.default_rng(n).uniform(0, 100, (12, 10, 8)).astype(np.float32)
        array.reshape(-1)[: 10 * (n + 1)] = 200
        write_volume(Volume(array, np.eye(4), name), scans / f"{name}.nii.gz")
    (scans / "c.nii.gz").write_bytes(b"no scan")
    return [Case(scans / f"{n}.nii.gz", results / f"{n}.nii.gz") for n in "abcde"], scans, results
