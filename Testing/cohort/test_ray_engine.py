"""Cohorts on a real Ray of two workers on this machine. Only the model is a stand-in (threshold_recipe.py)."""

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import threshold_recipe
from threshold_recipe import ThresholdRecipe

import dropiris
from dropiris.cohort import Journal, run_cohort
from dropiris.cohort.ray_crew import RayCrew, RayOptions, import_ray, join, shape
from dropiris.errors import InputError


@pytest.fixture(scope="module")
def cluster():
    """Ray's own processes, started once: they take most of the time."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray (dropiris[ray]) is not installed")
    ray = import_ray()
    try:
        join(ray, RayOptions(workers=2))
    except InputError as problem:  # its own processes give up when they get no processor for 20 s
        pytest.skip(f"Ray cannot start here: {problem}")
    ray.cloudpickle.register_pickle_by_value(threshold_recipe)  # Ray's workers do not see this folder
    yield ray
    ray.shutdown()


def test_a_killed_worker_a_damaged_scan_and_a_full_disk_lose_nothing(cohort, cluster, monkeypatch):
    cases, scans, results = cohort
    (scans / "a.dies").touch()
    (scans / "b.full").touch()
    monkeypatch.setattr(cluster, "init", lambda **options: None)  # the cluster above, for all tests
    monkeypatch.setattr(cluster, "shutdown", lambda: None)
    recipe, told = ThresholdRecipe(scans), []
    with Journal(results, cases) as journal:
        summary = run_cohort(
            cases, recipe, lambda count: RayCrew(recipe, RayOptions(workers=2), count), journal,
            tell=lambda record, ended, total: told.append(record),
        )  # fmt: skip
    assert (summary.done, summary.failed) == (4, 1)
    with open(results / "cohort.csv", newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert [rows[name]["status"] for name in "abcde"] == ["done", "done", "failed", "done", "done"]
    assert rows["a"]["attempts"] == "2" and "The worker died" in rows["a"]["notes"]
    assert rows["b"]["attempts"] == "2" and "No space left" in rows["b"]["notes"]
    assert "c.nii.gz" in rows["c"]["error"]
    assert len((results / "cohort.jsonl").read_text().splitlines()) == 5, "each case once"
    assert {path.name for path in results.glob("*.nii.gz")} == {f"{name}.nii.gz" for name in "abde"}
    opened = (scans / "opened.txt").read_text().split()
    assert len(opened) == len(set(opened)) <= 3, "two warm models, and at most one for the worker that died"
    assert str(os.getpid()) not in opened


def test_a_cluster_is_shared_by_gpus_or_by_cores():
    def workers(resources, cases=1000, on_gpu=True, **options):
        return shape(resources, RayOptions(**options), cases, on_gpu)

    assert workers({"CPU": 64.0, "GPU": 8.0}) == (8, 1.0, 1.0)
    assert workers({"CPU": 64.0, "GPU": 8.0}, gpu_share=0.5) == (16, 1.0, 0.5)
    assert workers({"CPU": 64.0, "GPU": 8.0}, cases=3) == (3, 1.0, 1.0)
    assert workers({"CPU": 64.0, "GPU": 8.0}, on_gpu=False) == (16, 4.0, 0.0)
    assert workers({"CPU": 2.0}) == (1, 2.0, 0.0)
    assert workers({"CPU": 2.0}, workers=2) == (2, 1.0, 0.0)
    with pytest.raises(InputError, match="too little for one worker"):
        workers({})


def test_without_ray_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(InputError, match=r"pip install dropiris\[ray\]"):
        import_ray()


def test_ray_is_imported_only_when_it_is_asked_for():
    code = "import sys, dropiris.cli.main, dropiris.cohort.ray_crew; sys.exit(bool({'ray', 'torch'} & {*sys.modules}))"
    environment = {**os.environ, "PYTHONPATH": str(Path(dropiris.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=120).returncode == 0
