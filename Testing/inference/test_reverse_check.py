"""The reverse check: a true result leads back to its reference, a wrong one does not."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dropiris.errors import Cancelled, InputError
from dropiris.inference.devices import Device
from dropiris.inference.iris_segmenter import IrisSegmenter
from dropiris.inference.reference_windows import load_reference, save_reference
from dropiris.inference.reverse_check import reverse_check, see
from dropiris.intensity import IntensityRule
from dropiris.models.bundle import write_bundle
from dropiris.models.card import ModelCard
from dropiris.networks import build_network
from dropiris.progress import CancelToken
from dropiris.trust import CHECK, GOOD, NOT_FOUND, judge
from dropiris.volume import LabelMap, Reference, Structure, Volume

DARK, BRIGHT = Structure(1, "dark box"), Structure(2, "bright box")
SPACING = {"dark box": 1.0, "bright box": 1.0}
NETWORK = {"name": "Iris", "in_channels": 1, "base_width": 4, "task_channels": 64, "queries": 2}


class SameIntensity:
    """Tokens are the structure's mean intensity; a voxel belongs to it within 0.1: the answer is known exactly."""

    iris, torch_device = SimpleNamespace(tokens=6, task_channels=64), "cpu"

    def look_for(self, tokens):
        self.wanted = tokens[:, 0, 0]

    def encode(self, window, masks):
        means = (window[0] * masks).sum((1, 2, 3)) / masks.sum((1, 2, 3))
        return means[:, None, None].expand(-1, 6, 64)

    def __call__(self, windows):
        return 0.1 - (windows - self.wanted[None, :, None, None, None]).abs()


def scene():
    """A body of 0.2 in air with two boxes of 0.5 and 1.0, and their labels; 1 mm."""
    image, labels = np.zeros((60, 50, 40), np.float32), np.zeros((60, 50, 40), np.uint8)
    image[4:56, 4:46, 4:36] = 0.2
    image[10:30, 10:26, 8:20], labels[10:30, 10:26, 8:20] = 0.5, 1
    image[34:50, 20:40, 14:32], labels[34:50, 20:40, 14:32] = 1.0, 2
    return image, labels


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    tensors = {f"iris.{n}": v for n, v in build_network(NETWORK).state_dict().items()}
    rule = IntensityRule(scale="unit", percentiles=(0, 100), ct_window=None).to_json()
    card = ModelCard("any", "1.0", "iris", (32, 32, 32), NETWORK, rule)
    bundle = write_bundle(tmp_path_factory.mktemp("models") / "any", card, tensors)
    made = IrisSegmenter(bundle, Device("cpu", "float32", "CPU", "test"))
    made.scorer = SameIntensity()
    return made


@pytest.fixture(scope="module")
def seen(segmenter):
    volume, labels = query()
    made = segmenter.reference_windows(Reference(volume, (labels,)), SPACING)
    return see(segmenter, segmenter.encode_windows(made, (DARK, BRIGHT)), made)


def query(labels=None):
    image, truth = scene()
    affine = np.eye(4)
    return Volume(image, affine, "boxes"), LabelMap(truth if labels is None else labels, affine, (DARK, BRIGHT))


def test_a_true_result_leads_back_whole_and_exchanged_labels_lead_nowhere(segmenter, seen):
    volume, labels = query()
    report = reverse_check(segmenter, volume, labels, SPACING, [seen])
    assert report.values == {"dark box": 1.0, "bright box": 1.0} and report.why == ""
    assert report.voxels["dark box"] == int((labels.array == 1).sum())
    wrong = np.where(labels.array == 1, 2, np.where(labels.array == 2, 1, 0)).astype(np.uint8)
    report = reverse_check(segmenter, *query(wrong), SPACING, [seen])
    assert max(report.values.values()) < 0.1


def test_a_result_that_leads_back_but_not_to_itself_counts_as_what_it_is_of_the_scan(segmenter, seen):
    part = query()[1].array.copy()
    part[20:30][part[20:30] == 1] = 0  # the other half is as dark, so it is found with it
    value = reverse_check(segmenter, *query(part), SPACING, [seen]).values["dark box"]
    assert value == pytest.approx(2 / 3)
    parts = reverse_check(segmenter, *query(part), SPACING, [seen]).parts["dark box"]
    assert parts == {"reference": 1.0, "scan": pytest.approx(2 / 3)}


def test_of_what_the_reference_itself_reaches_the_share_counts(segmenter, seen):
    half = replace(seen, own={**seen.own, "dark box": 0.5})
    assert reverse_check(segmenter, *query(), SPACING, [half]).values["dark box"] == 1.0


def test_the_better_of_two_references_counts(segmenter, seen):
    black = [replace(window, image=torch.zeros_like(window.image)) for window in seen.windows]
    other = replace(seen, windows=black)
    report = reverse_check(segmenter, *query(), SPACING, [other, seen, other])
    assert report.values == {"dark box": 1.0, "bright box": 1.0}


def test_what_was_not_found_has_no_trust_and_what_has_no_reference_no_number(segmenter, seen):
    volume, labels = query()
    labels = replace(labels, structures=(*labels.structures, Structure(3, "third")))
    labels.array[labels.array == 2] = 0
    labels.array[0, 0, 0] = 3
    report = reverse_check(segmenter, volume, labels, {**SPACING, "third": 1.0}, [seen])
    assert report.values == {"dark box": 1.0, "bright box": 0.0, "third": None}
    assert "third cannot be checked" in report.why and "add the reference itself" in report.why
    calibrated = replace(segmenter.card, trust={"threshold": 0.5})
    flags = {name: trust.flag for name, trust in judge(report, calibrated).items()}
    assert flags == {"dark box": GOOD, "bright box": NOT_FOUND, "third": ""}
    assert judge(report, replace(segmenter.card, trust={"threshold": 1.0}))["dark box"].flag == GOOD
    doubtful = replace(report, values={"dark box": 0.99})
    assert judge(doubtful, replace(segmenter.card, trust={"threshold": 1.0}))["dark box"].flag == CHECK
    assert judge(report, segmenter.card)["dark box"].flag == ""  # never calibrated


def test_a_saved_task_alone_cannot_be_checked(segmenter):
    report = reverse_check(segmenter, *query(), SPACING, [])
    assert set(report.values.values()) == {None} and "saved task" in report.why


def test_cancel_stops_it(segmenter, seen):
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        reverse_check(segmenter, *query(), SPACING, [seen], cancel=cancel)


def test_windows_survive_a_file_and_a_damaged_one_says_so(segmenter, seen, tmp_path):
    path = save_reference(seen, tmp_path / "reference.windows")
    again = load_reference(path)
    assert again.own == seen.own == {"dark box": 1.0, "bright box": 1.0}
    for before, after in zip(seen.windows, again.windows, strict=True):
        assert (after.names, after.spacing) == (before.names, before.spacing)
        assert torch.allclose(after.image, before.image, atol=1e-3) and torch.equal(after.masks, before.masks)
    assert reverse_check(segmenter, *query(), SPACING, [again]).values == {"dark box": 1.0, "bright box": 1.0}
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="missing or damaged"):
        load_reference(path)
