"""Between the MRML scene and plain arrays: volumes in, references in, segments out. Needs slicer and vtk, never Qt."""

from dropiris.mrml.results import write_segments
from dropiris.mrml.segmentations import reference_from_nodes
from dropiris.mrml.volumes import volume_from_node

__all__ = ["reference_from_nodes", "volume_from_node", "write_segments"]
