"""A whole small ``dropiris benchmark iris`` with a tiny network of random weights: every table, gone on with."""

import csv
import json

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from dropiris.benchmark.iris_embeddings import Embedded, neighbours, on_a_plane
from dropiris.benchmark.iris_one_shot import HELD_OUT, TRAINED, UNSEEN, kind_of
from dropiris.cli.main import app
from dropiris.models.bundle import write_bundle
from dropiris.models.card import ModelCard
from dropiris.networks import build_network
from dropiris.volume import Structure

SEARCHES = ["ensemble", "image-retrieval", "retrieval"]


def call(*words):
    return CliRunner().invoke(app, ["benchmark", "iris", *map(str, words)])


@pytest.fixture(scope="module")
def grid(blob_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("in context")
    torch.manual_seed(0)
    spec = {"name": "Iris", "in_channels": 1, "base_width": 8, "task_channels": 64, "queries": 2}
    card = ModelCard("tiny-iris", "1.0.0", "iris", (32, 32, 32), spec, intensity={"scale": "zscore"})
    weights = {f"iris.{name}": value for name, value in build_network(spec).state_dict().items()}
    write_bundle(folder / "model", card, weights)
    train = {"data": blob_dataset.name, "cases": {"split": "Tr", "names": ["case0", "case1"]}}
    test = {"data": blob_dataset.name, "cases": {"split": "Val", "names": ["case10"]}, "structures": ["ball"]}
    trial = {"pool": train, "queries": test, "repeats": 1}
    benchmark = {
        "models": [str(folder / "model")],
        "device": "cpu",
        "strategies": [
            {
                **trial,
                "name": "blobs",
                "references": [1, 2],
                "strategies": ["ensemble", "image-retrieval", "retrieval"],
            },
            {**trial, "name": "tuned", "references": [1], "strategies": ["tune"]},
        ],
        "one_shot": [{"name": "blobs", "references": train | {"structures": ["ball"]}, "queries": test}],
        "compute": {"queries": 1, "classes": 2, "size": 32},
        "embeddings": [{"data": blob_dataset.name, "cases": {"split": "Tr", "names": ["case0", "case1", "case2"]}}],
    }
    (folder / "grid.yaml").write_text(yaml.safe_dump(benchmark))
    words = ["--config", folder / "grid.yaml", "--data", blob_dataset.parent, "-o", folder / "runs"]
    done = call(*words)
    assert done.exit_code == 0, done.output
    return words, folder / "runs", done.stdout


def test_every_part_is_measured_and_reported(grid):
    _, runs, _ = grid
    with (runs / "strategies.csv").open() as file:
        rows = {(row["strategy"], row["references"]) for row in csv.DictReader(file)}
    assert rows == {(s, n) for s in SEARCHES for n in "12"} | {("tune", "1")}
    with (runs / "one_shot.csv").open() as file:
        assert {row["reference"] for row in csv.DictReader(file)} == {"case0", "case1"}
    text = (runs / "benchmark.md").read_text()
    assert "| strategy | 1 reference | 2 references | s per query |" in text and "## Compute" in text
    found = json.loads((runs / "benchmark.json").read_text())
    (compute,) = found["compute"]
    assert compute["seconds"] > 0 and 0 < compute["parameters_millions"] < 5 and compute["memory_gb"] > 0.05
    page = (runs / "benchmark.html").read_text()
    assert page.count("data:image/svg+xml") == 3 and "held-out dataset" in page


def test_it_goes_on_where_it_stopped(grid):
    words, runs, printed = grid
    total = printed.count("/13 ")
    gone = next(runs.glob("*/strategies/blobs/retrieval-2-0.json"))
    before = gone.read_text()
    gone.unlink()
    only = call(*words, "--report-only")
    assert only.exit_code == 0 and "1 of 13 measurements have not been made" in (runs / "benchmark.md").read_text()
    again = call(*words)
    assert (total, again.stdout.count("/13 ")) == (13, 1)
    assert json.loads(gone.read_text())["result"]["scores"] == json.loads(before)["result"]["scores"]


def test_results_of_other_cases_are_not_mixed_in(grid, tmp_path):
    words, _, _ = grid
    file = tmp_path / "other.yaml"
    changed = yaml.safe_load(words[1].read_text())
    changed["one_shot"][0]["queries"]["cases"]["names"] = ["case11"]
    file.write_text(yaml.safe_dump(changed))
    done = call("--config", file, *words[2:])
    assert done.exit_code == 1 and "reference case0: failed: " in done.output and "choose another output" in done.output


def test_what_a_model_has_seen_is_read_from_its_card():
    card = ModelCard(
        "m", "1.0.0", "iris", (32, 32, 32), {"name": "Iris"}, structures=(Structure(1, "right_kidney"),),
        training={"datasets": {"A": {}}},
    )  # fmt: skip
    assert kind_of(card, "A", "anything") == TRAINED
    assert kind_of(card, "B", "Right kidney") == HELD_OUT and kind_of(card, "B", "aorta") == UNSEEN


def test_alike_embeddings_lie_together_and_are_each_others_neighbours():
    rng = np.random.default_rng(0)
    centres = {"liver": rng.normal(size=12), "spleen": rng.normal(size=12)}
    points = []
    for dataset in ("MR", "CT"):
        for name, centre in centres.items():
            for case in range(5):
                points.append(Embedded(dataset, name, str(case), 20 + centre + 0.1 * rng.normal(size=12)))
    found = neighbours(points)
    assert all(structure == other and likeness > 0.9 for _, structure, _, other, likeness in found)
    assert neighbours(points[:10]) == []
    plane = on_a_plane(points)
    livers = np.array([point.structure == "liver" for point in points])
    within = np.linalg.norm(plane[livers] - plane[livers].mean(0), axis=1).max()
    assert np.linalg.norm(plane[livers].mean(0) - plane[~livers].mean(0)) > within
    assert on_a_plane(points[:4]) is None
