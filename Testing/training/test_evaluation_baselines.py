"""What Iris is compared with: a mask copied to the centre of another scan, registration; names of brain structures."""

import sys
from pathlib import Path

import numpy as np
import pytest

from dropiris.data.brain_structures import DEEP, brain_groups, is_deep
from dropiris.data.nnunet import Dataset
from dropiris.volume import LabelMap, Reference, Structure, Volume

RECIPES = Path(__file__).resolve().parents[2] / "training" / "recipes"
DOT = (Structure(3, "dot"),)


@pytest.fixture(scope="module")
def baselines():
    sys.path.insert(0, str(RECIPES))
    try:
        import baselines

        yield baselines
    finally:
        sys.path.remove(str(RECIPES))


def turned(spacing, degrees, flips=(1, 1, 1), origin=(0.0, 0.0, 0.0)):
    """An affine with oblique axes of these voxel sizes (mm), some of them against the patient's axes."""
    a, b = np.radians(degrees)
    about_s = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_r = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = about_s @ about_r @ np.diag(np.array(spacing) * flips)
    affine[:3, 3] = origin
    return affine


def ball(shape, affine, baselines, offset, radius=9.0):
    """A label map with a ball whose centre lies ``offset`` (mm, RAS) from the centre of the grid."""
    scan = Volume(np.zeros(shape, np.float32), affine)
    ijk = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    mm = ijk @ affine[:3, :3].T + affine[:3, 3]
    inside = np.linalg.norm(mm - baselines.grid_centre(scan) - offset, axis=-1) <= radius
    return LabelMap((3 * inside).astype(np.uint8), affine, DOT)


def place(labels, baselines):
    """Centre of the ball from the centre of the grid (mm, RAS), and its volume (mm³)."""
    at = np.argwhere(labels.array == 3).mean(0)
    offset = (labels.affine @ [*at, 1.0])[:3] - baselines.grid_centre(labels)
    return offset, (labels.array == 3).sum() * abs(np.linalg.det(labels.affine[:3, :3]))


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((40, 44, 36), turned((2, 2, 2), (0, 0), origin=(300, -80, 15))),
        ((48, 40, 20), turned((1.7, 2, 4.5), (20, -15), origin=(-10, 5, 70))),
        ((50, 40, 44), turned((2, 2.4, 2), (0, 0), flips=(-1, -1, 1), origin=(90, 90, -40))),
    ],
    ids=["another origin", "oblique and anisotropic", "voxels run left and back"],
)
def test_the_copied_mask_keeps_its_distance_to_the_centre_in_mm(baselines, shape, affine):
    offset = np.array([14.0, -9.0, 5.0])  # to the right, the back and the top
    example = ball((44, 40, 42), turned((2, 2, 2), (10, 5), flips=(1, -1, 1)), baselines, offset)
    copied = baselines.put_centred(example, Volume(np.zeros(shape, np.float32), affine))
    found, volume = place(copied, baselines)
    assert copied.structures == DOT
    assert np.abs(found - offset).max() < 1.0
    assert volume == pytest.approx(place(example, baselines)[1], rel=0.15)


def test_a_mask_copied_to_its_own_grid_stays_as_it_is(baselines):
    example = ball((20, 24, 16), turned((2, 3, 4), (30, 10)), baselines, np.zeros(3))
    copied = baselines.put_centred(example, Volume(np.zeros(example.shape, np.float32), example.affine))
    assert np.array_equal(copied.array, example.array)


def test_what_lies_outside_the_other_scan_is_cut_off(baselines):
    example = ball((40, 40, 40), turned((2, 2, 2), (0, 0)), baselines, np.array([25.0, 0, 0]))
    copied = baselines.put_centred(example, Volume(np.zeros((12, 12, 12), np.float32), np.diag([2.0, 2, 2, 1])))
    assert not copied.array.any()


def test_scans_are_coarsened_along_their_fine_axes_only(baselines):
    scan = Volume(np.zeros((100, 100, 10), np.float32), np.diag([-1.0, 1, 8, 1]))
    spacing = baselines.coarse_spacing(scan, 20_000)
    assert spacing[2] == pytest.approx(8)
    assert 2 < spacing[0] < 2.4
    assert baselines.coarse_spacing(scan, 10**6) == pytest.approx((1, 1, 8))


def test_registration_follows_a_scan_that_moved(baselines):
    pytest.importorskip("ants", reason="antspyx is a comparison, no dependency")
    affine = turned((2, 2, 2.5), (8, 0), flips=(-1, 1, 1))
    here = ball((36, 40, 32), affine, baselines, np.zeros(3), radius=18)
    moved = np.roll(here.array, (4, -3, 2), (0, 1, 2))
    scans = [Volume(1000.0 + 40 * array + np.indices(array.shape).sum(0), affine) for array in (here.array, moved)]
    predict = baselines.Registration(iterations=(10, 5)).learn(Reference(scans[0], (here,)))
    found = predict(scans[1]).array == 3
    assert 2 * (found & (moved == 3)).sum() / (found.sum() + (moved == 3).sum()) > 0.95


NEUROMORPHOMETRICS = {
    "Left_Inf_Lat_Vent": "left lateral ventricle",
    "Right_Lateral_Ventricle": "right lateral ventricle",
    "Left_Thalamus_Proper": "left thalamus",
    "Right_Cerebral_White_Matter": "right cerebral white matter",
    "Right_Calc_calcarine_cortex": "right cerebral cortex",
    "Left_CO_central_operculum": "left cerebral cortex",
    "Brain_Stem": "brainstem",
    "Cerebellar_Vermal_Lobules_I-V": "cerebellum",
    "Left_Cerebellum_Exterior": "cerebellum",
}
FREESURFER = {
    "left_lateral_ventricle_part_136": "left lateral ventricle",
    "right_cerebral_white_matter_part_57": "right cerebral white matter",
    "brain_stem": "brainstem",
    "right_cerebellum_cortex": "cerebellum",
    "left_thalamus": "left thalamus",
}
NEITHER = ("3rd_Ventricle", "Right_Accumbens_Area", "Left_Ventral_DC", "Left_vessel", "Right_Cerebral_Exterior", "csf")


@pytest.mark.parametrize(("name", "title"), [*NEUROMORPHOMETRICS.items(), *FREESURFER.items()])
def test_brain_structures_have_one_name(name, title):
    assert brain_groups([name]) == {title: [name]}
    assert brain_groups([name], sides=False) == {title.removeprefix("left ").removeprefix("right "): [name]}
    assert is_deep(title) == any(deep in title for deep in DEEP)


def test_other_structures_are_left_out():
    assert brain_groups(NEITHER) == {}


@pytest.mark.parametrize("name", ["Dataset005_BrainLabelMaps", "Dataset006_BrainT1"])
def test_both_datasets_have_every_structure_of_both_sides(shared_data, name):
    dataset = Dataset.open(shared_data / name)
    groups = brain_groups(dataset.structures)
    assert len(groups) == 20 and len(brain_groups(dataset.structures, sides=False)) == 11
    if name == "Dataset006_BrainT1":
        parcels = [dataset.structures[one] for side in ("left", "right") for one in groups[f"{side} cerebral cortex"]]
        assert sorted(parcels) == sorted(value for value in dataset.structures.values() if value >= 100)
