"""A best.pth as DropGen's own training loop writes it becomes a bundle that segments the same."""

import numpy as np
import pytest
import torch

from dropiris.errors import ModelError
from dropiris.inference import DropGenSegmenter
from dropiris.models.bundle import Bundle
from dropiris.models.dropgen_checkpoint import import_dropgen_checkpoint
from dropiris.networks import AnatomixUNet, UNet
from dropiris.networks.views import dropgen_input, stable_features
from dropiris.volume import Volume

ARGS = {  # the keys of their options.py that say something about the network, and some others
    "dimension": 3, "in_channels": 17, "out_channels": 3, "num_classes": 3, "base_filters": 4, "num_levels": 3,
    "feature_dim": 16, "layer_index": 59, "norm_type": "batch", "dataset": "amos", "method": "dropgen",
    "spacing": [1.0, 1.0, 1.5], "crop_size": [32, 48, 32], "dropout_prob": 0.75, "weight_decay": 1e-5, "lr": 2e-4,
    "class_mapping": {"background": 0, "spleen": 1, "right kidney": 2}, "data_dir": "/their/disk", "num_subjects": None,
}  # fmt: skip


def checkpoint(path, predictor, args=ARGS, prefix="", **more):
    weights = {prefix + name: value for name, value in predictor.state_dict().items()}
    optimizer = torch.optim.AdamW(predictor.parameters())
    content = {
        "model_state_dict": weights,
        "optimizer_state_dict": optimizer.state_dict(),
        "scheduler_state_dict": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10).state_dict(),
        "step": 12000,
        "best_metric": 0.674,
        "args": args,
        "val_history": {"step": [1000], "mean_dice": [0.5], "per_class_dice": [{"spleen": {"dice": 0.5, "count": 3}}]},
        "wandb_run_id": None,
    }
    torch.save({**content, **more}, path)
    return path


@pytest.fixture
def networks():
    torch.manual_seed(0)
    return UNet(17, 3, 4, 3).eval(), AnatomixUNet(layer="final").eval()


@pytest.fixture
def anatomix(tmp_path, networks):
    torch.save(networks[1].state_dict(), tmp_path / "anatomix.pth")
    return tmp_path / "anatomix.pth"


def test_the_bundle_does_what_the_authors_loop_does(tmp_path, networks, anatomix):
    predictor, extractor = networks
    path = checkpoint(tmp_path / "best.pth", predictor)
    bundle = import_dropgen_checkpoint(path, tmp_path / "bundle", "amos-dropgen", anatomix)
    card = Bundle.open(bundle.folder).card
    assert [(s.label, s.name) for s in card.structures] == [(1, "spleen"), (2, "right kidney")]
    assert card.structures[1].terminology and card.spacing == (1.0, 1.0, 1.5) and card.window == (32, 48, 32)
    assert card.extractor["layer"] == "final"  # what their released loop feeds
    assert card.intensity_rule.ct_window == (-1024, 1024) and card.intensity_rule.percentiles == (0, 100)
    assert card.scores[0]["value"] == 0.674 and "data_dir" not in card.training["settings"]

    image = torch.rand(1, 1, 32, 48, 32)
    with torch.no_grad():
        expected = predictor(dropgen_input(image, stable_features(extractor, image)))
        scorer = DropGenSegmenter(bundle, "cpu").scorer
        scorer.predictor.float(), scorer.extractor.float()
        scorer.dtype = torch.float32
        found = scorer(image)
    assert torch.allclose(found, expected, atol=0.05)  # weights are stored in half precision
    volume = Volume(np.random.default_rng(0).normal(size=(40, 40, 30)), np.eye(4))
    assert DropGenSegmenter(bundle, "cpu").segment(volume).shape == volume.shape


def test_a_model_without_extractor_needs_none(tmp_path):
    args = {**ARGS, "in_channels": 1, "method": "erm", "class_mapping": '{"background": 0, "a": 1, "b": 2}'}
    path = checkpoint(tmp_path / "best.pth", UNet(1, 3, 4, 3), args, prefix="_orig_mod.")
    card = import_dropgen_checkpoint(path, tmp_path / "bundle", "erm").card
    assert card.extractor is None and [s.name for s in card.structures] == ["a", "b"]


def test_the_extractor_may_lie_beside_the_checkpoint(tmp_path, networks, anatomix):
    path = checkpoint(tmp_path / "best.pth", networks[0])
    bundle = import_dropgen_checkpoint(path, tmp_path / "bundle", "amos-dropgen")
    assert bundle.card.extractor["name"] == "AnatomixUNet"


def test_what_is_missing_is_said(tmp_path, networks, anatomix):
    predictor, _ = networks
    (tmp_path / "alone").mkdir()
    cases = [
        (
            checkpoint(tmp_path / "alone" / "a.pth", predictor),
            None,
            "alone.anatomix.pth; put its weights there",
        ),
        (checkpoint(tmp_path / "a.pth", predictor), tmp_path / "gone.pth", "there is no .*gone.pth; put"),
        (tmp_path / "none.pth", None, "There is no file"),
        (anatomix, None, "no checkpoint of DropGen's training code"),
        (checkpoint(tmp_path / "b.pth", predictor, {**ARGS, "num_levels": 4}), anatomix, "do not fit the network"),
        (checkpoint(tmp_path / "c.pth", predictor, {**ARGS, "spacing": None}), anatomix, "lack spacing"),
        (checkpoint(tmp_path / "d.pth", predictor, {**ARGS, "class_mapping": {"a": 1}}), anatomix, "names 2"),
        (checkpoint(tmp_path / "e.pth", predictor, {**ARGS, "dimension": 2}), anatomix, "2D"),
        (checkpoint(tmp_path / "f.pth", predictor), tmp_path / "a.pth", "do not fit"),
    ]
    for path, extractor, sentence in cases:
        with pytest.raises(ModelError, match=sentence):
            import_dropgen_checkpoint(path, tmp_path / "bundle", "model", extractor)
    assert not (tmp_path / "bundle").exists()


class Surprise:
    def __reduce__(self):
        return print, ("code from a checkpoint ran",)


def test_a_checkpoint_that_wants_to_run_code_is_refused(tmp_path, networks, capsys):
    path = checkpoint(tmp_path / "best.pth", networks[0], surprise=Surprise())
    with pytest.raises(ModelError, match="not a plain PyTorch checkpoint"):
        import_dropgen_checkpoint(path, tmp_path / "bundle", "model")
    assert "ran" not in capsys.readouterr().out
