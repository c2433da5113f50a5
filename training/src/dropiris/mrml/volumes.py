"""A volume node as a :class:`~dropiris.volume.Volume`, without copying its voxels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from dropiris.errors import InputError
from dropiris.volume import LabelMap, Volume


def volume_from_node(node: Any, to_world: bool = True) -> Volume:
    """Return the scan a volume node holds.

    Parameters
    ----------
    node : vtkMRMLScalarVolumeNode
    to_world : bool
        Compose the node's parent transforms (linear ones) into the affine, so that it maps to world RAS; False keeps
        the node's own IJK to RAS.

    Returns
    -------
    Volume
        Its array (I, J, K) is a transposed view of the node's memory: no copy is made, so do not write to it.

    Raises
    ------
    InputError
        No node, no voxels, a colour or vector image, or a non-linear parent transform.
    """
    if node is None:
        raise InputError("No scan is chosen; choose a volume.")
    name = node.GetName() or "The volume"
    image = node.GetImageData()
    scalars = image.GetPointData().GetScalars() if image is not None else None
    if scalars is None or scalars.GetNumberOfTuples() == 0:
        raise InputError(f"{name} holds no image; load its file again or choose another volume.")
    if scalars.GetNumberOfComponents() != 1:
        raise InputError(
            f"{name} has {scalars.GetNumberOfComponents()} values per voxel (colour or vector); "
            "convert it with the Vector to Scalar Volume module first."
        )
    array = vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1]).T
    affine = world_affine(node) if to_world else own_affine(node)
    return Volume(array, affine, name, _modality(node))


def moved_with_node(labels: LabelMap, volume: Volume, node: Any) -> LabelMap:
    """Labels of ``volume`` at the place its node has by now: a node moved meanwhile takes its result along."""
    if labels.shape != volume.shape or not np.allclose(labels.affine, volume.affine, atol=1e-3):
        raise InputError(f"The result does not lie on the grid of {volume.name}; segment that scan again.")
    if node.GetScene() is None:
        raise InputError(f"{volume.name} was removed from the scene meanwhile; load it and segment it again.")
    return replace(labels, affine=world_affine(node))


def own_affine(node: Any) -> np.ndarray:
    """IJK to the node's own RAS, float64 (4, 4), mm."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return array_from_matrix(matrix)


def world_affine(node: Any) -> np.ndarray:
    """IJK to world RAS through every parent transform, float64 (4, 4), mm."""
    return parent_to_world(node) @ own_affine(node)


def parent_to_world(node: Any) -> np.ndarray:
    """Matrix (4, 4) from a node's own RAS to world RAS; the identity when it has no parent transform.

    Raises
    ------
    InputError
        A grid, B-spline or other non-linear transform lies above the node.
    """
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    if not transform.IsTransformToWorldLinear():
        raise InputError(
            f"{node.GetName()} is under the non-linear transform {transform.GetName()}; "
            "harden that transform (Transforms module, Harden) and try again."
        )
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return array_from_matrix(matrix)


def array_from_matrix(matrix: Any) -> np.ndarray:
    """A vtkMatrix4x4 as float64 (4, 4)."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def matrix_from_array(array: np.ndarray) -> Any:
    """A (4, 4) array as vtkMatrix4x4."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy([float(value) for value in np.asarray(array).ravel()])
    return matrix


def _modality(node: Any) -> str:
    """DICOM modality as the DICOM reader noted it: as an attribute, or for CT as the unit of the voxels."""
    noted = node.GetAttribute("DICOM.Modality")
    if noted:
        return str(noted)
    unit = node.GetVoxelValueUnits()
    return "CT" if unit is not None and "hnsf" in (unit.GetCodeValue() or "") else ""
