"""Both loops end in a bundle that segments, and go on after an interruption as if there had been none."""

import json
import re
from datetime import date, datetime, timezone

import pytest
import torch

from dropiris.data.nnunet import Dataset
from dropiris.errors import InputError
from dropiris.inference import DropGenSegmenter, IrisSegmenter
from dropiris.train import checkpoint, train_dropgen, train_iris
from dropiris.train.dropgen_config import DropGenConfig
from dropiris.train.export import how_it_was_made
from dropiris.train.iris_config import IrisConfig
from dropiris.train.validate import as_reference

TINY_IRIS = {"window": (32, 32, 32), "base_width": 4, "queries": 2, "max_classes": 2, "accelerator": "cpu"}
TINY_IRIS["precision"] = "32-true"  # a window of 32 and bfloat16 do not go together, see IrisConfig
TINY_DROPGEN = {"window": (32, 32, 32), "base_width": 4, "downsamplings": 3, "accelerator": "cpu"}


def iris_config(data, **more):
    return IrisConfig(
        data=[data], name="tiny-iris", max_steps=4, checkpoint_every=2, validation_cases=1, **TINY_IRIS, **more
    )


def dropgen_config(data, **more):
    return DropGenConfig(
        data=[data], name="tiny-dropgen", max_steps=4, checkpoint_every=2, validation_cases=1, **TINY_DROPGEN, **more
    )


def test_dropgen_ends_in_a_bundle_that_segments(blob_dataset, tmp_path):
    bundle = train_dropgen(dropgen_config(blob_dataset), tmp_path / "run")
    assert [s.name for s in bundle.card.structures] == ["ball", "box"]
    assert {row["structure"] for row in bundle.card.scores} == {"ball", "box", "mean"}
    volume, _ = Dataset.open(blob_dataset).cases("Val")[0].read()
    assert DropGenSegmenter(bundle, "cpu").segment(volume).shape == volume.shape
    made = bundle.card.training
    assert made["datasets"]["Dataset901_Blobs"]["licence"] == "CC0 1.0" and made["steps"] == 4
    assert (datetime.now(timezone.utc).date() - date.fromisoformat(made["date"])).days in (0, 1)
    assert re.fullmatch(r"processor, \d+ threads?, bf16-mixed", made["hardware"])


def test_a_run_that_may_end_early_states_no_steps(blob_dataset):
    assert "steps" not in how_it_was_made(dropgen_config(blob_dataset, patience=2))


def test_erm_is_the_same_loop_without_features(blob_dataset, tmp_path):
    bundle = train_dropgen(dropgen_config(blob_dataset, method="erm"), tmp_path / "run")
    assert bundle.card.extractor is None and bundle.card.network["in_channels"] == 1


def test_iris_ends_in_a_bundle_that_segments(blob_dataset, tmp_path):
    bundle = train_iris(iris_config(blob_dataset), tmp_path / "run")
    dataset = Dataset.open(blob_dataset)
    segmenter = IrisSegmenter(bundle, "cpu")
    task = segmenter.encode([as_reference(dataset, dataset.cases()[0])])
    volume, _ = dataset.cases("Val")[0].read()
    assert {s.name for s in segmenter.segment(volume, task).structures} == {"ball", "box"}
    assert "one reference" in bundle.card.scores[0]["note"]


def test_iris_with_the_head_in_closed_form_ends_in_a_bundle_that_segments(blob_dataset, tmp_path):
    """With everything but the refinement kept as the plain model has it."""
    plain = train_iris(iris_config(blob_dataset), tmp_path / "plain")
    kept = ["encoder", "task_encoder", "prior", "decoder"]
    more = {"extractor": "MIND-SSC", "dropout": 0.0, "closed_form": True, "frozen": kept}
    bundle = train_iris(iris_config(blob_dataset, init_from=plain.folder, **more), tmp_path / "run")
    before, after = plain.tensors(), bundle.tensors()
    first = ("iris.encoder.stages.0.first.weight", "iris.encoder.stages.0.shortcut.weight")  # they see features, too
    assert all(torch.equal(before[n], after[n]) for n in before if n.startswith("iris.") and n not in first)
    assert all(torch.equal(before[n], after[n][:, :1]) and not after[n][:, 1:].any() for n in first)
    assert after["iris.refinement.correction.weight"].any()
    dataset = Dataset.open(blob_dataset)
    segmenter = IrisSegmenter(bundle, "cpu")
    task = segmenter.encode([as_reference(dataset, case) for case in dataset.cases()[:2]])
    volume, _ = dataset.cases("Val")[0].read()
    assert {s.name for s in segmenter.segment(volume, task).structures} == {"ball", "box"}


@pytest.mark.parametrize(
    ("frozen", "said"),
    [
        (["head"], "its parts are encoder"),
        (["encoder", "task_encoder", "prior", "decoder"], "nothing is left to train"),
    ],
)
def test_parts_that_cannot_be_frozen_are_refused(blob_dataset, tmp_path, frozen, said):
    with pytest.raises(InputError, match=said):
        train_iris(iris_config(blob_dataset, frozen=frozen), tmp_path / "run")


@pytest.mark.parametrize(("train", "config"), [(train_iris, iris_config), (train_dropgen, dropgen_config)])
def test_an_interrupted_run_goes_on_to_the_same_weights(blob_dataset, tmp_path, monkeypatch, train, config):
    straight = train(config(blob_dataset), tmp_path / "straight").tensors()

    real = checkpoint.TrainingState.save

    def save_then_stop(self, step, **progress):
        real(self, step, **progress)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.TrainingState, "save", save_then_stop)
    with pytest.raises(KeyboardInterrupt):
        train(config(blob_dataset), tmp_path / "resumed")
    monkeypatch.setattr(checkpoint.TrainingState, "save", real)
    resumed = train(config(blob_dataset), tmp_path / "resumed").tensors()
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_the_run_keeps_a_log(blob_dataset, tmp_path):
    train_dropgen(dropgen_config(blob_dataset), tmp_path / "run")
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 4 and last["loss"] > 0


def test_a_window_whose_gradients_would_be_wrong_is_refused():
    with pytest.raises(ValueError, match="precision=32-true"):
        IrisConfig(data=["x"], window=(32, 64, 64))
