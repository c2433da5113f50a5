"""Labels on the scan's own grid are those of scores resampled whole, however the slab moves along them."""

import numpy as np
import pytest
import torch

from dropiris.geometry import CanonicalGrid, axis_shares
from dropiris.inference.decisions import largest_channel, largest_positive
from dropiris.inference.finer_labels import FinerLabels, ScanGrid
from dropiris.inference.foreground import Foreground
from dropiris.inference.sliding_window import Windows, pad_to_window, segment_windows


class Copies:
    """Scores are the image itself, and what it lacks to 1."""

    channels, torch_device = 2, "cpu"

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        return torch.cat([1 - windows, windows], dim=1)

    def to_cpu(self) -> None: ...


def resampled(scores: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    shares = [axis_shares(old, new) for old, new in zip(scores.shape[1:], shape, strict=True)]
    return np.einsum("kxyz,ax,by,cz->kabc", scores, *shares)


@pytest.mark.parametrize("background", [0.0, 3.0], ids=["structures everywhere", "in one place"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(41, 30, 37), (9, 55, 12), (20, 23, 26)])
def test_planes_in_pieces_are_as_good_as_all_at_once(shape, axis, background):
    """Finer, coarser and equal along an axis; what is background all around is not looked at, without a difference."""
    scores = np.random.default_rng(0).normal(size=(3, 20, 23, 26)).astype(np.float32)
    scores[0] += background
    scores[0, 6:15, 9:16, 8:18] -= background
    expected = resampled(scores, shape)
    labels = np.zeros(shape, np.uint8)
    grid = ScanGrid(labels, tuple(axis_shares(old, new) for old, new in zip(scores.shape[1:], shape, strict=True)))
    taking = FinerLabels(grid, axis, largest_channel)
    planes = torch.from_numpy(scores).movedim(1 + axis, 1)
    for low, high in ((0, 1), (1, 7), (7, 7), (7, 19), (19, planes.shape[1])):
        taking.take(planes[:, low:high])
    top = np.sort(expected, axis=0)
    clear = top[-1] - top[-2] > 1e-4
    assert (labels == expected.argmax(0))[clear].all() and clear.mean() > 0.99
    assert labels.any()


def test_a_border_lies_where_the_scores_cross_not_where_voxels_end():
    """A ball of 7.3 mm with voxels of 4 mm: on the scan's 1 mm grid its volume and place are those of the ball."""
    places = np.stack(np.meshgrid(*[np.arange(n) for n in (40, 44, 36)], indexing="ij"), -1)
    distance = np.linalg.norm(places - (19.2, 22.7, 17.1), axis=-1)
    scan = np.clip(0.5 + (7.3 - distance) / 8, 0, 1).astype(np.float32)
    affine = np.diag([-1.0, 1, 1, 1])
    grid = CanonicalGrid.over(scan.shape, affine, (4.0, 4.0, 4.0))
    padded, inside = pad_to_window(grid.image_to_model(scan), (16, 16, 16))
    found = np.zeros(scan.shape, np.uint8)
    onto = ScanGrid.of(grid, found, padded.shape, inside)
    segment_windows(
        padded, Copies(), largest_channel, Windows((16, 16, 16)), Foreground.everything(padded.shape), onto=onto
    )
    ball = distance < 7.3
    soft = 2 * (ball & (found == 1)).sum() / (ball.sum() + (found == 1).sum())
    on_model = segment_windows(
        padded, Copies(), largest_channel, Windows((16, 16, 16)), Foreground.everything(padded.shape)
    )
    blocks = grid.labels_to_source(on_model[inside])
    hard = 2 * (ball & (blocks == 1)).sum() / (ball.sum() + (blocks == 1).sum())
    assert soft > 0.93 and soft > hard + 0.02


def test_a_scan_that_needs_no_resampling_gets_the_very_same_labels():
    image = np.random.default_rng(1).normal(size=(18, 21, 17)).astype(np.float32)
    grid = CanonicalGrid.over(image.shape, np.diag([1.0, -1, 1, 1]), None)
    turned, inside = pad_to_window(grid.image_to_model(image), (16, 16, 32))
    everything = Foreground.everything(turned.shape)
    found = np.zeros(image.shape, np.uint8)
    onto = ScanGrid.of(grid, found, turned.shape, inside)
    segment_windows(turned, Copies(), largest_positive, Windows((16, 16, 32)), everything, onto=onto)
    same = segment_windows(turned, Copies(), largest_positive, Windows((16, 16, 32)), everything)
    assert np.array_equal(found, grid.labels_to_source(same[inside]))


def test_what_lies_beyond_the_box_that_was_looked_at_stays_background():
    labels = np.zeros((30, 30, 30), np.uint8)
    shares = tuple(axis_shares(15, 30) for _ in range(3))
    part = ScanGrid(labels, shares).part([slice(3, 9), slice(4, 10), slice(0, 6)])
    taking = FinerLabels(part, 0, largest_positive)
    taking.take(torch.ones(1, 6, 6, 6))
    assert labels[8:16, 10:18, 2:10].all()
    assert not labels[:5].any() and not labels[20:].any() and not labels[:, :7].any() and not labels[..., 13:].any()
