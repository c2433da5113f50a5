"""What the panel remembers, in the scene's parameter node."""

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import parameterNodeWrapper

from dropiris.panels.choices import DeviceChoice


@parameterNodeWrapper
class DropGenSegParameters:
    """
    inputVolume: the scan to segment.
    model: name of the model, "" for the first one.
    outputSegmentation: where segments are added; None makes a new segmentation.
    replaceSegments: give segments of the same name there new voxels, instead of adding beside them.
    device: where the network runs.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    model: str
    outputSegmentation: vtkMRMLSegmentationNode
    replaceSegments: bool = False
    device: DeviceChoice = DeviceChoice.AUTO
