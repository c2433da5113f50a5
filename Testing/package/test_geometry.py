"""To the model's grid and back: over every orientation, oblique and anisotropic, nothing moves."""

import time
import tracemalloc
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dropiris.errors import InputError
from dropiris.geometry import CanonicalGrid, axis_shares, closest_axes, resample_labels

ORIENTATIONS = [
    np.eye(3)[:, list(axes)] * signs for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)
]
spacings = st.tuples(*[st.floats(0.5, 4.0)] * 3)
rotations = st.tuples(*[st.floats(-180, 180)] * 3).map(
    lambda a: Rotation.from_euler("xyz", a, degrees=True).as_matrix()
)
quick = settings(max_examples=40, deadline=None)


def scan_affine(directions, spacing, shape, centre=(7.0, -3.0, 11.0)):
    """Affine of a scan with these axes (columns) whose middle lies at ``centre`` (RAS mm)."""
    affine = np.eye(4)
    affine[:3, :3] = directions * np.asarray(spacing)
    affine[:3, 3] = np.asarray(centre) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def world(shape, affine):
    """RAS position of every voxel, (I, J, K, 3)."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    return grid @ affine[:3, :3].T + affine[:3, 3]


def distance_map(points):
    """A smooth, lopsided image in world space, mm: positive inside one structure without any symmetry."""
    x, y, z = np.moveaxis(points - [9.0, -2.0, 8.0], -1, 0)
    return 9.0 - np.sqrt((x / 1.3 + 0.2 * y) ** 2 + y**2 + (z / 0.8 - 0.3 * x) ** 2)


def threshold(image):
    return (image > 0).astype(np.uint8)


def shape_for(spacing):
    return tuple(int(np.ceil(40.0 / s)) + n for n, s in enumerate(spacing))


@pytest.mark.parametrize("directions", ORIENTATIONS, ids=lambda d: "".join(map(str, d.astype(int).ravel())))
def test_a_threshold_gives_the_same_voxels_in_all_48_orientations(directions):
    spacing, shape = (1.0, 1.7, 2.6), (31, 22, 15)
    affine = scan_affine(directions, spacing, shape)
    scan = distance_map(world(shape, affine))
    grid = CanonicalGrid.over(shape, affine, None)

    model = threshold(grid.image_to_model(scan))

    assert np.array_equal(model, threshold(distance_map(world(grid.shape, grid.affine))))
    assert np.array_equal(grid.labels_to_source(model), threshold(scan))
    assert (np.diag(grid.affine)[:3] > 0).all()
    assert np.allclose(grid.affine[:3, :3], np.diag(grid.spacing))


@quick
@given(st.sampled_from(ORIENTATIONS), rotations, spacings, spacings)
def test_a_threshold_on_a_resampled_oblique_scan_differs_only_at_the_border(orientation, rotation, spacing, wanted):
    shape = shape_for(spacing)
    affine = scan_affine(rotation @ orientation, spacing, shape)
    scan = distance_map(world(shape, affine))
    grid = CanonicalGrid.over(shape, affine, wanted)

    model = threshold(grid.image_to_model(scan.astype(np.float32)))
    back = grid.labels_to_source(model)

    voxel = np.linalg.norm(np.maximum(grid.spacing, np.abs(grid.oriented_affine[:3, :3]).max(axis=0)))
    there = distance_map(world(grid.shape, grid.affine))
    away_from_the_edge = np.abs(there) > 2 * voxel
    assert np.array_equal(model[away_from_the_edge], threshold(there)[away_from_the_edge])
    away_from_the_edge = np.abs(scan) > 3 * voxel
    assert np.array_equal(back[away_from_the_edge], threshold(scan)[away_from_the_edge])


@quick
@given(st.sampled_from(ORIENTATIONS), rotations, spacings, st.integers(0, 2**32 - 1))
def test_labels_come_back_bit_exact_where_nothing_is_resampled(orientation, rotation, spacing, seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 12, 3))
    labels = rng.integers(0, 60_000, shape).astype(np.uint16)
    grid = CanonicalGrid.over(shape, scan_affine(rotation @ orientation, spacing, shape), None)

    assert not grid.resamples
    assert np.array_equal(grid.labels_to_source(grid.labels_to_model(labels)), labels)
    assert np.array_equal(grid.image_to_model(labels), grid.labels_to_model(labels))


@quick
@given(st.sampled_from(ORIENTATIONS), rotations)
def test_a_scan_is_never_mirrored_for_the_network(orientation, rotation):
    grid = CanonicalGrid.over((4, 5, 6), scan_affine(rotation @ orientation, (1, 2, 3), (4, 5, 6)), (1, 1, 1))
    assert np.linalg.det(grid.affine[:3, :3]) > 0


@quick
@given(rotations, spacings, spacings)
def test_outer_edges_stay_where_they_are(rotation, spacing, wanted):
    shape = (7, 20, 33)
    grid = CanonicalGrid.over(shape, scan_affine(rotation, spacing, shape), wanted)
    for corner in product((0, 1), repeat=3):
        old = grid.oriented_affine @ [*(np.array(corner) * grid.oriented_shape - 0.5), 1]
        new = grid.affine @ [*(np.array(corner) * grid.shape - 0.5), 1]
        assert np.allclose(old, new, atol=1e-9)


def test_a_gantry_tilt_stays_in_the_axes():
    affine = np.diag([0.8, 0.8, 3.0, 1.0])
    affine[1, 2] = 1.2
    grid = CanonicalGrid.over((20, 20, 10), affine, (1.5, 1.5, 1.5))
    directions = grid.affine[:3, :3] / grid.spacing
    assert np.allclose(directions[:, 2], affine[:3, 2] / np.linalg.norm(affine[:3, 2]))


@given(st.integers(1, 60), st.integers(1, 60))
def test_every_new_voxel_is_made_of_whole_shares(old, new):
    shares = axis_shares(old, new)
    assert shares.shape == (new, old)
    assert (shares >= 0).all()
    assert np.allclose(shares.sum(axis=1), 1.0)
    if new <= old:
        assert np.allclose(shares.sum(axis=0), new / old, atol=1e-5), "averaging must count every old voxel alike"
    assert np.allclose(shares, shares[::-1, ::-1], atol=1e-6)


def test_a_linear_ramp_stays_a_linear_ramp():
    affine = np.diag([2.0, 1.0, 0.5, 1.0])
    grid = CanonicalGrid.over((12, 12, 12), affine, (1.0, 1.0, 1.0))
    ramp = world((12, 12, 12), affine) @ [1.0, 2.0, -3.0]
    inside = (slice(1, -1),) * 3
    expected = world(grid.shape, grid.affine) @ [1.0, 2.0, -3.0]
    assert np.allclose(grid.image_to_model(ramp)[inside], expected[inside], atol=1e-4)


def test_a_mask_becomes_the_share_of_each_voxel():
    grid = CanonicalGrid.over((8, 8, 8), np.eye(4), (2.0, 2.0, 2.0))
    mask = np.zeros((8, 8, 8), bool)
    mask[2, 2:4, 2:4] = True
    share = grid.mask_to_model(mask)
    assert share.dtype == np.float32
    assert share[1, 1, 1] == pytest.approx(0.5)
    assert share.sum() * 8 == pytest.approx(mask.sum())


def test_a_thin_structure_does_not_grow_into_the_background():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[10, :, :] = 1
    result = np.zeros((60, 60, 60), np.uint8)
    resample_labels(labels, result)
    assert (result > 0).sum() == 27 * labels.sum()
    coarse = np.zeros((10, 10, 10), np.uint8)
    resample_labels(labels, coarse)
    assert not coarse.any(), "half a voxel of structure against half of background stays background"


def test_labels_agree_with_the_largest_share_computed_at_full_size():
    rng = np.random.default_rng(3)
    labels = np.kron(rng.integers(0, 6, (4, 5, 3)), np.ones((3, 2, 4), int)).astype(np.uint8)
    shape = (17, 9, 20)
    result = np.zeros(shape, np.uint8)
    resample_labels(labels, result)
    a, b, c = (axis_shares(o, n) for o, n in zip(labels.shape, shape, strict=True))
    shares = np.stack([np.einsum("ai,bj,ck,ijk->abc", a, b, c, labels == n) for n in range(6)])
    ordered = np.sort(shares, axis=0)
    clear = ordered[-1] - ordered[-2] > 1e-4
    assert clear.mean() > 0.9
    assert np.array_equal(result[clear], shares.argmax(axis=0)[clear])


def test_the_memory_order_of_the_scan_does_not_matter():
    rng = np.random.default_rng(0)
    scan = rng.normal(size=(14, 11, 9)).astype(np.float32)
    grid = CanonicalGrid.over(scan.shape, scan_affine(ORIENTATIONS[13], (1, 2, 3), scan.shape), (1.5, 1.5, 1.5))
    there = grid.image_to_model(scan)
    assert there.flags.c_contiguous
    assert np.allclose(grid.image_to_model(np.asfortranarray(scan)), there, atol=1e-6)


def test_a_large_scan_goes_there_and_back_quickly_and_in_little_memory():
    shape = (512, 512, 100)
    scan = np.zeros(shape[::-1], np.int16).transpose(2, 1, 0)
    grid = CanonicalGrid.over(shape, np.diag([-0.8, -0.8, 1.0, 1.0]), (1.5, 1.5, 1.5))
    labels = np.zeros(grid.shape, np.uint8)
    for n in range(16):
        labels[n * 15 : n * 15 + 40, 40 + n * 8 : 90 + n * 8, 5 + n : 40 + n] = n + 1
    start = time.perf_counter()
    tracemalloc.start()
    grid.image_to_model(scan)
    assert tracemalloc.get_traced_memory()[1] < np.prod(grid.shape) * 4 + 20e6
    tracemalloc.reset_peak()
    grid.labels_to_source(labels)
    assert tracemalloc.get_traced_memory()[1] < scan.size + 20e6, "only the result and a few planes"
    tracemalloc.stop()
    assert time.perf_counter() - start < 30, "measured 0.6 s on one core"


def test_a_scan_as_large_as_a_house_is_refused():
    with pytest.raises(InputError, match="correct its spacing"):
        CanonicalGrid.over((512, 512, 512), np.diag([90.0, 90.0, 90.0, 1.0]), (1.0, 1.0, 1.0))


def test_axes_at_45_degrees_are_handed_out_once_each():
    turn = Rotation.from_euler("z", 45, degrees=True).as_matrix()
    axes, _ = closest_axes(scan_affine(turn, (1, 1, 1), (3, 3, 3)))
    assert sorted(axes) == [0, 1, 2]
