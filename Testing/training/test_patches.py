"""Which cases are trained on, and what a training crop is."""

import json

import numpy as np
import pytest
import torch

from dropiris.data.nnunet import Dataset
from dropiris.data.patches import (
    PatchDataset,
    PatchScan,
    augmentation,
    intensity_rule,
    load_patches,
    random_crop,
    toward_middle,
)
from dropiris.data.selection import Selection
from dropiris.errors import InputError
from dropiris.files import write_labels, write_volume
from dropiris.train.dropgen_config import DropGenConfig
from dropiris.volume import LabelMap, Volume


def config(data="x", **more):
    return DropGenConfig(data=[data], **{"window": (16, 16, 16), "downsamplings": 3, **more})


def scan(shape=(40, 30, 20)):
    """Intensities that name their voxel, and one structure in a corner."""
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    labels = np.zeros(shape, np.uint8)
    labels[30:34, 20:24, 10:14] = 2
    return PatchScan.of(image, labels)


@pytest.fixture
def two_channels(tmp_path):
    """Eight cases of two sites with two channels each, in one split."""
    folder = tmp_path / "Dataset902_Sites"
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    for number in range(8):
        name = f"{'ABCD'[number // 2]}_{number}"
        labels = np.zeros((20, 20, 20), np.uint8)
        labels[5:15, 5:15, 5:15] = 1
        write_labels(LabelMap(labels, np.eye(4)), folder / "labelsTr" / f"{name}.nii.gz")
        (folder / "labelsTr" / f"{name}.json").unlink(missing_ok=True)
        for channel in range(2):
            image = (labels + channel + number).astype(np.float32)
            write_volume(Volume(image, np.eye(4)), folder / "imagesTr" / f"{name}_{channel:04d}.nii.gz")
    (folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "box": 1}}), encoding="utf-8")
    return Dataset.open(folder)


def names(cases):
    return [case.name for case in cases]


def test_all_cases_are_selected_unless_something_is_said(two_channels):
    assert len(Selection().cases(two_channels)) == 8 and Selection(split="Ts").cases(two_channels) == []


def test_names_choose_by_pattern(two_channels):
    assert names(Selection(names=["A_*", "C_4"]).cases(two_channels)) == ["A_0", "A_1", "C_4"]
    assert names(Selection(without=["A_*", "B_*", "C_*"]).cases(two_channels)) == ["D_6", "D_7"]
    with pytest.raises(InputError, match=r"No case of .* has a selected name"):
        Selection(names=["E_*"]).cases(two_channels)


def test_counted_cases_are_drawn_the_same_way_every_time_and_do_not_overlap(two_channels):
    train = names(Selection(count=5).cases(two_channels))
    test = names(Selection(skip=5).cases(two_channels))
    assert len(train) == 5 and not set(train) & set(test) and len(set(train) | set(test)) == 8
    assert train == names(Selection(count=5).cases(two_channels)) and train != names(two_channels.cases())[:5]
    assert train != names(Selection(count=5, seed=8).cases(two_channels))
    with pytest.raises(InputError, match="has 8 cases to select from"):
        Selection(count=9).cases(two_channels)


def test_each_channel_is_a_scan_of_its_own(two_channels):
    cases = Selection(names=["A_*"], channels=[1, 0]).cases(two_channels)
    assert [case.image.name for case in cases] == [
        "A_0_0001.nii.gz", "A_1_0001.nii.gz", "A_0_0000.nii.gz", "A_1_0000.nii.gz",
    ]  # fmt: skip


def test_training_reads_the_selected_channels(two_channels):
    settings = config(two_channels.folder, training={"names": ["A_*"], "channels": [0, 1]})
    assert len(load_patches(two_channels, settings, intensity_rule(settings))) == 4


def test_crops_of_structures_hold_them_and_crops_of_anywhere_reach_everywhere():
    rng = np.random.default_rng(0)
    window = (16, 16, 16)
    around = [random_crop(scan(), window, 1.0, rng)[1] for _ in range(20)]
    assert all(bool((labels == 2).any()) for labels in around)
    first = [float(random_crop(scan(), window, 0.0, rng)[0][0, 0, 0, 0]) for _ in range(400)]
    starts = np.array(np.unravel_index(np.array(first, int), (40, 30, 20)))
    assert starts.min(1).tolist() == [0, 0, 0] and starts.max(1).tolist() == [24, 14, 4]


def test_a_crop_is_cut_out_of_image_and_labels_at_the_same_place():
    image, labels = random_crop(scan(), (16, 16, 16), 1.0, np.random.default_rng(3))
    where = np.unravel_index(image[labels == 2].numpy().astype(int), (40, 30, 20))
    assert {int(x) for x in where[0]} <= set(range(30, 34)) and image.shape == labels.shape == (1, 16, 16, 16)


def test_a_small_scan_is_grown_by_its_edge_and_without_labels():
    small = PatchScan.of(np.random.rand(10, 16, 9).astype(np.float32), np.ones((10, 16, 9), np.uint8))
    image, labels = random_crop(small, (16, 16, 16), 0.5, np.random.default_rng(0))
    assert image.shape == labels.shape == (1, 16, 16, 16)
    assert torch.equal(image[0, 3:13, :, 3:12], small.image[0]) and torch.equal(image[0, 0], image[0, 3])
    assert int(labels.sum()) == 10 * 16 * 9


def test_a_scan_without_structures_still_gives_crops():
    empty = PatchScan.of(np.random.rand(20, 20, 20).astype(np.float32), np.zeros((20, 20, 20), np.uint8))
    assert random_crop(empty, (16, 16, 16), 1.0, np.random.default_rng(0))[1].sum() == 0


def test_a_sample_depends_on_its_step_and_place_alone():
    samples = [PatchDataset([scan()], config(seed=4)) for _ in range(2)]
    torch.manual_seed(99)
    first = samples[0][3, 1]
    samples[1][5, 0]
    again = samples[1][3, 1]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], samples[0][3, 0][0])


@pytest.mark.parametrize("flips_and_turns", [False, True])
def test_samples_stay_in_range_and_shape(flips_and_turns):
    samples = PatchDataset([scan()], config(window=(24, 16, 16), flips_and_turns=flips_and_turns))
    for step in range(25):
        image, labels = samples[step, 0]
        assert image.shape == labels.shape == (1, 24, 16, 16)
        assert float(image.min()) >= 0 and float(image.max()) <= 1 and set(labels.unique().tolist()) <= {0, 2}


def test_augmentations_come_in_the_papers_order_each_with_a_third():
    steps = [type(t).__name__ for t in augmentation(config(flips_and_turns=True)).transforms]
    assert [name for name in steps if name.startswith("Rand")] == [
        "RandAxisFlipd", "RandRotate90d", "RandSimulateLowResolutiond", "RandGaussianNoised", "RandBiasFieldd",
        "RandGibbsNoised", "RandAdjustContrastd", "RandGaussianSmoothd", "RandGaussianSharpend", "RandAffined",
    ]  # fmt: skip
    assert not any("Flip" in type(t).__name__ or "90" in type(t).__name__ for t in augmentation(config()).transforms)


def test_intensities_follow_the_settings():
    rule = intensity_rule(config(ct_window=(-1024, 1024), percentiles=(0, 100)))
    hounsfield = np.array([[[-2000.0, -1024.0, 0.0, 1024.0, 3000.0]]])
    assert np.allclose(rule.apply(hounsfield, is_ct=True), [[[0, 0, 0.5, 1, 1]]])
    assert np.allclose(rule.apply(np.array([[[0.0, 5.0, 10.0]]]), is_ct=False), [[[0, 0.5, 1]]])


def test_crops_can_be_pulled_to_the_middle_of_the_structures():
    centres = np.array([[0, 0, 0], [10, 20, 40]])
    rng = np.random.default_rng
    assert any((toward_middle(centres, rng(0), 0.0) == centre).all() for centre in centres)
    assert toward_middle(centres, rng(0), 1.0) == pytest.approx([5, 10, 20])
    halfway = toward_middle(centres, rng(0), 0.5)
    assert any(halfway == pytest.approx((centre + np.array([5, 10, 20])) / 2) for centre in centres)
