"""What validation writes on a model card: means, and intervals where enough cases were scored."""

from types import SimpleNamespace

import numpy as np
import pytest

from dropiris.evaluate.intervals import mean_interval
from dropiris.models.card import ModelCard
from dropiris.train.validate import FEWEST_CASES, Scores, as_card_scores

DATASET = SimpleNamespace(name="Dataset901_Blobs")


def rows_of(cases, references=1, spread=0.1):
    """Rows of two structures whose Dice differs by case; the second is not in the first case."""
    scores, rng = Scores(), np.random.default_rng(0)
    drawn = rng.uniform(0.8 - spread, 0.8 + spread, (cases, 2))
    for _ in range(references):
        for number, (ball, box) in enumerate(drawn):
            scores.add(f"case{number}", {"ball": ball, "box": box} if number else {"ball": ball})
    return drawn, {row["structure"]: row for row in as_card_scores(DATASET, "Val", scores, "a note")}


def test_rows_state_the_interval_of_their_mean_over_cases():
    drawn, rows = rows_of(cases=8)
    assert rows["ball"] == {
        "dataset": "Dataset901_Blobs (Val)", "structure": "ball", "metric": "Dice",
        "value": round(drawn[:, 0].mean(), 4), "cases": 8, "note": "a note",
        "interval": pytest.approx(mean_interval(drawn[:, 0]), abs=1e-4),
    }  # fmt: skip
    assert rows["box"]["interval"] == pytest.approx(mean_interval(drawn[1:, 1]), abs=1e-4)
    low, high = rows["mean"]["interval"]
    assert low < rows["mean"]["value"] < high
    assert ModelCard("m", "1.0.0", "iris", (64,) * 3, {"name": "Iris"}, scores=list(rows.values())).scores


def test_fewer_cases_have_no_interval():
    _, rows = rows_of(cases=FEWEST_CASES)
    assert ["interval" in rows[name] for name in ("ball", "box", "mean")] == [True, False, True]
    assert not any("interval" in row for row in rows_of(cases=FEWEST_CASES - 1)[1].values())


def test_more_references_of_the_same_cases_do_not_make_an_interval_narrower():
    one, three = rows_of(cases=8)[1], rows_of(cases=8, references=3)[1]
    assert three["ball"]["cases"] == 3 * one["ball"]["cases"] and three["mean"]["value"] == one["mean"]["value"]
    for name, row in one.items():
        assert three[name]["interval"] == pytest.approx(row["interval"], abs=1e-3)
    assert not any("interval" in row for row in rows_of(cases=2, references=3)[1].values())


def test_nothing_scored_is_no_row():
    assert as_card_scores(DATASET, "Val", Scores()) == []
