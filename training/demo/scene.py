"""The demo's MRML scene: volumes and segmentations as nodes, results back as label maps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from dropiris.mrml import reference_from_nodes, write_segments
from dropiris.volume import LabelMap, Volume

ROOT = Path(__file__).resolve().parents[2]


def start_scene() -> Any:
    """Boot the real MRML scene without the desktop application and put both modules on the path."""
    sys.path[:0] = [str(ROOT / "Testing"), str(ROOT / "DropGenSeg"), str(ROOT / "IrisICL")]
    import slicer_headless

    return slicer_headless.start()


def add_volume(slicer: Any, volume: Volume) -> Any:
    """A scan as a scalar volume node."""
    return slicer.util.addVolumeFromArray(np.ascontiguousarray(volume.array.T), volume.affine, volume.name)


def add_labels(labels: LabelMap, volume_node: Any) -> Any:
    """A label map as a segmentation node on its scan."""
    return write_segments(labels, None, volume_node, "new")


def result(segmentation_node: Any, volume_node: Any) -> LabelMap:
    """What a module wrote, on the scan's grid (segments of one result never overlap); empty segments are left out."""
    segmentation = segmentation_node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    images = {name: segmentation.GetSegment(name).GetRepresentation("Binary labelmap") for name in ids}
    filled = [name for name in ids if images[name] is not None and images[name].GetScalarRange()[1] > 0]
    return reference_from_nodes(volume_node, segmentation_node, filled).layers[0]


def crop(volume: Volume, centre: tuple[float, float, float], size: tuple[float, float, float], name: str) -> Volume:
    """A box of a scan around a RAS point (mm), as the module Crop Volume cuts it."""
    middle = (np.linalg.inv(volume.affine) @ [*centre, 1.0])[:3]
    half = np.array(size) / volume.spacing / 2
    low = np.maximum(np.round(middle - half).astype(int), 0)
    high = np.minimum(np.round(middle + half).astype(int), volume.shape)
    affine = volume.affine.copy()
    affine[:3, 3] = (volume.affine @ [*low, 1.0])[:3]
    return Volume(volume.array[tuple(map(slice, low, high))], affine, name, volume.modality)
