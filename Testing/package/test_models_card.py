"""The model card: what it accepts, refuses and writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dropiris
from dropiris.errors import ModelError
from dropiris.models.bundle import read_card
from dropiris.models.card import ModelCard
from dropiris.models.card_words import score_in_words, training_in_words
from dropiris.volume import Structure

MODELS = Path(__file__).resolve().parents[2] / "Resources" / "Models"


def card_json(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": "abdomen-mr",
        "version": "1.2.0",
        "method": "dropgen",
        "title": "Abdominal MR organs",
        "window": [64, 64, 32],
        "spacing": [1.5, 1.5, 3],
        "modality": ["MR"],
        "network": {"name": "UNet", "in_channels": 13, "out_channels": 3},
        "extractor": {"name": "MIND-SSC"},
        "structures": [
            {"label": 1, "name": "liver", "color": [0.8, 0.4, 0.3], "terminology": "a~b"},
            {"label": 2, "name": "left kidney"},
        ],
        "scores": [{"dataset": "CHAOS", "structure": "liver", "metric": "Dice", "value": 0.9, "cases": 2}],
    }
    return {**data, **changes}


def test_a_card_survives_the_round_trip_through_json() -> None:
    card = ModelCard.from_json(card_json(changelog={"1.2.0": "more steps"}))
    again = ModelCard.from_json(json.loads(json.dumps(card.to_json())))
    assert again.to_json() == card.to_json()
    assert again.structures[0] == Structure(1, "liver", (0.8, 0.4, 0.3), "a~b")
    assert (again.window, again.spacing) == ((64, 64, 32), (1.5, 1.5, 3.0))
    assert again.to_json()["changelog"] == {"1.2.0": "more steps"}


def test_intervals_and_known_failures_survive_and_cards_without_them_are_read() -> None:
    plain = ModelCard.from_json(card_json())
    assert plain.failures == [] and "interval" not in plain.scores[0]
    score = {**plain.scores[0], "interval": [0.95, 1]}  # an interval of few cases may lie beside the mean
    failures = [{"text": "Misses small tumours.", "picture": "small-tumour_1.png"}, {"text": "No CT."}]
    again = ModelCard.from_json(ModelCard.from_json(card_json(scores=[score], failures=failures)).to_json())
    assert again.scores == [score] and again.failures == failures


def test_figures_are_said_in_words_as_far_as_they_are_known() -> None:
    score = {"value": 0.8412}
    assert score_in_words(score) == "0.84" and score_in_words(score, 3) == "0.841"
    assert score_in_words({**score, "interval": [0.8, 0.879]}) == "0.84 [0.80, 0.88]"
    made = {"date": "2026-03-01", "steps": 1500, "hardware": "processor, 1 thread, bf16-mixed"}
    assert training_in_words(made) == "2026-03-01, 1500 steps, processor, 1 thread, bf16-mixed"
    assert training_in_words({"settings": {"max_steps": 900}}) == "900 steps"
    assert training_in_words({"settings": {"max_steps": 900, "patience": 2}}) == "at most 900 steps"
    assert training_in_words({}) == training_in_words({"settings": "lost", "steps": None}) == ""


def test_shipped_weights_from_share_alike_data_carry_its_licence() -> None:
    cards = [read_card(path.parent) for path in MODELS.glob("*/model.json")]
    assert cards
    for card in cards:
        licences = [about["licence"] for about in card.training["datasets"].values()]
        assert all(licences) and (card.licence == "CC BY-SA 4.0" or not any("BY-SA" in one for one in licences))


def test_keys_of_a_newer_minor_card_are_kept() -> None:
    assert ModelCard.from_json(card_json(invented_later=[1, 2])).to_json()["invented_later"] == [1, 2]


def test_a_card_has_the_keys_that_monai_readers_look_for() -> None:
    data = ModelCard.from_json(card_json()).to_json()
    expected = {"version", "changelog", "required_packages_version", "task", "description", "authors", "copyright"}
    expected |= {"data_source", "data_type", "image_classes", "label_classes", "pred_classes", "eval_metrics"}
    assert expected | {"intended_use", "references", "network_data_format"} <= data.keys()
    assert data["network_data_format"]["outputs"]["pred"]["channel_def"] == {
        "0": "background",
        "1": "liver",
        "2": "left kidney",
    }
    assert data["eval_metrics"] == {"mean_dice": 0.9}


def test_derived_keys_follow_the_structures_not_an_old_file() -> None:
    assert "spleen" not in json.dumps(ModelCard.from_json(card_json(label_classes="1: spleen")).to_json())


def test_an_iris_card_needs_neither_spacing_nor_structures() -> None:
    card = ModelCard.from_json(card_json(method="iris", spacing=None, structures=[], network={"name": "Iris"}))
    assert card.spacing is None and card.structures == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "../evil"}, "name"),
        ({"name": ""}, "name"),
        ({"version": "latest"}, "version"),
        ({"method": "nnunet"}, "method"),
        ({"window": [64, 64]}, "window"),
        ({"window": [64, 64, 0]}, "window"),
        ({"window": "64"}, "window"),
        ({"spacing": None}, "spacing"),
        ({"spacing": [1, 1, -1]}, "spacing"),
        ({"spacing": [1, 1, float("nan")]}, "spacing"),
        ({"structures": []}, "structure"),
        ({"structures": {"liver": 1}}, "structures"),
        ({"structures": [{"name": "liver"}]}, "structure"),
        ({"structures": [{"label": 0, "name": "liver"}]}, "label"),
        ({"structures": [{"label": 1, "name": " "}]}, "name"),
        ({"structures": [{"label": 1, "name": "a"}, {"label": 1, "name": "b"}]}, "twice"),
        ({"structures": [{"label": 1, "name": "a"}, {"label": 2, "name": "a"}]}, "twice"),
        ({"structures": [{"label": 1, "name": "a", "color": [255, 0, 0]}]}, "color"),
        ({"structures": [{"label": 1, "name": "a", "color": "red"}]}, "color"),
        ({"network": {}}, "network"),
        ({"extractor": "MIND-SSC"}, "extractor"),
        ({"title": 5}, "title"),
        ({"modality": 5}, "modality"),
        ({"training": []}, "training"),
        ({"intensity": {"scale": "log"}}, "intensity"),
        ({"intensity": {"percentiles": [98, 2]}}, "intensity"),
        ({"scores": [{"dataset": "a", "metric": "Dice", "value": float("nan")}]}, "score"),
        *(
            ({"scores": [{"dataset": "a", "metric": "Dice", "value": 0.5, "interval": interval}]}, "interval")
            for interval in (
                None,
                0.1,
                [0.4],
                [0.4, 0.5, 0.6],
                [0.6, 0.4],
                ["0.4", "0.6"],
                [0.4, float("inf")],
                [0, True],
            )
        ),
        ({"failures": {"text": "no list"}}, "failures"),
        ({"failures": ["no object"]}, "failure"),
        ({"failures": [{"text": " "}]}, "text"),
        ({"failures": [{"picture": "a.png"}]}, "text"),
        *(
            ({"failures": [{"text": "Misses.", "picture": picture}]}, "picture")
            for picture in ("a.jpg", "../a.png", "b/a.png", "b\\a.png", ".a.png", "a b.png", "a.png\n", "", 5, None)
        ),
        ({"sha256": {"weights.safetensors": "abc"}}, "SHA-256"),
        ({"format": 99}, "newer"),
    ],
)
def test_a_field_that_cannot_be_used_is_one_sentence_naming_it(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError) as raised:
        ModelCard.from_json(card_json(**changes))
    sentence = str(raised.value)
    assert said in sentence and "\n" not in sentence and sentence.endswith(".")


@pytest.mark.parametrize("key", ["name", "version", "method", "window", "network"])
def test_a_missing_field_is_named(key: str) -> None:
    data = card_json()
    del data[key]
    with pytest.raises(ModelError, match=key):
        ModelCard.from_json(data)


@pytest.mark.parametrize("content", [[], "text", None])
def test_a_card_that_is_no_object_is_refused(content: Any) -> None:
    with pytest.raises(ModelError):
        ModelCard.from_json(content)


def test_reading_models_needs_neither_torch_nor_pydantic() -> None:
    code = (
        "import sys, dropiris.models.bundle, dropiris.models.card_words, dropiris.models.catalogue;"
        "heavy = {'torch', 'pydantic', 'monai', 'safetensors'} & sys.modules.keys();"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), timeout=60)
    assert done.returncode == 0, done.stderr


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(dropiris.__file__).parents[1])}
