"""DropGen's segmenter: whole scans in any orientation, with networks simple enough to know the answer."""

from itertools import permutations, product

import numpy as np
import pytest
import torch

from dropiris.errors import InputError, ModelError
from dropiris.inference.devices import Device
from dropiris.inference.dropgen_segmenter import DropGenSegmenter
from dropiris.inference.folding import fold_batch_norm
from dropiris.models.bundle import Bundle, write_bundle
from dropiris.models.card import ModelCard
from dropiris.networks import AnatomixUNet, UNet, build_network
from dropiris.volume import Structure, Volume

CPU = Device("cpu", "float32", "CPU", "test")
RED, BLUE = Structure(1, "red", (1, 0, 0), "coded"), Structure(2, "blue", (0, 0, 1))


def bundle(folder, network, tensors=None, **card) -> Bundle:
    torch.manual_seed(0)
    spec = {"name": "UNet", **network}
    values = {"spacing": (1.0, 1.0, 1.0), "window": (16, 16, 16), "structures": (RED, BLUE), **card}
    if tensors is None:
        tensors = {f"predictor.{n}": v for n, v in build_network(spec).state_dict().items()}
    return write_bundle(
        folder, ModelCard(name="shapes", version="1.0", method="dropgen", network=spec, **values), tensors, half=False
    )


SMALL = {"in_channels": 1, "out_channels": 3, "base_width": 2, "downsamplings": 1}


@pytest.fixture(scope="module")
def bright(tmp_path_factory) -> DropGenSegmenter:
    """Red above 0.3, blue above 0.7 of the intensity range, voxel by voxel, on a grid of 1 mm."""
    segmenter = DropGenSegmenter(bundle(tmp_path_factory.mktemp("models") / "bright", SMALL), CPU)

    class Steps(torch.nn.Module):
        def forward(self, x):
            return torch.cat([torch.full_like(x, 0.3), x, 2 * x - 0.7], dim=1)

    segmenter.scorer.predictor = Steps()
    return segmenter


def scene() -> np.ndarray:
    """Three boxes without any symmetry, (R, A, S) order, at 1 mm."""
    array = np.zeros((30, 24, 20), np.float32)
    array[3:12, 4:9, 5:16] = 1.0
    array[15:27, 6:20, 2:6] = 0.5
    array[18:21, 8:12, 6:15] = 1.0
    return array


def expected(array: np.ndarray) -> np.ndarray:
    return np.where(array > 0.7, 2, np.where(array > 0.3, 1, 0))


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_the_result_lies_on_the_scan_in_all_48_orientations(bright, axes, signs):
    ras = scene()
    turned = ras.transpose(np.argsort(axes))
    affine = np.eye(4)
    affine[:3, :3] = 0
    for world, axis in enumerate(axes):
        affine[world, axis] = signs[world]
    array = turned[tuple(slice(None, None, signs[world]) for world in np.argsort(axes))]
    result = bright.segment(Volume(array, affine))
    assert result.affine is not None and np.array_equal(result.affine, affine)
    assert np.array_equal(result.array, expected(array))


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_the_network_always_sees_right_anterior_superior(bright, axes, signs, monkeypatch):
    class Sides(torch.nn.Module):
        """Red in the right half of the window, blue in the superior quarter of it."""

        def forward(self, x):
            scores = torch.zeros(len(x), 3, *x.shape[2:])
            scores[:, 1, 8:] = 1
            scores[:, 2, :, :, 12:] = 2
            return scores

    monkeypatch.setattr(bright.scorer, "predictor", Sides())
    affine = np.eye(4)
    affine[:3, :3] = 0
    for world, axis in enumerate(axes):
        affine[world, axis] = signs[world]
        affine[world, 3] = 0 if signs[world] > 0 else 15
    array = np.random.default_rng(0).uniform(0.5, 1.0, (16, 16, 16)).astype(np.float32)
    result = bright.segment(Volume(array, affine)).array
    ijk = np.stack(np.meshgrid(*[np.arange(16)] * 3, indexing="ij"), -1)
    world = ijk @ affine[:3, :3].T + affine[:3, 3]
    assert np.array_equal(result, np.where(world[..., 2] >= 12, 2, np.where(world[..., 0] >= 8, 1, 0)))


@pytest.mark.parametrize("angle", [10, 33, 80])
def test_the_result_lies_on_an_oblique_scan(bright, angle):
    a = np.deg2rad(angle)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.array([[1, 0, 0], [0, np.cos(a), np.sin(a)], [0, -np.sin(a), np.cos(a)]])
    affine[:3, 3] = (-40, 12, 300)
    result = bright.segment(Volume(scene(), affine))
    assert np.array_equal(result.array, expected(scene()))


def test_an_anisotropic_scan_comes_back_on_its_own_grid(bright):
    fine = np.repeat(np.repeat(scene(), 2, axis=0), 2, axis=1)[:, :, ::2]
    result = bright.segment(Volume(fine, np.diag([0.5, 0.5, 2.0, 1.0])))
    assert result.shape == fine.shape
    for label in (1, 2):
        one, two = result.array == label, expected(fine) == label
        assert 2 * (one & two).sum() / (one.sum() + two.sum()) > 0.8


def test_a_scan_smaller_than_the_window_keeps_its_size(bright):
    array = scene()[:10, :8, 3:17]
    array = np.ascontiguousarray(array)
    assert np.array_equal(bright.segment(Volume(array, np.eye(4))).array, expected(array))


def test_names_colours_and_codes_are_the_cards(bright):
    result = bright.segment(Volume(scene(), np.eye(4), "scan"))
    assert result.structures == (RED, BLUE) and result.name == "scan" and result.array.dtype == np.uint8


def test_a_structure_left_out_does_not_change_the_others(bright):
    everything = bright.segment(Volume(scene(), np.eye(4))).array
    blue = bright.segment(Volume(scene(), np.eye(4)), structures=["blue"])
    assert blue.structures == (BLUE,)
    assert np.array_equal(blue.array, np.where(everything == 2, 2, 0))


def test_an_unknown_structure_is_refused_with_the_known_ones(bright):
    with pytest.raises(InputError, match="Unknown structure 'green'; choose among: red, blue"):
        bright.segment(Volume(scene(), np.eye(4)), structures=["green"])


@pytest.mark.parametrize(("value", "words"), [(np.nan, "NaN"), (None, "constant")])
def test_a_scan_nothing_can_be_seen_in_is_refused(bright, value, words):
    array = np.zeros((20, 20, 20), np.float32)
    if value is not None:
        array[3, 3, 3] = value
    with pytest.raises(InputError, match=words):
        bright.segment(Volume(array, np.eye(4), "scan"))


def test_labels_that_are_not_1_to_k_are_written_as_the_card_says(tmp_path, bright):
    odd = (Structure(300, "blue"), Structure(7, "red"))
    segmenter = DropGenSegmenter(bundle(tmp_path / "odd", SMALL, structures=odd), CPU)
    segmenter.scorer.predictor = bright.scorer.predictor
    result = segmenter.segment(Volume(scene(), np.eye(4)))
    assert np.array_equal(result.array, np.array([0, 7, 300])[expected(scene())]) and result.array.dtype == np.uint16


EXTRACTORS = [
    {"name": "AnatomixUNet", "base_width": 2, "out_channels": 3, "downsamplings": 2, "layer": "penultimate"},
    {"name": "AnatomixUNet", "base_width": 2, "out_channels": 3, "downsamplings": 2, "layer": "final"},
    {"name": "MIND-SSC"},
]


@pytest.mark.parametrize("extractor", EXTRACTORS, ids=lambda e: e["name"] + e.get("layer", ""))
def test_every_extractor_runs_beside_the_image(tmp_path, extractor):
    features = build_network(extractor)
    network = {**SMALL, "in_channels": 1 + features.feature_channels}
    tensors = {f"extractor.{n}": v for n, v in features.state_dict().items()}
    tensors |= {f"predictor.{n}": v for n, v in UNet(**network).state_dict().items()}
    segmenter = DropGenSegmenter(bundle(tmp_path / "stable", network, tensors, extractor=extractor), CPU)
    result = segmenter.segment(Volume(scene(), np.eye(4)))
    assert result.shape == scene().shape


def test_bfloat16_agrees_with_float32_almost_everywhere(tmp_path):
    made = bundle(tmp_path / "model", SMALL)
    volume = Volume(np.random.default_rng(0).normal(size=(24, 20, 18)).astype(np.float32), np.eye(4))
    exact = DropGenSegmenter(made, CPU).segment(volume).array
    half = DropGenSegmenter(made, Device("cpu", "bfloat16", "CPU", "test")).segment(volume).array
    assert (exact == half).mean() > 0.9


@pytest.mark.parametrize(
    "build",
    [lambda: UNet(2, 3, 2, 2), lambda: AnatomixUNet(1, 3, 2, 2), lambda: AnatomixUNet(1, 3, 2, 2, layer="final")],
)
@torch.inference_mode()
def test_folding_batch_norm_changes_nothing(build):
    torch.manual_seed(0)
    network = build()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            module.weight.uniform_(0.5, 2.0)
            module.bias.normal_()
    image = torch.randn(1, network.model[0].in_channels, 16, 16, 16)
    before = network.eval()(image)
    folded = fold_batch_norm(network)
    torch.testing.assert_close(folded(image), before, atol=1e-4, rtol=1e-4)
    assert not any(isinstance(m, torch.nn.BatchNorm3d) for m in folded.modules())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"window": (17, 16, 16)}, "needs multiples of 2"),
        ({"extractor": {"name": "MIND-SSC"}}, "takes 1 channels, but image and extractor give 13"),
    ],
)
def test_a_card_that_does_not_fit_its_network_is_refused(tmp_path, change, words):
    with pytest.raises(ModelError, match=words):
        DropGenSegmenter(bundle(tmp_path / "odd", SMALL, **change), CPU)


def test_weights_of_another_network_are_refused(tmp_path):
    tensors = {f"predictor.{n}": v for n, v in UNet(1, 3, 4, 1).state_dict().items()}
    with pytest.raises(ModelError, match="do not fit its card"):
        DropGenSegmenter(bundle(tmp_path / "odd", SMALL, tensors), CPU)


def test_an_unknown_network_is_refused(tmp_path):
    tensors = {f"predictor.{n}": v for n, v in UNet(**SMALL).state_dict().items()}
    card = {"in_channels": 1, "name": "Transformer"}
    with pytest.raises(ModelError, match="unknown network 'Transformer'"):
        DropGenSegmenter(bundle(tmp_path / "odd", card, tensors), CPU)


def test_a_mirrored_model_finds_in_a_mirrored_scan_the_same_on_the_other_side(tmp_path):
    """Exactly, for any weights: that is what looking both ways makes of a network."""
    names = ("left box", "right box", "stem")
    sides = tuple(Structure(n, name, (1, 0, 0)) for n, name in enumerate(names, start=1))
    small = {**SMALL, "out_channels": 4}
    segmenter = DropGenSegmenter(bundle(tmp_path / "both", small, structures=sides, mirrored=True), CPU)
    array = np.random.default_rng(0).random((24, 20, 18)).astype(np.float32)
    one = segmenter.segment(Volume(array, np.eye(4))).array
    other = segmenter.segment(Volume(array[::-1].copy(), np.eye(4))).array
    assert len(np.unique(one)) > 1
    swapped = np.array([0, 2, 1, 3])[other[::-1]]
    assert (one == swapped).mean() > 0.999  # sums in another order
    alone = DropGenSegmenter(bundle(tmp_path / "one", small, structures=sides), CPU).segment(Volume(array, np.eye(4)))
    assert not np.array_equal(alone.array, one)


def test_a_mirrored_model_needs_both_sides(tmp_path):
    single = (Structure(1, "left box", (1, 0, 0)), Structure(2, "stem", (0, 0, 1)))
    with pytest.raises(ModelError, match="'left box' has no 'right box' beside it"):
        DropGenSegmenter(bundle(tmp_path / "half", SMALL, structures=single, mirrored=True), CPU)
    with pytest.raises(ModelError, match="mirrored True"):
        ModelCard(name="a", version="1.0", method="iris", window=(16, 16, 16), network={"name": "Iris"}, mirrored=True)
