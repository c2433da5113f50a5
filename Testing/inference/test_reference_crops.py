"""A reference is looked at around its structures, whatever their size and wherever they lie."""

import numpy as np
import pytest

from dropiris.geometry import CanonicalGrid
from dropiris.inference.reference_crops import PlacedMask, covering_windows, cut_image, place_mask, plan_crops


@pytest.mark.parametrize("spacing", [None, (1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (0.7, 0.7, 0.7)])
@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_a_placed_mask_is_the_resampled_mask_where_it_is(spacing, flip):
    mask = np.zeros((20, 24, 18), bool)
    mask[3:9, 10:21, 5:7] = True
    affine = np.array([[0, flip, 0, 0], [1.5, 0, 0, 0], [0, 0, 1.2, 0], [0, 0, 0, 1.0]])
    grid = CanonicalGrid.over(mask.shape, affine, spacing)
    placed = place_mask(grid, mask)
    assert placed is not None
    whole = placed.cut((0, 0, 0), grid.shape)
    np.testing.assert_allclose(whole, grid.mask_to_model(mask), atol=1e-5)
    assert placed.share.sum() == pytest.approx(whole.sum())


def test_an_empty_mask_is_nowhere():
    grid = CanonicalGrid.over((8, 8, 8), np.eye(4), None)
    assert place_mask(grid, np.zeros((8, 8, 8), bool)) is None


@pytest.mark.parametrize("high", [5, 16, 17, 40, 100])
def test_windows_cover_the_whole_structure_and_are_the_fewest(high):
    starts = sorted({s[0] for s in covering_windows((3, 0, 0), (3 + high, 4, 4), (16, 16, 16))})
    covered = {v for s in starts for v in range(s, s + 16)}
    assert covered >= set(range(3, 3 + high))
    assert len(starts) == max(1, -(-high // 16))


def test_a_small_structure_lies_in_the_middle_even_at_the_border():
    (start,) = covering_windows((0, 0, 0), (4, 4, 4), (16, 16, 16))
    assert start == (-6, -6, -6)
    image = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
    window = cut_image(image, start, (16, 16, 16))
    assert np.array_equal(window[6:, 6:, 6:], image) and (window[:7, :7, :7] == image[0, 0, 0]).all()


def placed(low, size) -> PlacedMask:
    return PlacedMask(np.ones(size, np.float32), tuple(low))


def test_structures_near_each_other_share_one_window():
    crops = plan_crops([placed((2, 2, 2), (4, 4, 4)), placed((10, 8, 8), (4, 4, 4))], (16, 16, 16))
    assert len(crops) == 1 and crops[0][1] == [0, 1]


def test_structures_far_apart_get_a_window_each():
    crops = plan_crops([placed((2, 2, 2), (4, 4, 4)), placed((60, 8, 8), (4, 4, 4))], (16, 16, 16))
    assert [used for _, used in crops] == [[0], [1]]


def test_a_structure_larger_than_the_window_is_seen_whole_in_several():
    mask = placed((2, 2, 2), (40, 10, 20))
    crops = plan_crops([mask], (16, 16, 16))
    assert len(crops) == 3 * 1 * 2
    seen = np.zeros((60, 30, 40))
    for start, _ in crops:
        low = [max(0, s) for s in start]
        seen[tuple(slice(a, s + 16) for a, s in zip(low, start, strict=True))] = 1
    assert mask.cut((0, 0, 0), seen.shape).sum() == (mask.cut((0, 0, 0), seen.shape) * seen).sum()


def test_windows_without_any_of_the_structure_are_left_out():
    share = np.zeros((48, 4, 4), np.float32)
    share[:4] = share[-4:] = 1
    crops = plan_crops([PlacedMask(share, (0, 0, 0))], (16, 16, 16))
    assert len(crops) == 2
