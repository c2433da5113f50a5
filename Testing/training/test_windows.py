"""A window shows what lies at its place, whatever its spacing and rotation."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dropiris.data.windows import Placement, averaged_levels, cut_window, level_origin, random_rotation


def ramp(shape, voxel):
    """A volume whose value is a known linear function of millimetres."""
    grid = np.stack(np.meshgrid(*[np.arange(n) * v for n, v in zip(shape, voxel, strict=True)], indexing="ij"), -1)
    return (grid @ np.array([1.0, -2.0, 0.5]) + 3.0).astype(np.float32)


def test_a_window_on_the_grid_is_the_array_itself():
    array = np.random.default_rng(0).normal(size=(1, 20, 18, 16)).astype(np.float32)
    voxel = np.array([1.0, 2.0, 0.5])
    centre = np.array([(4 + 11) / 2, (3 + 10) / 2, (5 + 12) / 2]) * voxel
    window = cut_window(array, voxel, Placement(centre, voxel, np.eye(3)), (8, 8, 8))
    assert torch.allclose(window, torch.from_numpy(array[:, 4:12, 3:11, 5:13]), atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), mirrored=st.booleans())
def test_every_voxel_of_a_turned_window_has_the_value_of_its_place(seed, mirrored):
    rng = np.random.default_rng(seed)
    voxel = rng.uniform(0.5, 3.0, 3)
    shape = np.ceil(60 / voxel).astype(int)
    array = ramp(shape, voxel)[None]
    rotation = random_rotation(rng, 0.5) * (np.array([-1, 1, 1]) if mirrored else 1)
    spacing = rng.uniform(0.5, 2.0, 3)
    centre = shape * voxel / 2 + rng.uniform(-5, 5, 3)
    side = (8, 6, 10)
    window = cut_window(array, voxel, Placement(centre, spacing, rotation), side)[0].numpy()
    index = np.stack(np.meshgrid(*map(np.arange, side), indexing="ij"), -1) - (np.array(side) - 1) / 2
    place = centre + (index * spacing) @ rotation.T
    assert np.allclose(window, place @ np.array([1.0, -2.0, 0.5]) + 3.0, atol=0.05)


def test_beyond_the_border_stands_the_value_asked_for():
    array = np.full((1, 10, 10, 10), 7.0, np.float32)
    placement = Placement(np.array([-30.0, 0, 0]), np.ones(3), np.eye(3))
    assert float(cut_window(array, np.ones(3), placement, (8, 8, 8), outside=-1.0).max()) == -1.0


def test_coarser_levels_lie_where_their_voxels_average():
    voxel = np.array([1.0, 1.0, 4.0])
    levels = averaged_levels(ramp((64, 64, 16), voxel), voxel, 4.5)
    assert [tuple(v) for _, v in levels] == [(1, 1, 4), (2, 2, 4), (4, 4, 4)]
    for array, size in levels:
        inside = array[2:6, 2:6, 2:6]
        expected = ramp((64, 64, 16), voxel)[0, 0, 0] + (
            (np.stack(np.meshgrid(*[np.arange(2, 6)] * 3, indexing="ij"), -1) * size + level_origin(size, voxel))
            @ np.array([1.0, -2.0, 0.5])
        )
        assert np.allclose(inside, expected, atol=1e-2)
