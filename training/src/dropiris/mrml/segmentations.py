"""A segmentation node as a :class:`~dropiris.volume.Reference` on a volume's own grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
import vtk

from dropiris.errors import InputError
from dropiris.mrml.oriented_image import empty_grid, labels_from_image
from dropiris.mrml.volumes import parent_to_world, volume_from_node
from dropiris.volume import LabelMap, Reference, Structure


def reference_from_nodes(volumeNode: Any, segmentationNode: Any, segmentIDs: Sequence[str] | None = None) -> Reference:
    """Return a labelled example: the scan and the chosen segments resampled (nearest voxel) onto its grid.

    Segments that overlap are kept whole, in layers of their own. Neither node is changed and nothing is added to
    the scene.

    Parameters
    ----------
    volumeNode : vtkMRMLScalarVolumeNode
    segmentationNode : vtkMRMLSegmentationNode
    segmentIDs : sequence of str, optional
        Which segments, in this order; None takes all.

    Raises
    ------
    InputError
        A node is missing, a segment does not exist, is empty or lies outside the scan, two have the same name, or a
        parent transform is not linear.
    """
    volume = volume_from_node(volumeNode)
    if segmentationNode is None:
        raise InputError(f"No segmentation is chosen for {volume.name}; choose one that labels it.")
    name = segmentationNode.GetName() or "The segmentation"
    segmentation = segmentationNode.GetSegmentation()
    ids = list(segmentation.GetSegmentIDs() if segmentIDs is None else segmentIDs)
    if not ids:
        raise InputError(f"{name} has no segment to learn from; draw or choose at least one.")
    for segmentID in ids:
        if segmentation.GetSegment(segmentID) is None:
            raise InputError(f"{name} has no segment {segmentID!r} any more; choose its segments again.")

    # Both sides through world: a parent transform above either of them is honoured.
    affine = np.linalg.inv(parent_to_world(segmentationNode)) @ volume.affine
    grid = empty_grid(volume.shape, affine)
    source = _with_labelmaps(segmentationNode, grid)
    layers: dict[int, list[str]] = {}
    for segmentID in ids:
        layers.setdefault(source.GetSegmentation().GetLayerIndex(segmentID), []).append(segmentID)
    first_label = 1
    label_maps = []
    for members in layers.values():
        label_maps.append(_layer(source, members, grid, volume.affine, first_label))
        first_label += len(members)
    _check_filled(label_maps, name, volume.name)
    return Reference(volume, tuple(label_maps))


def structure_from_segment(segment: Any, label: int) -> Structure:
    """What a segment says about itself: name, colour and terminology."""
    entry = vtk.reference("")
    tagged = segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)
    red, green, blue = segment.GetColor()
    return Structure(label, segment.GetName() or "", (red, green, blue), str(entry) if tagged else "")


def _layer(source: Any, ids: Sequence[str], grid: Any, affine: np.ndarray, first_label: int) -> LabelMap:
    """Merge segments that do not overlap into one label map numbered from ``first_label``."""
    names, values = vtk.vtkStringArray(), vtk.vtkIntArray()
    structures = []
    for label, segmentID in enumerate(ids, start=first_label):
        names.InsertNextValue(segmentID)
        values.InsertNextValue(label)
        structures.append(structure_from_segment(source.GetSegmentation().GetSegment(segmentID), label))
    merged = slicer.vtkOrientedImageData()
    mode = slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
    if not source.GenerateMergedLabelmapForAllSegments(merged, mode, grid, names, values):
        raise InputError(f"{source.GetName()} could not be turned into voxels; check its segments in Segment Editor.")
    labels = labels_from_image(merged)
    dtype = np.uint8 if first_label + len(ids) <= 256 else np.uint16
    return LabelMap(labels.astype(dtype), affine, tuple(structures), source.GetName() or "")


def _with_labelmaps(segmentationNode: Any, grid: Any) -> Any:
    """The node itself, or a copy outside the scene whose surfaces were turned into voxels of ``grid``."""
    converter = slicer.vtkSegmentationConverter
    voxels = converter.GetBinaryLabelmapRepresentationName()
    if segmentationNode.GetSegmentation().ContainsRepresentation(voxels):
        return segmentationNode
    copy = slicer.vtkSegmentation()
    copy.DeepCopy(segmentationNode.GetSegmentation())
    copy.SetConversionParameter(
        converter.GetReferenceImageGeometryParameterName(), converter.SerializeImageGeometry(grid)
    )
    name = segmentationNode.GetName() or "The segmentation"
    if not copy.CreateRepresentation(voxels, True):
        raise InputError(f"{name} could not be turned into voxels; create its binary labelmap in Segmentations first.")
    detached = slicer.vtkMRMLSegmentationNode()
    detached.SetName(name)
    detached.SetAndObserveSegmentation(copy)
    return detached


def _check_filled(layers: Sequence[LabelMap], segmentation: str, volume: str) -> None:
    for layer in layers:
        present = set(np.flatnonzero(np.bincount(layer.array.ravel(order="K"))).tolist())
        for structure in layer.structures:
            if structure.label not in present:
                raise InputError(
                    f"Segment {structure.name!r} of {segmentation} has no voxel inside {volume}; "
                    "draw it, leave it out, or choose the scan it belongs to."
                )
