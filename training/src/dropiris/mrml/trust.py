"""The trust of a result's segments, kept with them: it is saved with the scene and forgotten when a segment changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dropiris.trust import CHANGED, StructureTrust

# A saved segment's tags are separated by | and :, so neither stands in the value.
TAG = "SegmentAnyScan.Trust"
_SEPARATOR = ";"


@dataclass(frozen=True)
class SegmentTrust:
    """What was found of a segment as it was then: ``voxels`` of the scan's grid."""

    trust: StructureTrust
    voxels: int

    def of(self, voxels: int) -> StructureTrust:
        """What still holds of a segment that has so many voxels now: another size is another segment."""
        return self.trust if voxels == self.voxels else StructureTrust(math.nan, CHANGED, self.trust.check)


def write_trust(segmentationNode: Any, found: Mapping[str, SegmentTrust]) -> None:
    """Keep what was found with segments, by ID; a segment that was removed meanwhile is left out."""
    segmentation = segmentationNode.GetSegmentation()
    for segment_id, about in found.items():
        segment = segmentation.GetSegment(segment_id)
        if segment is not None:
            value = f"{about.trust.value:.4f}" if about.trust.checked else ""
            segment.SetTag(TAG, _SEPARATOR.join([value, about.trust.flag, about.trust.check, str(about.voxels)]))


def read_trust(segmentationNode: Any) -> dict[str, SegmentTrust]:
    """What was kept, by segment ID; a tag that someone else wrote is passed over."""
    if segmentationNode is None:
        return {}
    segmentation, found = segmentationNode.GetSegmentation(), {}
    for segment_id in segmentation.GetSegmentIDs():
        words = (tag_of(segmentation.GetSegment(segment_id)) or "").split(_SEPARATOR)
        try:
            value, flag, check, voxels = words
            trust = StructureTrust(float(value) if value else math.nan, flag, check)
            found[segment_id] = SegmentTrust(trust, int(voxels))
        except ValueError:
            continue
    return found


def tag_of(segment: Any) -> str:
    """The tag as it stands, or ""."""
    from vtk import mutable

    text = mutable("")
    return str(text) if segment.GetTag(TAG, text) else ""
