"""View agreement: a network to which any part of its input will do agrees with itself, one that needs the image not."""

import numpy as np
import pytest
import torch

from dropiris.errors import Cancelled
from dropiris.inference import view_agreement as module
from dropiris.inference.devices import Device
from dropiris.inference.dropgen_segmenter import DropGenSegmenter
from dropiris.inference.view_agreement import partial_views, view_agreement
from dropiris.models.bundle import write_bundle
from dropiris.models.card import ModelCard
from dropiris.networks import build_network
from dropiris.progress import CancelToken
from dropiris.volume import LabelMap, Structure, Volume

CPU = Device("cpu", "float32", "CPU", "test")
BOX, NEVER = Structure(1, "box"), Structure(2, "never")
NETWORK = {"name": "UNet", "in_channels": 13, "out_channels": 3, "base_width": 2, "downsamplings": 1}


class Bright(torch.nn.Module):
    """Sees the box where the mean of the channels it trusts (copies of the image) is above a quarter."""

    def __init__(self, channels):
        super().__init__()
        self.channels, self.calls = channels, 0

    def forward(self, z):
        self.calls += 1
        used = z[:, self.channels]
        mean = used.sum(1, keepdim=True) / used.abs().amax((2, 3, 4), keepdim=True).gt(0).sum(1, keepdim=True).clamp(
            min=1
        )
        return torch.cat([torch.full_like(mean, 0.25), mean, torch.full_like(mean, -1)], dim=1)


class Copies(torch.nn.Module):
    feature_channels = 12
    calls = 0

    def forward(self, image):
        self.calls += 1
        return image.expand(-1, 12, -1, -1, -1)


def segmenter(folder, monkeypatch, channels, **card):
    tensors = {f"predictor.{n}": v for n, v in build_network(NETWORK).state_dict().items()}
    values = {"extractor": {"name": "MIND-SSC"}, "training": {"settings": {"dropout": 0.5}}, **card}
    card = ModelCard(
        "any", "1.0", "dropgen", (16, 16, 16), NETWORK, spacing=(1, 1, 1), structures=(BOX, NEVER), **values
    )
    made = DropGenSegmenter(write_bundle(folder / "any", card, tensors), CPU)
    made.scorer.predictor = Bright(channels)
    if made.scorer.extractor is not None:
        made.scorer.extractor = Copies()
        # features as they come: these are not normalised
        monkeypatch.setattr("dropiris.networks.views.stable_features", lambda extractor, image: extractor(image))
    return made


def scan(shape=(20, 18, 50)):
    array = np.zeros(shape, np.float32)
    array[4:12, 5:13, 4:15] = 1.0
    return Volume(array, np.diag([-1.0, 1, 1, 1]), "scan")


def result(volume):
    return LabelMap((volume.array > 0.5).astype(np.uint8), volume.affine, (BOX, NEVER))


def test_where_any_part_suffices_all_views_agree(tmp_path, monkeypatch):
    model, volume = segmenter(tmp_path, monkeypatch, list(range(13))), scan()
    labels = model.segment(volume)
    assert np.array_equal(labels.array, result(volume).array)
    model.scorer.predictor.calls = model.scorer.extractor.calls = 0
    report = view_agreement(model, volume, labels)
    assert report.values == {"box": 1.0, "never": 0.0} and report.voxels == {"box": 8 * 8 * 11, "never": 0}
    # 2 x 2 x 4 windows cover the scan, 2 x 2 x 1 or 2 of them hold the box: one extraction each for all views
    assert model.scorer.predictor.calls == 3 * model.scorer.extractor.calls <= 3 * 8


def test_where_the_model_leans_on_the_image_the_view_without_it_disagrees(tmp_path, monkeypatch):
    model, volume = segmenter(tmp_path, monkeypatch, [0]), scan()
    assert view_agreement(model, volume, result(volume)).values["box"] == pytest.approx(2 / 3)


def test_a_result_of_something_else_agrees_little(tmp_path, monkeypatch):
    model, volume = segmenter(tmp_path, monkeypatch, list(range(13))), scan()
    shifted = LabelMap(np.roll(result(volume).array, 6, axis=0), volume.affine, (BOX, NEVER))
    assert view_agreement(model, volume, shifted).values["box"] < 0.5


def test_views_drop_the_image_or_half_of_the_features_and_scale_the_rest_as_training_does():
    keep = partial_views(13, 0.25)
    assert keep[:, 0].tolist() == pytest.approx([0, 4 / 3, 4 / 3])
    assert (keep[1, 1:] > 0).sum() == 6 and not ((keep[1, 1:] > 0) & (keep[2, 1:] > 0)).any()
    assert keep.unique().tolist() == pytest.approx([0, 4 / 3])


@pytest.mark.parametrize(
    "card, why",
    [
        ({"extractor": None}, "no stable features"),
        ({"training": {"settings": {"dropout": 0.0}}}, "without dropping channels"),
        ({"training": {"settings": {"ablation": "no-dropout", "dropout": 0.5}}}, "without dropping channels"),
    ],
)
def test_a_model_without_views_says_so(tmp_path, monkeypatch, card, why):
    network = {**NETWORK, "in_channels": 1} if "extractor" in card else NETWORK
    monkeypatch.setitem(NETWORK, "in_channels", network["in_channels"])
    report = view_agreement(segmenter(tmp_path, monkeypatch, [0], **card), scan(), result(scan()))
    assert set(report.values.values()) == {None} and why in report.why


def test_cancel_stops_it(tmp_path, monkeypatch):
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        view_agreement(segmenter(tmp_path, monkeypatch, [0]), scan(), result(scan()), cancel=cancel)


def test_every_voxel_is_judged_once():
    for shape in ((16, 16, 16), (40, 17, 33)):
        count = np.zeros(shape, int)
        for window, core in module._cores(shape, (16, 16, 16)):
            assert all(w.start <= c.start and c.stop <= w.stop for w, c in zip(window, core, strict=True))
            count[core] += 1
        assert (count == 1).all()
