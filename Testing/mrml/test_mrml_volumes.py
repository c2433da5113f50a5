"""Volume nodes of a real scene become Volumes: same memory, right place, clear refusals."""

import itertools

import numpy as np
import pytest
import vtk
from slicer_headless.small_scenes import OBLIQUE, add_grid_transform, add_transform, add_volume

from dropiris.errors import InputError
from dropiris.mrml import volume_from_node


def test_array_is_indexed_ijk_and_shares_the_nodes_memory(slicer):
    array = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    node = add_volume(slicer, array, np.diag([1.0, 2, 3, 1]))
    volume = volume_from_node(node)
    assert volume.shape == (2, 3, 4)
    np.testing.assert_array_equal(volume.array, array)
    assert np.shares_memory(volume.array, slicer.util.arrayFromVolume(node))
    assert volume.name == node.GetName()


def test_the_view_outlives_the_node(slicer):
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    node = add_volume(slicer, array, np.eye(4))
    volume = volume_from_node(node)
    slicer.mrmlScene.RemoveNode(node)
    del node
    np.testing.assert_array_equal(volume.array, array)


def test_chained_parent_transforms_are_composed_into_the_affine(slicer):
    node = add_volume(slicer, np.zeros((2, 3, 4), np.int16), OBLIQUE)
    outer = add_transform(slicer, np.array([[0.0, -1, 0, 5], [1, 0, 0, -6], [0, 0, 1, 7], [0, 0, 0, 1]]))
    inner = add_transform(slicer, np.diag([1.0, 1, 2, 1]), parent=outer)
    node.SetAndObserveTransformNodeID(inner.GetID())
    expected = slicer.util.arrayFromTransformMatrix(inner, toWorld=True) @ OBLIQUE
    np.testing.assert_allclose(volume_from_node(node).affine, expected, atol=1e-9)
    np.testing.assert_allclose(volume_from_node(node, to_world=False).affine, OBLIQUE, atol=1e-12)


def test_every_orientation_keeps_a_voxel_where_the_node_has_it(slicer):
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            affine = np.eye(4)
            affine[:3, :3] = np.eye(3)[list(axes)] @ np.diag(np.multiply(signs, (1.0, 2.0, 3.0)))
            node = add_volume(slicer, np.zeros((3, 4, 5), np.uint8), affine)
            np.testing.assert_allclose(volume_from_node(node).affine, affine, atol=1e-12)
            slicer.mrmlScene.RemoveNode(node)


def test_hounsfield_units_are_recognised_as_ct(slicer):
    node = add_volume(slicer, np.zeros((2, 2, 2), np.int16), np.eye(4))
    assert volume_from_node(node).modality == ""
    units = slicer.vtkCodedEntry()
    units.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
    node.SetVoxelValueUnits(units)
    assert volume_from_node(node).modality == "CT"


def test_a_grid_transform_is_refused_with_what_to_do(slicer):
    node = add_volume(slicer, np.zeros((2, 2, 2), np.int16), np.eye(4))
    node.SetAndObserveTransformNodeID(add_grid_transform(slicer).GetID())
    with pytest.raises(InputError, match="non-linear transform Warp; harden"):
        volume_from_node(node)


def test_a_colour_image_is_refused_in_one_sentence(slicer):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Photo")
    image = vtk.vtkImageData()
    image.SetDimensions(4, 4, 1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    node.SetAndObserveImageData(image)
    with pytest.raises(InputError, match="Photo has 3 values per voxel"):
        volume_from_node(node)


def test_a_node_without_an_image_and_no_node_at_all_are_refused(slicer):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Nothing")
    with pytest.raises(InputError, match="Nothing holds no image"):
        volume_from_node(node)
    with pytest.raises(InputError, match="No scan is chosen"):
        volume_from_node(None)


def test_a_broken_voxel_size_is_refused(slicer):
    node = add_volume(slicer, np.zeros((2, 2, 2), np.int16), np.diag([1.0, 1, 1000, 1]))
    with pytest.raises(InputError, match="voxel size"):
        volume_from_node(node)
