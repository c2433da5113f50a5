"""Rendered images show what their label maps hold, by faults that can be named; shapes are what they are called."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dropiris.data import point_spread
from dropiris.data.shapes import LARGEST, Ensemble, draw_ensemble, paste, structure_templates, voronoi
from dropiris.data.synthesis import (
    Appearance,
    Contrast,
    Deformation,
    deform,
    rendered,
    scanner_matrices,
    synthesise,
    without,
)

CLEAN = Appearance(texture=0, bias=0, gamma=0, blur=(0, 1e-6), coarse=0, ringing=0, noise=0, magnitude=0)


def halves(side: int = 32) -> torch.Tensor:
    """Label 1 below, label 2 above the middle of the first axis, (1, D, H, W)."""
    labels = torch.ones(1, side, side, side, dtype=torch.long)
    labels[:, side // 2 :] = 2
    return labels


def flat(*means: float) -> Contrast:
    return Contrast(torch.tensor([means]), torch.zeros(1, len(means)))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_same_generator_makes_the_same_images_and_another_others():
    labels = draw_ensemble((32, 32, 32), rng(3))[None]
    first, again, other = (rendered(labels, rng(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first[0], other[0])


def test_images_are_finite_and_fill_the_unit_range():
    labels = torch.stack([draw_ensemble((32, 48, 40), rng(seed)) for seed in range(3)])
    images = synthesise(labels, Contrast.draw(3, LARGEST, rng()), rng())
    assert images.shape == (3, 1, 32, 48, 40) and torch.isfinite(images).all()
    assert images.amin((1, 2, 3, 4)).tolist() == [0, 0, 0]
    assert torch.allclose(images.amax((1, 2, 3, 4)), torch.ones(3))


def test_without_faults_a_label_has_its_own_intensity_in_each_image_of_the_batch():
    labels = halves().repeat(2, 1, 1, 1)
    contrast = Contrast(torch.tensor([[0.0, 0.2, 0.8], [0.0, 0.9, 0.1]]), torch.zeros(2, 3))
    images = synthesise(labels, contrast, rng(), CLEAN)
    assert images[0, 0, :16].abs().max() < 1e-6 and (images[0, 0, 16:] - 1).abs().max() < 1e-6
    assert (images[1, 0, :16] - 1).abs().max() < 1e-6 and images[1, 0, 16:].abs().max() < 1e-6


def test_partial_volume_puts_a_boundary_between_the_two_means():
    image = synthesise(halves(), flat(0.0, 0.0, 1.0), rng(), Appearance(**{**vars(CLEAN), "blur": (1.0, 1.0)}))[0, 0]
    boundary = image[14:18].mean((1, 2))
    assert torch.all(boundary.diff() > 0.05) and float(boundary[0]) > 0.01 and float(boundary[-1]) < 0.99
    assert float(image[:8].max()) < 1e-3


def test_larger_voxels_lie_along_one_axis_or_all_three():
    look = Appearance(**{**vars(CLEAN), "coarse": 0.8, "coarsest": 6.0})
    matrices = scanner_matrices(60, (32, 32, 32), rng(), look, torch.device("cpu"))
    stripes = (torch.arange(32) % 2).float()
    changed = torch.stack([((m @ stripes) - stripes).abs().amax(1) > 0.02 for m in matrices], dim=1)
    assert {int(n) for n in changed.sum(1)} == {0, 1, 3}
    # voxels several times as wide as the stripes show none of them
    assert min(float((m @ stripes)[:, 8:24].std(1).min()) for m in matrices) < 0.05


@settings(max_examples=20, deadline=None)
@given(factor=st.floats(1.0, 8.0), side=st.sampled_from([16, 31, 64]))
def test_larger_voxels_keep_a_constant_and_the_middle_of_a_ramp(factor, side):
    matrix = point_spread.coarse_matrix(side, torch.tensor([factor]))[0]
    assert torch.allclose(matrix.sum(1), torch.ones(side), atol=1e-4)
    assert torch.allclose(matrix, matrix.flip(0, 1), atol=1e-4)  # centred: nothing moves
    ramp = torch.arange(side, dtype=torch.float32)
    margin = min(side // 2 - 1, int(2 * factor) + 2)
    middle = slice(margin, side - margin)
    assert torch.allclose((matrix @ ramp)[middle], ramp[middle], atol=0.5 * (factor > 1) + 1e-4)


def test_ringing_overshoots_at_an_edge_and_all_frequencies_change_nothing():
    step = (torch.arange(64) >= 32).float()
    matrices = point_spread.ringing_matrix(64, torch.tensor([0.5, 1.0]))
    assert float((matrices[0] @ step).max()) > 1.05
    assert torch.allclose(matrices[1] @ step, step, atol=1e-5)


def test_blur_is_scipys_gaussian_in_the_middle():
    from scipy import ndimage

    signal = rng().normal(size=64).astype(np.float32)
    ours = point_spread.blur_matrix(64, torch.tensor([1.5]))[0] @ torch.from_numpy(signal)
    theirs = ndimage.gaussian_filter1d(signal, 1.5, truncate=8)
    assert np.allclose(ours[12:-12], theirs[12:-12], atol=1e-4)


def test_matrices_along_three_axes_are_a_tensor_product():
    image = torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    own = [torch.randn(2, n + 1, n) for n in (5, 6, 7)]
    expected = torch.einsum("bdhw,bxd,byh,bzw->bxyz", image, *own)
    assert torch.allclose(point_spread.along_axes(image, own), expected, atol=1e-4)
    shared = [m[0] for m in own]
    expected = torch.einsum("bdhw,xd,yh,zw->bxyz", image, *shared)
    assert torch.allclose(point_spread.along_axes(image, shared), expected, atol=1e-4)


def test_a_smooth_field_is_smooth_with_deviation_one():
    field = point_spread.smooth_field(200, (32, 32, 32), 5, torch.Generator().manual_seed(0))
    assert float(field.std()) == pytest.approx(1.0, abs=0.1) and abs(float(field.mean())) < 0.05
    assert float(field.diff(dim=3).square().mean()) < 0.1


def test_the_two_views_of_a_map_share_edges_but_not_intensities():
    """Means of labels are unrelated between views; the voxels where views change most are the labels' boundaries."""
    labels = torch.stack([draw_ensemble((40, 40, 40), rng(seed)) for seed in range(6)])
    first, second = rendered(labels, rng(1), Appearance(**{**vars(CLEAN), "blur": (0.3, 0.5)})).chunk(2)
    related = []
    for one, two, label in zip(first[:, 0], second[:, 0], labels, strict=True):
        present = [n for n in label.unique().tolist() if (label == n).sum() > 50]
        means = np.array([[float(view[label == n].mean()) for n in present] for view in (one, two)])
        related.append(np.corrcoef(means)[0, 1])
        edge = (label[1:] != label[:-1]).float()
        for view in (one, two):
            change = view.diff(dim=0).abs()
            assert change[edge > 0].mean() > 2 * change[edge == 0].mean()
    assert abs(np.mean(related)) < 0.4


def test_a_deformation_of_nothing_moves_nothing_and_none_makes_new_labels():
    labels = draw_ensemble((32, 32, 32), rng(1))[None]
    still = Deformation(rotation=0, scale=0, shift=0, shear=0, bend=0)
    assert torch.equal(deform(labels, rng(), still), labels)
    moved = deform(labels, rng(), Deformation(rotation=0.5))
    assert moved.dtype == labels.dtype and not torch.equal(moved, labels)
    assert set(moved.unique().tolist()) <= {0, *labels.unique().tolist()}


def test_bending_keeps_most_of_a_structure_together():
    """A ball of 16 voxels radius stays one piece of about its size in windows that are bent as hard as the default."""
    from scipy import ndimage

    grid = torch.stack(torch.meshgrid(*[torch.arange(64.0) - 31.5] * 3, indexing="ij"))
    ball = (grid.square().sum(0) < 256).to(torch.uint8)[None]
    for seed in range(5):
        bent = deform(ball, rng(seed), Deformation(rotation=3, scale=0, shear=0))
        pieces = np.bincount(ndimage.label(bent[0].numpy())[0].ravel())[1:]
        assert pieces.max() > 0.97 * pieces.sum() and 0.6 < float(bent.sum() / ball.sum()) < 1.6


def test_a_brain_without_its_skull_is_air_there():
    labels = torch.tensor([[[[0, 1, 5, 7]]]])
    assert without(labels, [5, 7]).flatten().tolist() == [0, 1, 0, 0]


def test_an_ensemble_holds_many_labels_and_air_around_its_body():
    made = [draw_ensemble((48, 48, 48), rng(seed), ensemble=Ensemble(body=1.0, rim=1.0)) for seed in range(6)]
    for labels in made:
        assert labels.dtype == torch.uint8 and int(labels.max()) < LARGEST
        assert 0.02 < float((labels == 0).float().mean()) < 0.95
    assert np.mean([len(labels.unique()) for labels in made]) > 8


def test_a_pasted_template_keeps_its_form():
    """An L of 3 cubes stays 3/4 of the box it is turned with, wherever it lies."""
    corner = torch.ones(16, 16, 16, dtype=torch.bool)
    corner[8:, 8:] = False
    for seed in range(20):
        labels = torch.zeros(96, 96, 96, dtype=torch.uint8)
        box = torch.zeros_like(labels)
        paste(labels, 1, rng(seed), 8, corner)
        paste(box, 1, rng(seed), 8, torch.ones_like(corner))
        if int(box.sum()) and not any(box.select(axis, end).any() for axis in range(3) for end in (0, -1)):
            assert float(labels.sum() / box.sum()) == pytest.approx(0.75, abs=0.06)
            break
    else:
        pytest.fail("no template lay inside the window")


def test_voronoi_cells_belong_to_their_nearest_point():
    sides, points = (12, 10, 8), rng(4).uniform(0, 1, (5, 3)) * np.array((12, 10, 8))
    grid = np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij"), -1)
    expected = np.linalg.norm(grid[..., None, :] - points, axis=-1).argmin(-1)
    assert (voronoi(sides, 5, rng(4)).numpy() == expected).all()


def test_templates_are_the_labels_own_boxes_and_thin_or_tiny_ones_are_left_out():
    labels = np.zeros((30, 30, 30), np.int32)
    labels[2:12, 3:13, 4:14] = 3
    labels[20:22, 20:22, 20:22] = 5
    labels[1, 20:, 20:] = 7
    (template,) = structure_templates(labels)
    assert template.shape == (10, 10, 10) and template.all()
    assert max(structure_templates(labels, longest=5)[0].shape) == 5


def test_the_speed_of_synthesis_is_printed_beside_a_training_step():
    root = Path(__file__).resolve().parents[2]
    paths = os.pathsep.join([str(root / "training" / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"}
    script = root / "training" / "benchmarks" / "synthesis_speed.py"
    done = subprocess.run(
        [sys.executable, str(script), "--side", "32", "--runs", "1"],
        env=environment, capture_output=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "a whole pair" in done.stdout and "step of anatomix" in done.stdout
