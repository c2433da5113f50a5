"""A scan's own intensities move a structure's border to where it is, in any contrast."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from dropiris.inference.appearance import about, odds, thickness


def ball(radius: float, at=(20.0, 20.0, 20.0), side: int = 40) -> np.ndarray:
    away = np.indices((side,) * 3) - np.array(at)[:, None, None, None]
    return (away**2).sum(0) < radius**2


def scan(inside: np.ndarray, bright: float) -> torch.Tensor:
    """One thing in something else, blurred, with noise, beside a third thing that looks like neither."""
    image = np.where(inside, bright, 0.5)
    image[30:] = 1.5
    noise = np.random.default_rng(0).normal(scale=0.05, size=image.shape)
    return torch.from_numpy(ndimage.gaussian_filter(image, 0.6) + noise).float()


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def moved(truth: np.ndarray, by: int) -> torch.Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(np.roll(truth, by, axis=1).astype(np.float32), 0.5))


@pytest.mark.parametrize("bright", [0.9, 0.1])
def test_labels_beside_a_structure_move_onto_it(bright):
    truth = ball(8)
    share = moved(truth, 4)
    found = odds(share, scan(truth, bright), thickness(share), 0.4).numpy() > 0
    assert dice(share.numpy() > 0.5, truth) < 0.75
    assert dice(found, truth) > 0.85


def test_what_is_aligned_well_moves_less():
    truth = ball(8)
    share, image = moved(truth, 4), scan(truth, 0.9)
    unsure, sure = (
        odds(share, image, thickness(share), likeness) - torch.logit(share, eps=0.01) for likeness in (0.4, 0.9)
    )
    assert sure.abs().mean() < 0.6 * unsure.abs().mean()


def test_what_cannot_be_seen_stays_where_it_is():
    """A structure as bright as all about it: its place decides."""
    truth = ball(8)
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=truth.shape)).float()
    share = moved(truth, 0)
    assert dice(odds(share, noise, thickness(share), 0.9).numpy() > 0, truth) > 0.95


def test_any_monotonous_change_of_intensities_gives_the_same():
    truth = ball(8)
    share, image = moved(truth, 3), scan(truth, 0.9)
    one, other = (odds(share, seen, thickness(share), 0.5) for seen in (image, torch.exp(3 * image)))
    assert torch.allclose(one, other)


@pytest.mark.parametrize("image", [torch.zeros(40, 40, 40), torch.full((40, 40, 40), float(2**20))])
def test_an_image_of_one_value_says_nothing(image):
    share = moved(ball(8), 0)
    found = odds(share, image, thickness(share), 0.9)
    assert torch.isfinite(found).all()
    assert torch.equal(found > 0, share > 0.5)


def test_nothing_there_is_nothing():
    nothing = torch.zeros(8, 8, 8)
    assert thickness(nothing) == 0
    assert (odds(nothing, torch.rand(8, 8, 8), 0.0, 0.5) < -4).all()
    assert about(0.0) == 2


def test_thickness_is_twice_volume_by_surface():
    slab = torch.zeros(30, 30, 30)
    slab[10:14] = 1
    assert thickness(torch.from_numpy(ball(9).astype(np.float32))) == pytest.approx(6, rel=0.15)  # 2 r / 3
    assert 5 < thickness(slab) < 13  # four planes: flat faces count as if they were curved
