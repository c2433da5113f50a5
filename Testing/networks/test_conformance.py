"""Outputs of the published networks, recorded with the authors' code, come out of ours."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from dropiris.errors import ModelError
from dropiris.networks import AnatomixUNet, Iris, UNet
from dropiris.networks.published_weights import git_blob_id, read_published_weights
from dropiris.networks.views import dropgen_input, stable_features

_SHARED = Path(os.environ.get("DROPIRIS_SHARED", Path(__file__).resolve().parents[3] / "shared"))


@pytest.fixture(scope="module")
def recorded() -> Path:
    folder = _SHARED / "reference" / "conformance"
    if not folder.is_dir():
        pytest.skip(f"the recorded outputs are not beside this checkout ({folder})")
    return folder


def weights(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    arrays = np.load(file)
    state = {n[len("weights/") :]: torch.from_numpy(arrays[n]) for n in arrays.files if n.startswith("weights/")}
    return state, {n: torch.from_numpy(arrays[n]) for n in arrays.files if not n.startswith("weights/")}


def anatomix(recorded: Path, layer: str) -> tuple[AnatomixUNet, dict[str, torch.Tensor]]:
    state, outputs = weights(recorded / "anatomix_small.npz")
    network = AnatomixUNet(out_channels=4, base_width=4, layer=layer).eval()
    network.load_state_dict(state, strict=True)
    return network, outputs


def every_fourth(x: torch.Tensor) -> torch.Tensor:
    return x[:, :, ::4, ::4, ::4]


@pytest.mark.parametrize(("layer", "output"), [("penultimate", "penultimate_conv"), ("final", "final")])
@torch.inference_mode()
def test_the_extractor_gives_the_recorded_features(recorded, layer, output):
    network, outputs = anatomix(recorded, layer)
    torch.testing.assert_close(every_fourth(network(outputs["input"])), outputs[output], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_stable_features_are_the_recorded_instance_normalised_ones(recorded):
    network, outputs = anatomix(recorded, "penultimate")
    features = stable_features(network, outputs["input"])
    torch.testing.assert_close(
        every_fourth(features), outputs["penultimate_conv_instance_normalised"], atol=1e-4, rtol=1e-4
    )


@torch.inference_mode()
def test_the_predictor_gives_the_recorded_logits(recorded):
    extractor, outputs = anatomix(recorded, "penultimate")
    state, expected = weights(recorded / "dropgen_unet_small.npz")
    predictor = UNet(in_channels=5, out_channels=3, base_width=2, downsamplings=5).eval()
    predictor.load_state_dict(state, strict=True)
    image = outputs["input"]
    logits = predictor(dropgen_input(image, stable_features(extractor, image)))
    torch.testing.assert_close(every_fourth(logits), expected["logits"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("file", "build"),
    [
        ("anatomix_state_dict_shapes.json", lambda: AnatomixUNet()),
        ("dropgen_unet_17in_16out_state_dict_shapes.json", lambda: UNet(17, 16)),
    ],
)
def test_published_state_dicts_load_strictly(recorded, file, build):
    shapes = json.loads((recorded / file).read_text())
    with torch.device("meta"):
        network = build()
    assert {name: list(value.shape) for name, value in network.state_dict().items()} == shapes
    network.load_state_dict({name: torch.empty(s, device="meta") for name, s in shapes.items()}, strict=True)


@pytest.mark.parametrize(("build", "millions"), [(AnatomixUNet, 5.90), (lambda: UNet(17, 16), 36.87)])
def test_parameter_counts_are_those_of_the_papers(build, millions):
    with torch.device("meta"):
        network = build()
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == millions


def test_iris_has_the_published_order_of_size():
    with torch.device("meta"):
        network = Iris()
    assert 10e6 < sum(p.numel() for p in network.parameters()) < 70e6


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"model_state_dict": s, "epoch": 3, "best": 0.5},
        lambda s: {"state_dict": {f"module.{n}": v for n, v in s.items()}},
        lambda s: {f"_orig_mod.module.{n}": v for n, v in s.items()},
    ],
)
def test_a_published_file_loads_however_its_training_loop_wrapped_it(tmp_path, wrap):
    network = AnatomixUNet(out_channels=2, base_width=2)
    torch.save(wrap(network.state_dict()), tmp_path / "anatomix.pth")
    AnatomixUNet(out_channels=2, base_width=2).load_state_dict(read_published_weights(tmp_path / "anatomix.pth"))


def test_a_file_that_would_run_code_is_refused(tmp_path):
    torch.save({"weights": Path("somewhere")}, tmp_path / "odd.pth")
    with pytest.raises(ModelError, match="not a plain PyTorch weights file"):
        read_published_weights(tmp_path / "odd.pth")


def test_git_blob_ids_are_those_of_git(tmp_path):
    (tmp_path / "hello").write_bytes(b"hello\n")
    assert git_blob_id(tmp_path / "hello") == "ce013625030ba8dba906f756967f9e9ca394464a"


@torch.inference_mode()
def test_features_of_a_crop_have_zero_mean_and_unit_deviation():
    features = stable_features(torch.nn.Conv3d(1, 2, 3, padding=1), 10 * torch.rand(2, 1, 32, 32, 32))
    flat = features.flatten(2)
    torch.testing.assert_close(flat.mean(-1), torch.zeros(2, 2), atol=1e-4, rtol=0)
    torch.testing.assert_close(flat.var(-1, unbiased=False), torch.ones(2, 2), atol=1e-2, rtol=0)
