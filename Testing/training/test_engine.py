"""The engine on one small network: what is kept, when it stops, what it logs, what it says when it cannot go on."""

import json
import os
import shutil
import time

import pytest
import torch
import yaml
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from dropiris.errors import InputError
from dropiris.models.bundle import write_bundle
from dropiris.models.card import ModelCard
from dropiris.networks import UNet, build_network
from dropiris.train.initial_weights import initialise, read_weights
from dropiris.volume import Structure


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def scores_in_turn(*scores):
    """A validation that gives these scores one after the other, and what it was asked to score."""
    remaining, seen = list(scores), []

    def validate(weights):
        seen.append({name: value.clone() for name, value in weights.items()})
        return remaining.pop(0)

    return validate, seen


def test_best_and_last_are_kept_and_the_best_are_handed_over(toy, config, tmp_path):
    validate, seen = scores_in_turn(0.3, 0.7, 0.5)
    run, _, memory = toy.train(config(validate_every=4), tmp_path, validate)
    best, last = (torch.load(tmp_path / name, weights_only=True) for name in ("best.pt", "last.pt"))
    assert (best["step"], best["score"], last["step"]) == (8, 0.7, 12)
    weights = run.weights()
    for name, value in weights.items():
        assert torch.equal(value, seen[1][name]) and torch.equal(value, best["averaged"][name])
    assert not torch.equal(weights["0.weight"], last["averaged"]["0.weight"])
    assert memory.seen == 8, "what is kept beside the weights goes back with them"
    assert [line["score"] for line in log_of(tmp_path) if "score" in line] == [0.3, 0.7, 0.5]


def test_without_validation_the_last_averaged_weights_are_handed_over(toy, config, tmp_path):
    run, _, _ = toy.train(config(), tmp_path)
    last = torch.load(tmp_path / "last.pt", weights_only=True)
    assert not (tmp_path / "best.pt").exists()
    assert all(torch.equal(value, last["averaged"][name]) for name, value in run.weights().items())


def test_it_stops_after_validations_without_a_better_score_and_stays_stopped(toy, config, tmp_path):
    settings = config(max_steps=40, validate_every=2, patience=2)
    validate, _ = scores_in_turn(0.5, 0.6, 0.6, 0.1)
    _, losses, _ = toy.train(settings, tmp_path, validate)
    assert len(losses) == 8
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 8
    _, again, _ = toy.train(settings, tmp_path, validate)
    assert again == []


def test_the_best_score_of_an_earlier_start_is_remembered(toy, config, tmp_path):
    toy.train(config(max_steps=4, validate_every=4), tmp_path, lambda weights: 0.9)
    toy.train(config(max_steps=8, validate_every=4), tmp_path, lambda weights: 0.8)
    assert torch.load(tmp_path / "best.pt", weights_only=True)["step"] == 4


def test_tensorboard_shows_what_the_log_says_once(toy, config, tmp_path):
    toy.train(config(max_steps=8, checkpoint_every=8), tmp_path)
    toy.train(config(max_steps=16), tmp_path)
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    curve = [(event.step, event.value) for event in shown.Scalars("loss")]
    assert [step for step, _ in curve] == [4, 8, 12, 16]
    assert [value for _, value in curve] == pytest.approx([line["loss"] for line in log_of(tmp_path)], rel=1e-6)
    assert shown.Scalars("waiting")


def test_the_log_says_which_share_of_the_time_went_by_waiting_for_data(toy, config, tmp_path, monkeypatch):
    real = toy.ToySamples.__getitem__
    toy.train(config(pause=0.05), tmp_path / "quick")
    monkeypatch.setattr(toy.ToySamples, "__getitem__", lambda self, at: (time.sleep(0.05), real(self, at))[1])
    toy.train(config(), tmp_path / "slow")
    quick, slow = (log_of(tmp_path / run)[-1] for run in ("quick", "slow"))
    assert quick["waiting"] < 0.3 < 0.5 < slow["waiting"] <= 1
    assert slow["seconds_waiting"] == pytest.approx(slow["waiting"] * slow["seconds_per_step"], rel=1e-5)
    assert slow["seconds_waiting"] >= 0.05


def test_the_settings_are_stored_as_resolved(toy, config, tmp_path):
    settings = config(seed=3)
    toy.train(settings, tmp_path)
    stored = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert toy.ToyConfig(**stored) == settings


def test_a_loss_that_is_no_number_ends_the_run(toy, config, tmp_path):
    with pytest.raises(InputError, match=r"no number at step \d+; lower learning_rate"):
        toy.train(config(learning_rate=1e30, warmup_steps=0, max_steps=40), tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full, the disk that is always full")
def test_a_full_disk_leaves_the_earlier_checkpoint(toy, config, tmp_path):
    toy.train(config(max_steps=4), tmp_path)
    before = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"last\.pt could not be written .*; free space"):
        toy.train(config(max_steps=8), tmp_path)
    assert (tmp_path / "last.pt").read_bytes() == before
    assert not (tmp_path / "last.pt.part").exists()


def test_a_disk_too_small_for_checkpoints_is_said_before_training(toy, config, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(InputError, match=r"its checkpoints need .* free space first"):
        toy.train(config(), tmp_path)
    assert not (tmp_path / "log.jsonl").exists()


def test_a_checkpoint_of_an_earlier_release_goes_on(toy, config, tmp_path):
    """{step, network, optimizer, schedule, averaged}: what runs wrote before they kept their scores."""
    toy.train(config(max_steps=4), tmp_path)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    old = {key: state[key] for key in ("step", "network", "optimizer", "schedule", "averaged")}
    torch.save(old, tmp_path / "last.pt")
    _, losses, _ = toy.train(config(max_steps=6), tmp_path)
    assert [step for step, _ in losses] == [4, 5]


def test_a_checkpoint_of_another_network_is_named(toy, config, tmp_path):
    toy.train(config(max_steps=4), tmp_path)
    with pytest.raises(InputError, match=r"last\.pt does not fit this run"):
        toy.train(config(max_steps=8, norm=False), tmp_path)


# Where a run starts from

UNET = {"name": "UNet", "in_channels": 1, "out_channels": 2, "base_width": 4, "downsamplings": 2}


def small_unet(classes=2):
    return build_network({**UNET, "out_channels": classes})


@pytest.mark.parametrize("kind", ["a bundle", "a safetensors file", "best.pt of a run", "a plain state dictionary"])
def test_a_run_starts_from_the_weights_of(kind, tmp_path):
    torch.manual_seed(1)
    given = small_unet().state_dict()
    source = tmp_path / "weights.pt"
    if kind == "a bundle":
        structures = (Structure(1, "liver"),)
        card = ModelCard("given", "1.0.0", "dropgen", (32, 32, 32), UNET, spacing=(1, 1, 1), structures=structures)
        tensors = {f"predictor.{name}": value for name, value in given.items()}
        source = write_bundle(tmp_path / "given", card, tensors, half=False).folder
    elif kind == "a safetensors file":
        source = tmp_path / "weights.safetensors"
        save_file({f"predictor.{name}": value for name, value in given.items()}, source)
    elif kind == "best.pt of a run":
        torch.save({"step": 3, "score": 0.5, "averaged": given, "also": {}}, source)
    else:
        torch.save(given, source)
    network = small_unet()
    assert initialise(network, source) == []
    assert all(torch.equal(value, given[name]) for name, value in network.state_dict().items())


def test_a_last_layer_for_other_structures_is_trained_anew(tmp_path):
    torch.save(small_unet(classes=2).state_dict(), tmp_path / "weights.pt")
    network = small_unet(classes=5)
    left = initialise(network, tmp_path / "weights.pt")
    assert len(left) == 1 and network.state_dict()[left[0]].shape[0] == 5


def test_weights_of_another_kind_of_network_are_refused(tmp_path):
    torch.save(nn.Linear(3, 3).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(InputError, match="no weights that fit this network"):
        initialise(small_unet(), tmp_path / "weights.pt")
    with pytest.raises(InputError, match="neither a bundle nor a file"):
        read_weights(tmp_path / "absent")
    (tmp_path / "code.pt").write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match=r"code\.pt cannot be read"):
        read_weights(tmp_path / "code.pt")


def test_what_a_run_starts_from_is_not_taken_again_when_it_goes_on(toy, config, tmp_path):
    start = nn.Sequential(nn.Conv3d(4, 6, 3, padding=1, bias=False), nn.BatchNorm3d(6), nn.ReLU(), nn.Conv3d(6, 1, 1))
    torch.save(start.state_dict(), tmp_path / "start.pt")
    straight, _, _ = toy.train(config(max_steps=8, init_from=tmp_path / "start.pt"), tmp_path / "straight")
    toy.train(config(max_steps=8, init_from=tmp_path / "start.pt", checkpoint_every=4), tmp_path / "run")
    assert torch.equal(straight.weights()["0.weight"], torch.load(tmp_path / "run" / "last.pt")["averaged"]["0.weight"])
    _, losses, _ = toy.train(config(max_steps=10, init_from=tmp_path / "start.pt"), tmp_path / "run")
    assert [step for step, _ in losses] == [8, 9]


def test_features_beside_the_image_keep_the_weights_of_the_image(tmp_path):
    """A network that also sees features starts as the one that saw the image alone."""
    before, after = UNet(1, 3, 4, 2).eval(), UNet(5, 3, 4, 2).eval()
    first = next(name for name, value in after.named_parameters() if value.shape[1:2] == (5,))
    torch.save(before.state_dict(), tmp_path / "weights.pt")
    assert initialise(after, tmp_path / "weights.pt") == []
    own, given = after.state_dict(), before.state_dict()
    assert torch.equal(own[first][:, :1], given[first])
    image, features = torch.randn(1, 1, 16, 16, 16), torch.randn(1, 4, 16, 16, 16)
    assert torch.allclose(after(torch.cat([image, features], 1)), before(image), atol=1e-6)
    assert all(torch.equal(own[name], given[name]) for name in given if name != first)
