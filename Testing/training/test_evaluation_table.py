"""The table of Iris and the check of cards: what is measured is kept, and nothing is shown that was not measured."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dropiris.data.brain_structures import brain_groups
from dropiris.errors import InputError
from dropiris.evaluate.cases import DatasetTable
from dropiris.evaluate.metrics import DICE
from dropiris.evaluate.score import CaseScore
from dropiris.evaluate.summary import summarise
from dropiris.files import write_labels, write_volume
from dropiris.models.card import ModelCard
from dropiris.volume import LabelMap, Structure, Volume

RECIPES = Path(__file__).resolve().parents[2] / "training" / "recipes"
SOURCE, TARGET = ("DatasetA", "Tr"), ("DatasetB", "Ts")


@pytest.fixture(scope="module")
def recipes():
    """The scripts beside the recipes, which import each other by their names."""
    sys.path.insert(0, str(RECIPES))
    try:
        import card_check
        import dropgen_scores
        import iris_scores
        import iris_table
        import iris_tasks
        import train_models

        yield {
            "scores": iris_scores,
            "table": iris_table,
            "tasks": iris_tasks,
            "cards": card_check,
            "dropgen": dropgen_scores,
            "training": train_models,
        }
    finally:
        sys.path.remove(str(RECIPES))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two references with two structures; of two queries the second has only "big" annotated."""
    folder = tmp_path_factory.mktemp("data")
    for (dataset, split), partial in ((SOURCE, {}), (TARGET, {"case2": ["big"]})):
        for kind in ("images", "labels"):
            (folder / dataset / f"{kind}{split}").mkdir(parents=True)
        table = {"labels": {"background": 0, "big": 1, "small": 2}, "partially_labelled": partial}
        (folder / dataset / "dataset.json").write_text(json.dumps(table), encoding="utf-8")
        for number in (1, 2):
            array = np.zeros((6, 6, 6), np.uint8)
            array[1:5, 1:5, 1:3] = 1
            if not (partial and number == 2):
                array[1:3, 1:3, 4] = 2
            structures = tuple(Structure(v, n) for v, n in ((1, "big"), (2, "small")) if (array == v).any())
            write_labels(
                LabelMap(array, np.eye(4), structures), folder / dataset / f"labels{split}" / f"case{number}.nii.gz"
            )
            scan = folder / dataset / f"images{split}" / f"case{number}_0000.nii.gz"
            write_volume(Volume(array.astype(np.float32), np.eye(4)), scan)
    return folder


class Threshold:
    """A stand-in for a model: finds "big" where the scan says 1, and never "small"."""

    name, title, settings = "threshold", "Threshold", "first"

    def __init__(self):
        self.learned = 0

    def learn(self, reference):
        self.learned += 1
        table = reference.layers[0].structures
        return lambda scan: LabelMap((scan.array == 1).astype(np.uint8), scan.affine, table)


@pytest.fixture
def task(recipes):
    return recipes["tasks"].IrisTask("toy", "Toy", SOURCE, TARGET, parts={"the big one": ("big",)})


def test_pairs_are_measured_once_and_again_with_other_settings(recipes, data, task, tmp_path):
    measure, method = recipes["scores"].measure, Threshold()
    pairs = measure(method, task, data, tmp_path, say=lambda text: None)
    assert method.learned == 4
    assert [(p.reference, p.query) for p in pairs] == [
        ("case1", "case1"), ("case1", "case2"), ("case2", "case1"), ("case2", "case2")
    ]  # fmt: skip
    assert pairs[0].dice == {"big": 1.0, "small": 0.0}
    assert pairs[1].dice == {"big": 1.0}  # "small" is not annotated there

    again = Threshold()
    assert measure(again, task, data, tmp_path, say=lambda text: None) == pairs
    assert again.learned == 0
    stored = tmp_path / "toy" / "threshold.json"
    content = json.loads(stored.read_text(encoding="utf-8"))
    content["pairs"].pop()  # as after a call that was stopped
    stored.write_text(json.dumps(content), encoding="utf-8")
    assert measure(again, task, data, tmp_path, stored=True) == pairs[:3] and again.learned == 0
    assert recipes["table"].missing(pairs[:3], 4) == " (3 of 4 pairs so far)"
    measure(again, task, data, tmp_path, say=lambda text: None)
    assert again.learned == 1
    again.settings = "second"
    measure(again, task, data, tmp_path, say=lambda text: None)
    assert again.learned == 5


def test_scores_are_means_of_structures_and_intervals_draw_queries(recipes):
    pair = recipes["scores"].PairScore("r", "q1", {"big": 0.8, "small": 0.2}, 1.0, 1.0)
    pairs = [pair, replace(pair, query="q2", dice={"big": 0.6}), replace(pair, reference="s")]
    mean, interval = recipes["scores"].score(pairs)
    assert mean == pytest.approx(((0.8 + 0.6 + 0.8) / 3 + 0.2) / 2)
    assert interval is None  # q2 has not the structures of q1
    assert recipes["scores"].score(pairs, ["big"])[1] == pytest.approx((0.6, 0.8))
    assert recipes["scores"].score(pairs, ["small"])[0] == pytest.approx(0.2)
    assert recipes["scores"].score(pairs, ["small"])[1] is None  # one query


def test_a_card_names_the_references_of_scans_that_training_does_not_measure(recipes, data, task):
    pair = recipes["scores"].PairScore("r", "q1", {"big": 0.8, "small": 0.2}, 1.0, 1.0)
    rows = recipes["scores"].card_rows(task, [pair, replace(pair, reference="s", dice={"big": 0.6})], data)
    assert [(row["structure"], row["value"], row["cases"]) for row in rows] == [
        ("big", 0.7, 2), ("small", 0.2, 1), ("mean", 0.45, 2)
    ]  # fmt: skip
    assert {row["dataset"] for row in rows} == {"DatasetB (Ts)"}
    assert {row["note"] for row in rows} == {"one reference of DatasetA, aligned; mean over 2 references"}


def test_references_are_no_queries_of_their_own_task(recipes, data):
    task = recipes["tasks"].IrisTask("self", "Self", SOURCE, SOURCE, 1, 6)
    _, references, _, queries = task.open(data)
    assert [case.name for case in references] == ["case1"]
    assert [case.name for case in queries] == ["case2"]


def test_the_table_says_what_could_not_be_measured(recipes, data, task, tmp_path):
    table, method, absent = recipes["table"], Threshold(), Threshold()
    absent.name, absent.title = "absent", "Absent"
    pairs = recipes["scores"].measure(method, task, data, tmp_path, say=lambda text: None)
    measured = {("toy", "threshold"): pairs, ("toy", "absent"): "It needs `pip install it`."}
    text = table.markdown([task], [method, absent], measured)
    assert "| Toy (2 × 2) | 0.500, 0.0 s | — |" in text  # two queries with unlike structures: no interval
    assert "| – the big one | 1.000 [1.00, 1.00] | — |" in text
    assert "— It needs `pip install it`." in text
    lines = table.structures_csv([task], [method, absent], measured).splitlines()
    assert lines[1].startswith("toy,threshold,big,1,") and lines[1].endswith(",4,2")
    assert len(lines) == 3

    results = tmp_path / "RESULTS.md"
    results.write_text("# Results\n\nBefore.\n", encoding="utf-8")
    table.put_section(results, "as it was")
    results.write_text(results.read_text(encoding="utf-8") + "\nAfter.\n", encoding="utf-8")
    table.put_section(results, text)
    written = results.read_text(encoding="utf-8")
    assert "as it was" not in written and text in written
    assert written.startswith("# Results\n\nBefore.\n") and written.endswith("\nAfter.\n")
    results.write_text(written.replace(table.END, ""), encoding="utf-8")
    with pytest.raises(InputError, match="only one of the marks"):
        table.put_section(results, text)


def test_a_card_that_says_more_than_is_measured_is_noticed(recipes):
    row = {"dataset": "DatasetA (Val)", "structure": "big", "metric": "Dice", "value": 0.9, "cases": 2}
    noted = {**row, "note": "no reference", "value": 0.5}
    differences = recipes["cards"].differences
    assert recipes["cards"].unlisted([row], [{**row, "value": 0.1}, noted]) == [noted]
    assert differences([row, noted], [{**noted, "value": 0.503}, row]) == []
    assert differences([{**row, "interval": [0.7, 0.9]}], [{**row, "interval": [0.1, 0.2]}]) == []  # values alone
    found = differences([row, noted], [{**row, "value": 0.8}])
    assert found[0] == "DatasetA (Val), big, Dice: the card says 0.9000, measured 0.8000"
    assert found[1].endswith("nothing here measures it") and len(found) == 2


def test_a_models_structures_are_joined_to_those_that_are_compared(recipes):
    names = ("left lateral ventricle", "left inferior lateral ventricle", "right thalamus", "third ventricle")
    array = np.arange(5, dtype=np.uint8).reshape(5, 1, 1)
    found = LabelMap(array, np.eye(4), tuple(Structure(n, name) for n, name in enumerate(names, start=1)))
    joined = recipes["dropgen"].regroup(found, brain_groups(names), {"left lateral ventricle": 7, "right thalamus": 2})
    assert joined.array.ravel().tolist() == [0, 7, 7, 2, 0]
    assert [(s.label, s.name) for s in joined.structures] == [(7, "left lateral ventricle"), (2, "right thalamus")]


def test_cards_of_brain_models_have_the_mean_of_deep_structures(recipes):
    task = recipes["dropgen"].DropGenTask("Dataset006_BrainT1 (Ts)", None, [], {})
    dice = {"left thalamus": 0.9, "right lateral ventricle": 0.7, "cerebellum": 0.2, "brainstem": None}
    there = {(name, n): mean + 0.01 * n for n in (-2, -1, 0, 1, 2) for name, mean in dice.items() if mean}
    del there["cerebellum", 0]
    scores = [
        CaseScore(f"case{n}", name, {"dice": there.get((name, n), float("nan"))}, 1.0, 1.0, note)
        for n in (-2, -1, 0, 1, 2)
        for name in dice
        for note in ["" if (name, n) in there else "absent"]
    ]
    summary = summarise(scores, [DICE], DatasetTable({name: (n,) for n, name in enumerate(dice, start=1)}))
    rows = {row["structure"]: row for row in recipes["dropgen"].card_rows(task, summary)}
    assert rows["deep structures and ventricles"]["value"] == pytest.approx(0.8)
    assert rows["mean"]["value"] == pytest.approx(0.6)
    assert "brainstem" not in rows and rows["cerebellum"]["dataset"] == "Dataset006_BrainT1 (Ts)"
    assert rows["mean"]["interval"] == pytest.approx(summary["overall"]["dice"]["interval"], abs=1e-4)
    thalamus = summary["structures"]["left thalamus"]["dice"]["interval"]
    assert rows["left thalamus"]["interval"] == pytest.approx(thalamus, abs=1e-4)
    assert "interval" not in rows["cerebellum"]  # four cases
    low, high = rows["deep structures and ventricles"]["interval"]
    assert 0.78 <= low < 0.8 < high <= 0.82
    assert ModelCard("m", "1.0.0", "iris", (64,) * 3, {"name": "Iris"}, scores=list(rows.values())).scores


def test_recipes_can_be_read_and_a_comparison_changes_what_it_says(recipes, tmp_path):
    """Every recipe is accepted by the program; one with a base is that one with a few values changed."""
    models = recipes["training"]
    for path in RECIPES.glob("**/*.yaml"):
        config = models.read_recipe(path.stem, tmp_path)
        assert config.name == path.stem
    general, plain = (models.read_recipe(name, tmp_path) for name in ("iris-general", "iris-general-plain"))
    assert general.is_stable and not plain.is_stable
    changed = {key for key, value in general.model_dump().items() if value != plain.model_dump()[key]}
    assert changed == {"name", "title", "extractor"}
