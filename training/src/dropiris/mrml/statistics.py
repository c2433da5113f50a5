"""What the segments of a node measure on a scan, and the point to show each at.

Slicer's own SegmentStatistics gives the same figures (a test compares them) but resamples and
measures segment by segment on the main thread: 21 s for 30 segments of a 512 x 512 x 200 scan against 1.3 s here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dropiris.errors import InputError
from dropiris.measure import StructureStatistics, segment_statistics
from dropiris.mrml.oriented_image import VOXELS, image_affine, labels_from_image
from dropiris.mrml.segmentations import detached_layers
from dropiris.mrml.trust import read_trust
from dropiris.mrml.volumes import parent_to_world, volume_from_node
from dropiris.volume import LabelMap, Structure, Volume


def statistics_of_node(segmentationNode: Any, volumeNode: Any) -> list[StructureStatistics]:
    """Measure every segment on the scan's grid, in the segmentation's order; overlapping segments count whole.

    Raises
    ------
    InputError
        A node is missing, holds nothing, or lies under a non-linear transform.
    """
    return detached_result(segmentationNode, volumeNode)()


def detached_result(segmentationNode: Any, volumeNode: Any) -> Callable[[], list[StructureStatistics]]:
    """Read the scene, on the main thread; what is returned measures, in any thread, as :func:`statistics_of_node`."""
    if segmentationNode is None:
        raise InputError("There is no result to measure; segment a scan first.")
    volume = volume_from_node(volumeNode)
    ids = list(segmentationNode.GetSegmentation().GetSegmentIDs())
    layers, known = detached_layers(segmentationNode, ids, volume.shape, volume.affine), read_trust(segmentationNode)
    trust = [known.get(segment_id) for segment_id in ids]

    def measure() -> list[StructureStatistics]:
        rows = _in_order(volume, [layer.on_grid() for layer in layers])
        return [
            row if about is None else replace(row, trust=about.of(row.voxels))
            for row, about in zip(rows, trust, strict=True)
        ]

    return measure


def _in_order(volume: Volume, layers: Sequence[LabelMap]) -> list[StructureStatistics]:
    """As :func:`~dropiris.measure.segment_statistics`, sorted by label over all layers."""
    rows = segment_statistics(volume, layers)
    labels = [structure.label for layer in layers for structure in layer.structures]
    return [row for _, row in sorted(zip(labels, rows, strict=True), key=lambda pair: pair[0])]


def segment_centre(segmentationNode: Any, segmentID: str) -> tuple[float, float, float] | None:
    """A point to show a segment at: a voxel of its own next to its centroid, world RAS, mm; None when it is empty.

    The centroid lies outside a curved structure, and so does the middle of its bounding box, where Slicer jumps to:
    the slice shown would not cut it.
    """
    segment = segmentationNode.GetSegmentation().GetSegment(segmentID) if segmentationNode is not None else None
    image = segment.GetRepresentation(VOXELS) if segment is not None else None
    if segment is None or image is None or image.IsEmpty():
        return None
    affine = parent_to_world(segmentationNode) @ image_affine(image)
    mask = labels_from_image(image) == segment.GetLabelValue()
    (row,) = segment_statistics(None, LabelMap(mask.view(np.uint8), affine, (Structure(1, ""),)))
    if row.is_empty:
        return None
    centroid = np.linalg.solve(affine, np.array([*row.centre_ras, 1.0]))[:3]
    planes = np.flatnonzero(mask.any(axis=(0, 1)))
    k = planes[np.abs(planes - centroid[2]).argmin()]
    voxels = np.argwhere(mask[:, :, k])
    offsets = np.insert(voxels - centroid[:2], 2, k - centroid[2], axis=1) @ affine[:3, :3].T
    i, j = voxels[(offsets**2).sum(axis=1).argmin()]
    x, y, z = (float(value) for value in (affine @ np.array([i, j, k, 1.0]))[:3])
    return x, y, z
