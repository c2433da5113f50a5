"""IrisICL's list of scans, click by click, and what a user may do meanwhile; see test_iris_panel_references.py."""

import numpy as np
import pytest
import vtk
from slicer_headless.iris_session import add_reference, references
from slicer_headless.panel_session import table_texts, wait
from slicer_headless.small_scenes import add_segmentation, add_volume, scene_state
from slicer_headless.soft_and_bone import pelvis

from dropiris.errors import DeviceError
from dropiris.files import write_volume
from dropiris.panels.choices import OutputMode
from dropiris.panels.stage import Stage
from dropiris.volume import Volume


def scan_rows(panel):
    return [row[:2] for row in table_texts(panel.ui.scansTable)]


def test_scans_are_segmented_one_after_the_other_and_each_says_how_far_it_is(slicer, panel, reference, scans):
    ui = panel.ui
    add_reference(panel, *reference)
    for scan in scans[:2]:
        ui.inputSelector.setCurrentNode(scan)
        ui.addScanButton.click()
    assert not ui.addScanButton.enabled  # it is on the list
    ui.inputSelector.setCurrentNode(scans[2])
    assert scan_rows(panel) == [["CT pelvis C", "ready"], ["CT pelvis D", "ready"]]
    ui.segmentButton.click()
    assert len(scan_rows(panel)) == 3  # the chosen one was added
    assert not ui.referencesWidget.isEnabled() and not ui.inputSelector.isEnabled() and ui.scansTable.isEnabled()
    seen = set()
    while panel.bar.run is not None:
        panel.bar.poll()
        seen.add(tuple(status.split(" in")[0] for _, status in scan_rows(panel)))
    done, running, ready = "✓ done", "▶ running", "ready"
    assert {(running, ready, ready), (done, running, ready), (done, done, running), (done, done, done)} <= seen
    wait(slicer, panel)
    assert "CT pelvis E segmentation has 2 segments" in ui.statusLabel.text
    assert panel.parameters.resultVolume is scans[2]
    ui.scansTable.selectRow(0)
    assert panel.parameters.resultSegmentation.GetName() == "CT pelvis C segmentation"
    wait(slicer, panel)
    assert [row[0] for row in table_texts(ui.resultsTable)] == ["soft tissue", "bone"]


def test_a_finished_scan_is_segmented_again_when_asked_and_a_removed_one_is_not(slicer, panel, reference, scans):
    ui = panel.ui
    add_reference(panel, *reference)
    ui.inputSelector.setCurrentNode(scans[0])
    ui.segmentButton.click()
    wait(slicer, panel)
    assert ui.segmentButton.text == "Segment 2 structures again"
    ui.inputSelector.setCurrentNode(scans[1])
    assert ui.segmentButton.text == "Segment 2 structures"  # the new one only
    ui.scansTable.selectRow(0)
    ui.againButton.click()
    assert ui.segmentButton.text == "Segment 2 structures in 2 scans" and not ui.againButton.enabled
    ui.removeScanButton.click()
    assert scan_rows(panel) == [] and ui.segmentButton.text == "Segment 2 structures"
    assert slicer.util.getNode("CT pelvis C segmentation") is not None


def test_a_scan_that_fails_says_why_in_its_row(slicer, panel, reference, scans):
    ui = panel.ui
    add_reference(panel, *reference)
    flat = add_volume(slicer, pelvis(), np.eye(4), "Vector")
    for scan in (flat, scans[0]):
        ui.inputSelector.setCurrentNode(scan)
        ui.addScanButton.click()
    ui.segmentButton.click()

    colours = vtk.vtkImageData()
    colours.SetDimensions(4, 4, 4)
    colours.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    flat.SetAndObserveImageData(colours)
    wait(slicer, panel)
    (_, failed), (_, done) = scan_rows(panel)
    assert failed.startswith("✗ failed: Vector has 3 values per voxel") and done.startswith("✓ done in ")
    assert "1 of 2 scans were segmented; the list says why Vector failed." in ui.statusLabel.text
    assert panel.bar.stage is Stage.DONE


def test_when_no_scan_succeeds_the_run_failed(slicer, panel, reference, scans):
    add_reference(panel, *reference)
    panel.ui.inputSelector.setCurrentNode(scans[0])
    before = scene_state(slicer)
    panel.ui.segmentButton.click()
    panel.logic.client.failure = DeviceError("The graphics card is full; choose the processor.")
    wait(slicer, panel)
    assert panel.bar.stage is Stage.FAILED
    assert panel.ui.statusLabel.text == "The graphics card is full; choose the processor."
    assert scene_state(slicer) == before


def test_undo_makes_a_scan_ready_again(slicer, panel, reference, scans):
    add_reference(panel, *reference)
    panel.ui.inputSelector.setCurrentNode(scans[0])
    panel.ui.segmentButton.click()
    wait(slicer, panel)
    assert scan_rows(panel)[0][1].startswith("✓ done")
    panel.ui.undoButton.click()
    assert scan_rows(panel) == [["CT pelvis C", "ready"]] and panel.ui.segmentButton.text == "Segment 2 structures"


def test_one_scan_goes_into_a_chosen_segmentation_several_do_not(slicer, panel, reference, scans):
    ui = panel.ui
    mine = add_segmentation(slicer, scans[0], {"bone": pelvis() == 0}, "Mine")
    add_reference(panel, *reference)
    ui.inputSelector.setCurrentNode(scans[0])
    ui.outputModeComboBox.currentIndex = list(OutputMode).index(OutputMode.REPLACE)
    ui.outputSelector.setCurrentNode(mine)
    ui.segmentButton.click()
    wait(slicer, panel)
    assert mine.GetSegmentation().GetNumberOfSegments() == 2  # bone is replaced, soft tissue added
    ui.inputSelector.setCurrentNode(scans[1])
    ui.addScanButton.click()
    ui.inputSelector.setCurrentNode(scans[2])
    assert ui.segmentButton.text == "Several scans need new segmentations: change Result"


@pytest.fixture
def running(panel, reference, scans):
    """The panel, a poll into a run over two scans."""
    add_reference(panel, *reference)
    for scan in scans[:2]:
        panel.ui.inputSelector.setCurrentNode(scan)
        panel.ui.addScanButton.click()
    panel.ui.segmentButton.click()
    panel.bar.poll()
    return panel


def test_a_hidden_panel_finishes_its_run_and_shows_it_when_it_comes_back(slicer, running):
    running.exit()
    wait(slicer, running)
    running.enter()
    assert [status.split(" in")[0] for _, status in scan_rows(running)] == ["✓ done", "✓ done"]
    assert running.parameters.resultSegmentation.GetName() == "CT pelvis D segmentation"


def test_references_and_scans_deleted_during_a_run_stop_nothing_else(slicer, running, reference, scans):
    for node in (*reference, scans[0]):
        slicer.mrmlScene.RemoveNode(node)
    wait(slicer, running)
    assert references(running) == [] and [row[0] for row in scan_rows(running)] == ["CT pelvis D"]
    node = slicer.util.getNode("CT pelvis D segmentation")
    assert node.GetSegmentation().GetNumberOfSegments() == 2 and running.bar.stage is Stage.INCOMPLETE


def test_a_scene_loaded_during_a_run_brings_its_own_lists(slicer, panel, reference, scans, tmp_path):
    add_reference(panel, *reference)
    panel.ui.inputSelector.setCurrentNode(scans[0])
    panel.ui.addScanButton.click()
    assert slicer.util.saveScene(str(tmp_path / "before.mrb"))
    panel.ui.segmentButton.click()
    panel.bar.poll()
    slicer.util.loadScene(str(tmp_path / "before.mrb"), {"clear": True})
    wait(slicer, panel)
    assert scan_rows(panel) == [["CT pelvis C", "ready"]] and [row[0] for row in references(panel)] == ["CT pelvis A"]
    assert panel.ui.segmentButton.text == "Segment 2 structures"
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_scans_come_from_files(slicer, panel, tmp_path):
    write_volume(Volume(pelvis(), np.eye(4)), tmp_path / "one.nii.gz")
    (tmp_path / "two.nii.gz").write_bytes(b"nothing")
    panel.scans.ask_scans = lambda: [str(tmp_path / "one.nii.gz"), str(tmp_path / "two.nii.gz")]
    panel.ui.addScanFilesButton.click()
    assert scan_rows(panel) == [["one", "ready"]]
    assert "two.nii.gz cannot be read as a scan" in panel.ui.statusLabel.text
