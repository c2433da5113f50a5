"""What both panels remember in the scene's parameter node."""

from __future__ import annotations

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

from dropiris.panels.choices import DeviceChoice, OutputMode


class RunParameters:
    """Base of a module's ``@parameterNodeWrapper`` class, which adds what only that module asks for.

    model: name of the model, "" for the first one that can be used.
    outputMode, outputSegmentation: where segments go; the segmentation counts only when one is asked for.
    device: where the network runs.
    checkTrust: whether a result is checked after it was written, where that is possible.
    resultSegmentation, resultVolume: the last result, whose table is shown, and the scan it lies on.
    """

    model: str
    outputMode: OutputMode = OutputMode.NEW
    outputSegmentation: vtkMRMLSegmentationNode
    device: DeviceChoice = DeviceChoice.AUTO
    checkTrust: bool = True
    resultSegmentation: vtkMRMLSegmentationNode
    resultVolume: vtkMRMLScalarVolumeNode
