"""Wiring tests: the real .ui files and widgets' Python over the real scene, with PySide6 in PythonQt's clothes.

They show that names match and that choosing, segmenting, cancelling and failing are connected. They show nothing of
Slicer's own C++ widgets or of PythonQt.
"""

import os
from pathlib import Path

import pytest
from slicer_headless.panel_session import picture as save_picture
from slicer_headless.panel_session import wait
from slicer_headless.small_scenes import add_segmentation, scene_state
from slicer_headless.soft_and_bone import STRUCTURES, chest

from dropiris.errors import DeviceError
from dropiris.panels.choices import DeviceChoice, OutputMode
from dropiris.panels.threshold_client import ThresholdModels


def picture(slicer, panel, name):
    """Keep a picture of the panel where PANEL_PICTURES says."""
    folder = os.environ.get("PANEL_PICTURES")
    if folder:
        save_picture(slicer, panel, Path(folder) / f"{name}.png")


def test_dropgen_button_says_what_is_missing_then_what_it_will_do(slicer, open_dropgen, scan):
    panel = open_dropgen()
    assert not panel.ui.segmentButton.enabled
    assert panel.ui.segmentButton.text == panel.ui.segmentButton.toolTip == "Choose a scan"
    assert not panel.ui.cancelButton.enabled
    picture(slicer, panel, "dropgen-empty")
    panel.ui.inputSelector.setCurrentNode(scan)
    assert panel.parameters.inputVolume is scan
    assert panel.ui.segmentButton.enabled
    assert panel.ui.segmentButton.text == "Segment 2 structures"
    assert panel.ui.inputLabel.text == "6×7×8 voxels, 1.1×2.3×3.7 mm"
    assert panel.ui.modelsList.count == 1 and panel.ui.structuresList.count == 2
    picture(slicer, panel, "dropgen-ready")


def test_dropgen_choose_segment_and_the_segments_appear(slicer, open_dropgen, scan):
    panel = open_dropgen()
    panel.ui.inputSelector.setCurrentNode(scan)
    panel.ui.deviceComboBox.currentIndex = 3
    assert panel.parameters.device is DeviceChoice.CPU
    panel.ui.segmentButton.click()
    assert panel.ui.segmentButton.text == "Working…" and not panel.ui.segmentButton.enabled
    assert panel.ui.cancelButton.enabled and not panel.ui.inputSelector.isEnabled()
    panel.bar.poll()
    assert panel.ui.progressBar.value == 25 and panel.ui.statusLabel.text == "Segmenting · tile 1/4"
    picture(slicer, panel, "dropgen-running")
    wait(slicer, panel)
    node = slicer.util.getNode("CT chest segmentation")
    assert [node.GetSegmentation().GetNthSegment(n).GetName() for n in range(2)] == ["soft tissue", "bone"]
    assert "Done in" in panel.ui.statusLabel.text and "CT chest segmentation" in panel.ui.statusLabel.text
    assert panel.ui.segmentButton.enabled and not panel.ui.cancelButton.enabled
    assert panel.logic.client.devices == ["cpu"]
    picture(slicer, panel, "dropgen-done")


def test_dropgen_adds_to_a_chosen_segmentation_or_replaces_in_it(slicer, open_dropgen, scan):
    target = add_segmentation(slicer, scan, {"bone": chest() == 0}, "Mine")
    panel = open_dropgen()
    panel.ui.inputSelector.setCurrentNode(scan)
    assert not panel.ui.outputSelector.enabled
    panel.ui.outputModeComboBox.currentIndex = 2
    assert panel.ui.segmentButton.text == "Choose the segmentation that gets the result"
    panel.ui.outputSelector.setCurrentNode(target)
    assert panel.parameters.outputMode is OutputMode.ADD and panel.ui.segmentButton.enabled
    panel.ui.segmentButton.click()
    wait(slicer, panel)
    assert target.GetSegmentation().GetNumberOfSegments() == 3
    panel.ui.outputModeComboBox.currentIndex = 1
    panel.ui.segmentButton.click()
    wait(slicer, panel)
    assert target.GetSegmentation().GetNumberOfSegments() == 3


@pytest.mark.parametrize("module", ["open_dropgen", "open_iris"])
def test_cancel_leaves_the_scene_as_it_was(slicer, request, scan, reference, module):
    panel = request.getfixturevalue(module)()
    choose(panel, scan, reference)
    before = scene_state(slicer)
    panel.ui.segmentButton.click()
    panel.bar.poll()
    panel.ui.cancelButton.click()
    assert panel.ui.segmentButton.text == "Cancelling…" and not panel.ui.cancelButton.enabled
    wait(slicer, panel)
    assert panel.ui.statusLabel.text == "Cancelled; nothing was changed."
    assert panel.ui.segmentButton.enabled
    assert scene_state(slicer) == before


@pytest.mark.parametrize("module", ["open_dropgen", "open_iris"])
def test_a_failure_is_told_in_the_panel_and_leaves_the_scene_as_it_was(slicer, request, scan, reference, module):
    panel = request.getfixturevalue(module)(failure=DeviceError("The graphics card is full; choose the processor."))
    choose(panel, scan, reference)
    before = scene_state(slicer)
    panel.ui.segmentButton.click()
    wait(slicer, panel)
    assert panel.ui.statusLabel.text == "The graphics card is full; choose the processor."
    assert panel.ui.segmentButton.enabled
    assert scene_state(slicer) == before


def choose(panel, scan, reference):
    if panel.method == "iris":
        panel.ui.referenceVolumeSelector.setCurrentNode(reference[0])
        panel.ui.referenceSegmentationSelector.setCurrentNode(reference[1])
        panel.ui.addReferenceButton.click()
    panel.ui.inputSelector.setCurrentNode(scan)


@pytest.mark.parametrize("module", ["open_dropgen", "open_iris"])
def test_closing_the_scene_during_a_run_ends_it_and_empties_the_panel(slicer, request, scan, reference, module):
    panel = request.getfixturevalue(module)()
    choose(panel, scan, reference)
    panel.ui.segmentButton.click()
    slicer.mrmlScene.Clear(0)
    wait(slicer, panel)
    assert panel.parameters.inputVolume is None
    assert not panel.ui.segmentButton.enabled
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_what_the_panel_shows_comes_back_when_it_is_entered_again(slicer, open_dropgen, scan):
    panel = open_dropgen()
    panel.ui.inputSelector.setCurrentNode(scan)
    panel.exit()
    assert panel.parameters is None
    panel.enter()
    assert panel.ui.inputSelector.currentNode() is scan
    assert panel.ui.segmentButton.enabled


def test_without_pytorch_the_button_says_how_to_get_it(slicer, open_panel, scan, monkeypatch):
    from DropGenSeg import DropGenSegWidget
    from dropiris.panels import module_panel

    sentence = "PyTorch is not installed; install the PyTorch extension."
    monkeypatch.setattr(module_panel, "missing_dependency", lambda: sentence)
    panel = open_panel(DropGenSegWidget, None, ThresholdModels("steps", "dropgen", STRUCTURES))
    panel.ui.inputSelector.setCurrentNode(scan)
    assert panel.ui.segmentButton.toolTip == sentence
    assert not panel.ui.segmentButton.enabled


def test_the_stand_in_is_as_strict_as_pythonqt(slicer, open_dropgen):
    button = open_dropgen().ui.segmentButton
    with pytest.raises(AttributeError, match="no property 'tooltip'"):
        button.tooltip = "misspelt"
    with pytest.raises(TypeError):
        button.text()
    with pytest.raises(RuntimeError, match="no signal pressed"):
        button.connect("pressed(int)", print)
