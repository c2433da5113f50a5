"""Metrics on shapes whose scores are known: by hand, by the formula of two spheres, by another library."""

import math

import numpy as np
import pytest

pytest.importorskip("monai", reason="MONAI (dropiris[train]) is not installed")
from dropiris.evaluate.metrics import score_masks


def sphere(shape, spacing, centre, radius):
    """Voxels whose middle lies within ``radius`` of ``centre``, both in mm."""
    axes = np.meshgrid(*[(np.arange(n)) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij")
    return sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)) <= radius**2


def dice_of_spheres(radius, shift):
    """Two equal balls at a distance below twice their radius: twice the lens over the sum of the volumes."""
    return 1 - 3 * shift / (4 * radius) + shift**3 / (16 * radius**3)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.0, 2.5)])
def test_a_shifted_sphere_scores_as_the_formula_says(spacing):
    radius, shift = 16.0, 5.0
    shape = [round(56 / s) for s in spacing]
    label = sphere(shape, spacing, (25, 28, 28), radius)
    moved = sphere(shape, spacing, (25 + shift, 28, 28), radius)
    found = score_masks(moved, label, spacing, tolerances=(1.0, 2.0)).values
    assert found["dice"] == pytest.approx(dice_of_spheres(radius, shift), abs=0.01)
    # The distance of a point at angle a from the shifted centre is close to shift * |cos a|, whose cosine is spread
    # evenly over a sphere: 95 % lie below 0.95 * shift, and a share of tolerance / shift below a tolerance.
    assert found["hd95_mm"] == pytest.approx(0.95 * shift, abs=max(spacing) / 2)
    for tolerance in (1.0, 2.0):
        assert found[f"nsd_{tolerance:g}mm"] == pytest.approx(tolerance / shift, abs=0.15)
    assert abs(found["volume_error_percent"]) < 1.5


def test_boxes_score_as_counted_by_hand():
    # 10 x 10 x 10 voxels of 1 x 2 x 3 mm against the same, moved by one voxel along the last axis (3 mm).
    label = np.zeros((16, 16, 16), bool)
    label[3:13, 3:13, 3:13] = True
    moved = np.roll(label, 1, axis=2)
    found = score_masks(moved, label, (1, 2, 3), tolerances=(2.0, 3.0)).values
    assert found["dice"] == pytest.approx(0.9)
    assert found["hd95_mm"] == pytest.approx(3.0)
    assert found["nsd_3mm"] == pytest.approx(1.0)
    # Of the 488 surface voxels of a box, the 100 of the face that left the other box are 3 mm away from its surface; of
    # the opposite face, inside the other box, 4 x 6 are more than 2 mm away from its sides too.
    assert found["nsd_2mm"] == pytest.approx(1 - (100 + 4 * 6) / 488, abs=1e-6)
    assert (found["volume_error_ml"], found["volume_error_percent"]) == (0, 0)


def test_volume_errors_have_a_sign():
    label = np.zeros((12, 12, 12), bool)
    label[2:10, 2:10, 2:10] = True
    half = label.copy()
    half[6:] = False
    found = score_masks(half, label, (2, 2, 2)).values
    assert found["volume_error_ml"] == pytest.approx(-256 * 8 / 1000) and found["volume_error_percent"] == -50
    assert score_masks(label, half, (2, 2, 2)).values["volume_error_percent"] == 100


def test_what_is_absent_follows_the_stated_rule():
    some, none = np.ones((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    absent, missed, invented = (score_masks(*pair, (1, 1, 1)) for pair in ((none, none), (none, some), (some, none)))
    assert (absent.note, missed.note, invented.note) == ("absent", "missed", "invented")
    assert all(math.isnan(value) for value in absent.values.values())
    for found in (missed, invented):
        assert found.values["dice"] == found.values["nsd_1mm"] == 0 and math.isnan(found.values["hd95_mm"])
    assert missed.values["volume_error_percent"] == -100 and math.isnan(invented.values["volume_error_percent"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.0, 2.5)])
def test_another_library_agrees(spacing):
    """surface-distance (DeepMind) places the surface between voxels and weights it by area, so not to the digit."""
    surface_distance = pytest.importorskip("surface_distance")
    shape = [round(48 / s) for s in spacing]
    label = sphere(shape, spacing, (22, 24, 24), 14.0)
    ours = sphere(shape, spacing, (24, 25, 24), 12.0)
    found = score_masks(ours, label, spacing, tolerances=(2.0,)).values
    distances = surface_distance.compute_surface_distances(label, ours, spacing)
    assert found["dice"] == pytest.approx(surface_distance.compute_dice_coefficient(label, ours), abs=1e-6)
    assert found["hd95_mm"] == pytest.approx(
        surface_distance.compute_robust_hausdorff(distances, 95), abs=0.5 * max(spacing)
    )
    assert found["nsd_2mm"] == pytest.approx(
        surface_distance.compute_surface_dice_at_tolerance(distances, 2.0), abs=0.12
    )
