"""Small real scenes: volumes, transforms and segments made from arrays, and read back without our own code."""

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy


def _rotation(x, y, z):
    (cx, cy, cz), (sx, sy, sz) = np.cos([x, y, z]), np.sin([x, y, z])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = _rotation(0.2, -0.35, 0.5) @ np.diag([1.1, 2.3, 3.7])
OBLIQUE[:3, 3] = [12.5, -40, 7]
RIGID = np.eye(4)
RIGID[:3, :3] = _rotation(0.1, 0.2, -0.3)
RIGID[:3, 3] = [5, 6, 7]


def add_volume(slicer, array, affine, name="Scan"):
    """A volume node of an (I, J, K) array."""
    return slicer.util.addVolumeFromArray(np.ascontiguousarray(array.T), affine, name)


def add_transform(slicer, matrix, name="Transform", parent=None):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.asarray(matrix, float)))
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())
    return node


def add_grid_transform(slicer, name="Warp"):
    displacements = vtk.vtkImageData()
    displacements.SetDimensions(3, 3, 3)
    displacements.AllocateScalars(vtk.VTK_DOUBLE, 3)
    displacements.GetPointData().GetScalars().Fill(1.5)
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(displacements)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", name)
    node.SetAndObserveTransformFromParent(grid)
    return node


def add_segmentation(slicer, volume_node, masks, name="Labels"):
    """A segmentation node with one segment per (I, J, K) mask, written by Slicer's own logic."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    logic = slicer.modules.segmentations.logic()
    for number, (segment_name, mask) in enumerate(masks.items()):
        colour = (0.9, 0.35 * number % 1, 0.2)
        segment_id = node.GetSegmentation().AddEmptySegment("", segment_name, colour)
        image = slicer.vtkOrientedImageData()
        image.SetDimensions(*mask.shape)
        image.GetPointData().SetScalars(numpy_to_vtk(mask.T.astype(np.uint8).ravel(), deep=True))
        image.SetImageToWorldMatrix(matrix)
        assert logic.SetBinaryLabelmapToSegment(image, node, segment_id, logic.MODE_REPLACE)
    return node


def segment_id_of(node, name):
    segment_id = node.GetSegmentation().GetSegmentIdBySegmentName(name)
    assert segment_id, f"no segment named {name}"
    return segment_id


def segment_points(slicer, node, segment_id):
    """World RAS (N, 3) of every voxel of a segment, sorted: read from MRML without dropiris."""
    image = slicer.vtkOrientedImageData()
    logic = slicer.modules.segmentations.logic()
    if not logic.GetSegmentBinaryLabelmapRepresentation(node, segment_id, image, False):
        return np.zeros((0, 3))
    scalars = image.GetPointData().GetScalars()
    if scalars is None or scalars.GetNumberOfTuples() == 0:
        return np.zeros((0, 3))
    array = vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1]).T
    label = node.GetSegmentation().GetSegment(segment_id).GetLabelValue()
    ijk = np.argwhere(array == label) + np.array(image.GetExtent()[::2])
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    affine = slicer.util.arrayFromVTKMatrix(matrix)
    if node.GetParentTransformNode() is not None:
        affine = slicer.util.arrayFromTransformMatrix(node.GetParentTransformNode(), toWorld=True) @ affine
    return sort_points(ijk @ affine[:3, :3].T + affine[:3, 3])


def voxel_points(mask, affine):
    """World RAS (N, 3) of every voxel of an (I, J, K) mask, sorted."""
    return sort_points(np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3])


def sort_points(points):
    return points[np.lexsort(np.round(points, 3).T)]


def scene_state(slicer):
    """Everything a failed run must leave alone: nodes, their place, and every segment's name, colour and voxels."""
    nodes = {}
    for index in range(slicer.mrmlScene.GetNumberOfNodes()):
        node = slicer.mrmlScene.GetNthNode(index)
        state = [node.GetClassName(), node.GetName()]
        if node.IsA("vtkMRMLTransformableNode"):
            state.append(node.GetTransformNodeID())
        if node.IsA("vtkMRMLSegmentationNode"):
            segmentation = node.GetSegmentation()
            for segment_id in segmentation.GetSegmentIDs():
                segment = segmentation.GetSegment(segment_id)
                points = np.round(segment_points(slicer, node, segment_id), 3)
                state.append((segment_id, segment.GetName(), segment.GetColor(), points.tobytes()))
        nodes[node.GetID()] = tuple(state)
    return nodes
