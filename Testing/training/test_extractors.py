"""Which extractors a run can ask for, and that what a bundle holds is what training saw."""

import json
import sys
import types

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dropiris.data.nnunet import Dataset
from dropiris.errors import InputError, ModelError
from dropiris.inference import DropGenSegmenter
from dropiris.inference.loading import load_extractor
from dropiris.models.bundle import Bundle
from dropiris.models.shared_features import share_extractor
from dropiris.networks import EXTRACTORS, MINDSSC, AnatomixUNet
from dropiris.networks.nninteractive import load_nninteractive
from dropiris.networks.views import stable_features
from dropiris.train import train_dropgen
from dropiris.train.dropgen_config import DropGenConfig
from dropiris.train.engine import TrainingRun
from dropiris.train.extractor_export import bundle_of_weights
from dropiris.train.extractors import build_extractor, extractor_spec, frozen_copy, load_anatomix


def config(data="x", **more):
    settings = {"window": (32, 32, 32), "base_width": 4, "downsamplings": 3, "accelerator": "cpu", "max_steps": 1}
    return DropGenConfig(data=[data], **{**settings, **more})


@pytest.fixture
def anatomix_file(tmp_path):
    torch.manual_seed(0)
    network = AnatomixUNet(base_width=6, downsamplings=3, out_channels=7)
    network.train()(torch.rand(2, 1, 32, 32, 32))  # running statistics that are not 0 and 1
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    path = tmp_path / "anatomix.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.mark.parametrize(("layer", "channels"), [("penultimate", 6), ("final", 7)])
def test_width_and_depth_of_a_weights_file_are_found(anatomix_file, layer, channels):
    network = build_extractor(config(extractor=str(anatomix_file), extractor_layer=layer))
    assert network.feature_channels == channels and network(torch.rand(1, 1, 32, 32, 32)).shape[1] == channels
    assert not any(p.requires_grad for p in network.parameters()) and not network.training


@pytest.mark.parametrize("layer", ["penultimate", "final"])
def test_the_fast_copy_gives_the_same_features(anatomix_file, tmp_path, layer):
    settings = config(extractor=str(anatomix_file), extractor_layer=layer, precision="32-true")
    original = build_extractor(settings)
    with TrainingRun(settings, tmp_path / "run") as run:
        image = torch.rand(2, 1, 32, 32, 32)
        assert torch.allclose(
            stable_features(frozen_copy(original, run), image), stable_features(original, image), atol=1e-3
        )


def test_descriptors_are_not_rounded_to_half_precision(tmp_path):
    settings = config(precision="bf16-mixed")
    with TrainingRun(settings, tmp_path / "run") as run:
        image = torch.rand(1, 1, 32, 32, 32)
        assert torch.equal(frozen_copy(MINDSSC(), run)(image), MINDSSC()(image))


def test_a_bundle_holds_the_extractor_that_was_trained_with(blob_dataset, anatomix_file, tmp_path):
    settings = config(blob_dataset, extractor=str(anatomix_file), extractor_layer="final", name="with-extractor")
    bundle = train_dropgen(settings, tmp_path / "run")
    assert bundle.card.extractor["layer"] == "final" and bundle.card.network["in_channels"] == 8
    original = build_extractor(settings)
    loaded = load_extractor(bundle, bundle.tensors())
    image = torch.rand(1, 1, 32, 32, 32)
    assert torch.allclose(loaded(image), original(image), atol=0.02)  # stored in half precision


@pytest.mark.parametrize("how", ["folder", "name"])
def test_a_model_trained_with_a_bundle_of_features_can_share_them(
    blob_dataset, anatomix_file, tmp_path, monkeypatch, how
):
    monkeypatch.setenv("DROPIRIS_USER_MODELS", str(tmp_path / "installed"))
    card = {"name": "features-a", "version": "1.2.0", "network": {"layer": "final"}, "scores": {"probe": 0.5}}
    anatomix_file.with_suffix(".json").write_text(
        json.dumps({**card, "training": {"settings": {"init_from": str(tmp_path / "last.pt")}}})
    )
    features = bundle_of_weights(anatomix_file, tmp_path / "installed", {"licence": "CC0"})
    assert features.card.licence == "CC0" and features.card.scores[0]["value"] == 0.5
    assert features.card.training["settings"]["init_from"] == "last.pt"
    assert features.card.network == extractor_spec(load_anatomix(anatomix_file, "final"), config())
    name = "features-a" if how == "name" else str(features.folder)
    bundle = train_dropgen(config(blob_dataset, extractor=name, name="with-features"), tmp_path / "run")
    assert any(key.startswith("extractor.") for key in bundle.tensors())
    assert bundle.card.training["settings"]["extractor"] == "features-a"  # without the folder of this machine
    before = load_extractor(bundle, bundle.tensors())
    shared = share_extractor(bundle, features)
    image = torch.rand(1, 1, 32, 32, 32)
    assert torch.equal(load_extractor(shared, shared.tensors())(image), before(image))


class TwiceTheImage(nn.Module):
    feature_channels = 2

    def forward(self, image):
        return torch.cat([image, 1 - image], dim=1)


def test_an_extractor_of_ones_own_is_registered_and_used(blob_dataset, tmp_path, monkeypatch):
    module = types.ModuleType("my_features")
    module.Twice = TwiceTheImage
    monkeypatch.setitem(sys.modules, "my_features", module)
    monkeypatch.setattr("dropiris.networks.EXTRACTORS", EXTRACTORS)
    bundle = train_dropgen(config(blob_dataset, extractor="my_features:Twice", name="own"), tmp_path / "run")
    assert bundle.card.extractor == {"name": "my_features:Twice"} and bundle.card.network["in_channels"] == 3
    volume, _ = Dataset.open(blob_dataset).cases("Val")[0].read()
    assert DropGenSegmenter(Bundle.open(bundle.folder), "cpu").segment(volume).shape == volume.shape
    EXTRACTORS.pop("my_features:Twice")
    with pytest.raises(ModelError, match="unknown network 'my_features:Twice'"):
        DropGenSegmenter(Bundle.open(bundle.folder), "cpu")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("MIND", "neither weights, a file or a bundle of features, nor one of"),
        ("hippocampus-t1", "is a dropgen model; give a bundle of features"),
        ("no.such.module:Thing", "cannot be imported"),
        ("torch.nn:Identity", "feature_channels"),
    ],
)
def test_what_is_no_extractor_is_said(name, sentence):
    with pytest.raises(InputError, match=sentence):
        build_extractor(config(extractor=name))


def test_a_file_that_is_no_anatomix_is_said(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2, 2)}, path)
    with pytest.raises(InputError, match="does not hold anatomix weights"):
        build_extractor(config(extractor=str(path)))


ARCHITECTURE = {
    "n_stages": 3,
    "features_per_stage": [6, 8, 10],
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[3, 3, 3]] * 3,
    "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
    "n_blocks_per_stage": [1, 1, 1],
    "n_conv_per_stage_decoder": [1, 1],
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}
NETWORK = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"


def nninteractive_folder(folder, weights, network=NETWORK):
    """A model folder as nnInteractive publishes it; the network is a small one of the same kind."""
    import numpy as np

    (folder / "fold_0").mkdir(parents=True)
    plans = {
        "configurations": {"3d_fullres": {"architecture": {"network_class_name": network, "arch_kwargs": ARCHITECTURE}}}
    }
    (folder / "plans.json").write_text(json.dumps(plans))
    content = {
        "network_weights": weights,
        "init_args": {"configuration": "3d_fullres"},
        "logging": {"train_losses": [np.float64(0.5), np.float32(0.25)]},
    }
    torch.save(content, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def test_nninteractive_gives_the_features_before_its_last_layer(tmp_path):
    pytest.importorskip("dynamic_network_architectures", reason="nnInteractive's network package is not installed")
    from dropiris.networks.nninteractive import NNInteractive

    torch.manual_seed(0)
    network = NNInteractive(ARCHITECTURE)
    folder = nninteractive_folder(tmp_path / "model", network.network.state_dict())
    loaded = build_extractor(config(extractor=f"nnInteractive:{folder}"))
    image = torch.rand(2, 1, 32, 32, 32)
    features = loaded(image)
    assert features.shape == (2, 6, 32, 32, 32) and loaded.feature_channels == 6
    assert torch.allclose(loaded(3 * image + 2), features, atol=1e-4)  # each crop is z-scored
    last = network.network.decoder.seg_layers[-1]
    seven = torch.zeros(2, 7, 32, 32, 32)
    deviation, mean = torch.std_mean(image, dim=(2, 3, 4), keepdim=True)
    assert torch.allclose(last(features), network.network(torch.cat([(image - mean) / deviation, seven], 1)), atol=1e-4)


def test_a_plan_cannot_name_another_network(tmp_path):
    folder = nninteractive_folder(tmp_path / "model", {}, network="os.system")
    with pytest.raises(ModelError, match=r"holds a os\.system"):
        load_nninteractive(folder)


def test_a_folder_without_nninteractive_is_said(tmp_path):
    with pytest.raises(ModelError, match="no nnInteractive model"):
        load_nninteractive(tmp_path)
