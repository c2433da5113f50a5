"""What a user may do while a run is under way: close the scene, delete nodes, reload the module, hide the panel."""

import gc
import sys
import weakref

import pytest
from slicer_headless.panel_session import close_panel, wait, wait_until
from slicer_headless.small_scenes import OBLIQUE, add_segmentation, add_volume, scene_state
from slicer_headless.soft_and_bone import chest

from dropiris.errors import Cancelled
from dropiris.panels.stage import Stage


@pytest.fixture
def running(slicer, open_dropgen, scan):
    panel = open_dropgen()
    panel.ui.inputSelector.setCurrentNode(scan)
    panel.ui.segmentButton.click()
    panel.bar.poll()
    assert panel.bar.stage is Stage.RUNNING
    return panel


def test_closing_the_scene_cancels_and_leaves_a_panel_that_works(slicer, running):
    run = running.bar.run
    slicer.mrmlScene.Clear(0)
    wait(slicer, running)
    assert isinstance(run.error, Cancelled)
    assert running.ui.segmentButton.text == "Choose a scan" and running.bar.stage is Stage.INCOMPLETE
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    again = add_volume(slicer, chest(), OBLIQUE, "Another")
    running.ui.inputSelector.setCurrentNode(again)
    running.ui.segmentButton.click()
    wait(slicer, running)
    assert running.bar.stage is Stage.DONE and running.ui.resultsTable.rowCount == 2


def test_loading_a_scene_during_a_run_brings_its_own_state(slicer, open_dropgen, scan, tmp_path):
    panel = open_dropgen()
    panel.ui.inputSelector.setCurrentNode(scan)
    assert slicer.util.saveScene(str(tmp_path / "before.mrb"))
    panel.ui.segmentButton.click()
    slicer.util.loadScene(str(tmp_path / "before.mrb"), {"clear": True})
    wait(slicer, panel)
    assert panel.ui.inputSelector.currentNode().GetName() == "CT chest"
    assert panel.ui.segmentButton.enabled and panel.ui.resultsTable.rowCount == 0
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_a_deleted_scan_is_named_and_nothing_is_written(slicer, running, scan):
    slicer.mrmlScene.RemoveNode(scan)
    before = scene_state(slicer)
    wait(slicer, running)
    assert running.ui.statusLabel.text.startswith("CT chest was removed from the scene")
    assert scene_state(slicer) == before and running.ui.segmentButton.text == "Choose a scan"


def test_a_deleted_target_is_named_and_nothing_is_written(slicer, open_dropgen, scan):
    target = add_segmentation(slicer, scan, {"bone": chest() == 700}, "Mine")
    panel = open_dropgen()
    panel.ui.inputSelector.setCurrentNode(scan)
    panel.ui.outputModeComboBox.currentIndex = 2
    panel.ui.outputSelector.setCurrentNode(target)
    panel.ui.segmentButton.click()
    slicer.mrmlScene.RemoveNode(target)
    before = scene_state(slicer)
    wait(slicer, panel)
    assert panel.ui.statusLabel.text.startswith("Mine was removed from the scene")
    assert scene_state(slicer) == before
    assert panel.ui.segmentButton.text == "Choose the segmentation that gets the result"


def test_deleting_an_unrelated_node_does_not_disturb_the_run(slicer, running):
    other = add_volume(slicer, chest(), OBLIQUE, "Other")
    slicer.mrmlScene.RemoveNode(other)
    wait(slicer, running)
    assert running.bar.stage is Stage.DONE


def test_reloading_the_module_ends_the_run_and_the_new_panel_works(slicer, open_dropgen, running, scan):
    before = scene_state(slicer)
    old = running.bar.run
    close_panel(running)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("DropGenSeg", "DropGenSegLib")]:
        del sys.modules[name]
    panel = open_dropgen()
    assert type(panel).__mro__[1] is not type(running).__mro__[1]
    wait_until(slicer, lambda: not old.poll() and old.done)
    assert "Cancelled" in str(old.error) and scene_state(slicer) == before
    assert panel.ui.inputSelector.currentNode() is scan
    panel.ui.segmentButton.click()
    wait(slicer, panel)
    assert panel.bar.stage is Stage.DONE


def test_a_closed_panel_hears_nothing_of_the_scene_any_more(slicer, running, scan):
    close_panel(running)
    close_panel(running)  # Slicer may clean up twice
    heard = []
    running.parameters = running.logic.getParameterNode()
    running.models.show = heard.append  # the first thing an update does
    running.parameters.model = "another"
    slicer.mrmlScene.RemoveNode(scan)
    slicer.mrmlScene.Clear(0)
    slicer.app.processEvents()
    running.parameters = None
    assert not heard


def test_a_hidden_panel_lets_the_scene_close(slicer, running):
    running.exit()
    slicer.mrmlScene.Clear(0)
    wait(slicer, running)
    running.enter()
    assert running.ui.segmentButton.text == "Choose a scan"


def test_many_scenes_leave_no_observer_behind(slicer, open_dropgen, scan):
    panel = open_dropgen()
    panel.ui.inputSelector.setCurrentNode(scan)
    panel.ui.segmentButton.click()
    wait(slicer, panel)
    kept = weakref.ref(panel.parameters.resultSegmentation)
    observed = len(panel.Observations)
    for _ in range(3):
        slicer.mrmlScene.Clear(0)
        assert len(panel.Observations) == observed
    gc.collect()
    assert kept() is None or kept().GetScene() is None
    assert panel.results.table.segmentation is None and panel.logic.history.why_not()
