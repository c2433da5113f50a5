"""Intensities reach the network as it was trained, and hopeless scans are refused in one sentence."""

import numpy as np
import pytest

from dropiris.errors import InputError
from dropiris.intensity import IntensityRule, check_intensities, looks_like_ct, robust_range, subset
from dropiris.volume import Volume

rng = np.random.default_rng(0)


def volume(array, modality="", name="scan.nii.gz"):
    return Volume(np.asarray(array), np.eye(4), name, modality)


def body_ct(shape=(40, 40, 40)):
    """Air around fat around soft tissue with some bone, HU."""
    array = np.full(shape, -1000, np.int16)
    array[8:-8, 8:-8, 4:-4] = -100
    array[10:-10, 10:-10, 4:-4] = 40
    array[18:22, 18:22, 4:-4] = 700
    return array


def test_unit_scale_ends_between_zero_and_one():
    scaled = IntensityRule("unit").apply(rng.normal(300, 80, (20, 20, 20)), is_ct=False)
    assert scaled.dtype == np.float32
    assert (scaled.min(), scaled.max()) == (0.0, 1.0)


def test_ct_is_clipped_to_its_window_and_keeps_its_units():
    rule = IntensityRule("unit", ct_window=(-1000.0, 1000.0))
    scaled = rule.apply(np.array([[[-3000.0, 0.0, 5000.0]]]), is_ct=True)
    assert np.allclose(scaled, [[[0.0, 0.5, 1.0]]])


def test_zscore_centres_what_is_not_air():
    scaled = IntensityRule("zscore").apply(body_ct(), is_ct=True)
    inside = scaled[scaled > scaled.min()]
    assert abs(inside.mean()) < 0.1
    assert inside.std() == pytest.approx(1.0, abs=0.1)


def test_the_scan_itself_is_never_changed():
    array = rng.normal(size=(9, 9, 9)).astype(np.float32)
    before = array.copy()
    for scale in ("unit", "zscore"):
        IntensityRule(scale).apply(array, is_ct=False)
    assert np.array_equal(array, before)


def test_a_small_bright_object_in_air_is_not_clipped_away():
    array = np.zeros((50, 50, 50), np.float32)
    array[25, 25, 25:28] = 7.0
    assert robust_range(array, (2.0, 98.0)) == (0.0, 7.0)


def test_statistics_see_every_part_of_a_large_scan():
    scan = np.zeros((512, 512, 32), np.int16)
    scan[100:400, 100:400] = 50
    share = (scan > 0).mean()
    assert (subset(scan, 16_384) > 0).mean() == pytest.approx(share, abs=0.05)
    thin = rng.normal(size=(400, 400, 1))
    assert subset(thin, 1000).size >= 1000


def test_a_rule_survives_its_json():
    for rule in (IntensityRule(), IntensityRule("zscore", (1.0, 99.0), None)):
        assert IntensityRule.from_json(rule.to_json()) == rule
    with pytest.raises(ValueError, match="must be 'unit' or 'zscore'"):
        IntensityRule("minmax")


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.where(np.arange(27).reshape(3, 3, 3) == 5, np.nan, 1.0), "contains NaN"),
        (np.where(np.arange(27).reshape(3, 3, 3) == 5, np.inf, 1.0), "infinite"),
        (np.full((3, 3, 3), 4), "is constant .every voxel is 4"),
        (np.zeros((3, 3, 3), complex), "does not hold real numbers"),
        (np.zeros((3, 3, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "does not hold real numbers"),
    ],
)
def test_hopeless_intensities_are_named(array, sentence):
    with pytest.raises(InputError, match=rf"^scan\.nii\.gz .*{sentence}"):
        check_intensities(volume(array))


def test_a_usable_scan_passes():
    check_intensities(volume(body_ct()))


def test_ct_is_recognised_by_modality_or_by_its_numbers():
    assert looks_like_ct(volume(np.zeros((3, 3, 3)), "CT"))
    assert not looks_like_ct(volume(body_ct(), "MR"))
    assert looks_like_ct(volume(body_ct()))
    assert looks_like_ct(volume(np.asfortranarray(body_ct().repeat(8, 0).repeat(8, 1))))
    assert looks_like_ct(volume(body_ct()[8:-8, 8:-8])), "a crop inside the body has no air"
    assert not looks_like_ct(volume(np.abs(body_ct()))), "MR has no negative intensities"
    assert not looks_like_ct(volume(rng.normal(size=(30, 30, 30)))), "z-scores are no Hounsfield units"
