"""IrisICL's references, tasks and strategies, click by click; intensity ranges take the place of the network.

PySide6 in PythonQt's clothes shows that names match and that everything is connected, nothing of Slicer's own widgets.
The whole session with the shipped model is in test_iris_walk.py.
"""

import numpy as np
from slicer_headless.iris_session import NAME, add_reference, check, references
from slicer_headless.panel_session import wait
from slicer_headless.small_scenes import add_segmentation, add_volume, segment_id_of
from slicer_headless.soft_and_bone import PELVIS, pelvis

from dropiris.files import write_labels, write_volume
from dropiris.panels.threshold_client import ThresholdClient, ThresholdModels
from dropiris.volume import LabelMap, Structure, Volume


def test_the_button_asks_for_one_thing_after_the_other(slicer, panel, reference, scans):
    ui = panel.ui
    text = lambda: ui.segmentButton.text  # noqa: E731
    assert text() == "Choose a labelled scan" == ui.addReferenceButton.toolTip
    assert "No reference yet" in ui.remarksLabel.text
    other = add_volume(slicer, pelvis(), np.eye(4), "Without labels")
    ui.referenceVolumeSelector.setCurrentNode(other)
    assert text() == "Choose the segmentation of the labelled scan"
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Empty")
    ui.referenceSegmentationSelector.setCurrentNode(empty)
    assert text() == "The reference has no segment; draw one or choose another" and not ui.addReferenceButton.enabled
    ui.referenceVolumeSelector.setCurrentNode(reference[0])
    ui.referenceSegmentationSelector.setCurrentNode(reference[1])
    assert text() == "Click Add reference" and ui.addReferenceButton.enabled
    ui.addReferenceButton.click()
    assert text() == "Choose a scan" and not ui.segmentButton.enabled
    ui.inputSelector.setCurrentNode(scans[0])
    assert text() == "Segment 2 structures" and ui.segmentButton.enabled
    check(panel, 0, 1, False)
    assert text() == "Segment 1 structure"
    ui.addScanButton.click()
    ui.inputSelector.setCurrentNode(scans[1])
    assert text() == "Segment 1 structure in 2 scans"


def test_the_segmentation_drawn_on_a_scan_is_suggested(slicer, panel, reference):
    panel.ui.referenceVolumeSelector.setCurrentNode(reference[0])
    assert panel.parameters.referenceSegmentation is reference[1]
    assert panel.ui.referenceSegmentationSelector.currentNode() is reference[1]


def test_a_reference_shows_its_picture_spacing_structures_and_whether_it_can_be_used(slicer, panel, reference):
    reference[1].GetSegmentation().AddEmptySegment("", "liver")
    add_reference(panel, *reference)
    soft, bone = (f"{mask.sum() * 6 / 1000:.2f} mL" for mask in PELVIS.values())
    rows = [
        (True, "soft tissue", soft, "✓ ready"),
        (True, "bone", bone, "✓ ready"),
        (True, "liver", "0.00 mL", "✗ left out"),
    ]
    assert references(panel) == [("CT pelvis A", "⚠ 1 remark", rows)]
    item = panel.ui.referencesTree.topLevelItem(0)
    assert item.text(NAME) == "CT pelvis A\nLabels of A\n1×2×3 mm"
    image = item.icon(NAME).pixmap(64, 64).toImage()
    colours = {image.pixelColor(x, y).name() for x in range(0, 64, 2) for y in range(0, 64, 2)}
    assert image.width() == 64 and len(colours) > 3
    assert item.child(2).toolTip(NAME) == "liver is empty: draw it or leave it out."
    assert panel.ui.remarksLabel.text == "⚠ liver is empty: draw it or leave it out."
    check(panel, 0, 2, False)  # leave it out
    assert panel.ui.remarksLabel.text == "✓ Nothing speaks against these references."
    assert references(panel)[0][1] == "✓ ready" and panel.ui.referencesTree.topLevelItem(0).isExpanded()
    for n in range(2):
        check(panel, 0, n, False)
    assert panel.ui.segmentButton.text == "Check at least one structure of a reference"
    assert references(panel)[0][1] == "nothing checked"


def test_a_segment_drawn_while_a_structure_is_unchecked_appears(slicer, panel, reference):
    add_reference(panel, *reference)
    reference[1].GetSegmentation().AddEmptySegment("", "liver")
    check(panel, 0, 0, False)  # rebuilding the list now would take the item from under Qt
    slicer.app.processEvents()
    assert [row[:2] for row in references(panel)[0][2]] == [(False, "soft tissue"), (True, "bone"), (False, "liver")]


def test_a_reference_whose_masks_are_all_empty_says_so_on_the_button(slicer, panel, scans):
    volume = add_volume(slicer, pelvis(), np.eye(4), "CT pelvis B")
    empty = add_segmentation(slicer, volume, {"bone": np.zeros(pelvis().shape, bool)}, "Nothing drawn")
    add_reference(panel, volume, empty)
    panel.ui.inputSelector.setCurrentNode(scans[0])
    assert panel.ui.segmentButton.text == "bone is empty: draw it or leave it out."
    assert references(panel)[0][1] == "✗ not usable" and not panel.ui.saveTaskButton.enabled
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        PELVIS["bone"].astype(np.uint8).T, empty, segment_id_of(empty, "bone"), volume
    )
    panel.exit()  # to Segment Editor and back
    panel.enter()
    assert panel.ui.segmentButton.text == "Segment 1 structure" and references(panel)[0][1] == "✓ ready"


def test_only_the_checked_structures_are_looked_for(slicer, panel, reference, scans):
    add_reference(panel, *reference)
    check(panel, 0, 0, False)
    panel.ui.inputSelector.setCurrentNode(scans[0])
    panel.ui.segmentButton.click()
    wait(slicer, panel)
    segmentation = slicer.util.getNode("CT pelvis C segmentation").GetSegmentation()
    assert [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())] == ["bone"]


def test_a_reference_is_removed_and_goes_with_its_nodes(slicer, panel, reference, scans):
    add_reference(panel, *reference)
    second = add_segmentation(slicer, reference[0], {"bone": PELVIS["bone"]}, "Second")
    add_reference(panel, reference[0], second)
    assert panel.ui.referencesTree.topLevelItemCount == 2 and not panel.ui.removeReferenceButton.enabled
    panel.ui.referencesTree.setCurrentItem(panel.ui.referencesTree.topLevelItem(1).child(0))
    assert panel.ui.removeReferenceButton.enabled
    panel.ui.removeReferenceButton.click()
    assert [row[0] for row in references(panel)] == ["CT pelvis A"] and second.GetScene() is not None
    slicer.mrmlScene.RemoveNode(reference[1])
    assert references(panel) == [] and not panel.ui.segmentButton.enabled


def test_a_pair_of_files_becomes_a_reference(slicer, panel, tmp_path):
    write_volume(Volume(pelvis(), np.eye(4)), tmp_path / "CT from files.nii.gz")
    labels = LabelMap(PELVIS["bone"].astype(np.uint8), np.eye(4), (Structure(1, "bone", (1.0, 1.0, 0.0)),))
    write_labels(labels, tmp_path / "labels.nii.gz")
    panel.references.ask_pair = lambda: (str(tmp_path / "CT from files.nii.gz"), str(tmp_path / "labels.nii.gz"))
    panel.ui.addFilesButton.click()
    assert [(row[0], [child[1] for child in row[2]]) for row in references(panel)] == [("CT from files", ["bone"])]
    panel.references.ask_pair = lambda: (str(tmp_path / "gone.nii.gz"), str(tmp_path / "labels.nii.gz"))
    panel.ui.addFilesButton.click()
    assert panel.ui.statusLabel.text.endswith("gone.nii.gz does not exist; choose the file again.")
    panel.references.ask_pair = lambda: None  # Cancel
    panel.ui.addFilesButton.click()
    assert len(references(panel)) == 1


def test_each_strategy_is_explained_and_the_default_follows_the_references(slicer, panel, reference, scans):
    from IrisICLLib.strategy import StrategyChoice

    ui = panel.ui
    choices = list(StrategyChoice)
    assert [ui.strategyComboBox.itemText(n) for n in range(ui.strategyComboBox.count)] == [c.label() for c in choices]
    assert ui.strategyLabel.text == StrategyChoice.AUTO.sentence()
    add_reference(panel, *reference)
    assert ui.strategyLabel.text == "One reference. " + StrategyChoice.ONE_SHOT.sentence()
    second = add_segmentation(slicer, reference[0], {"bone": PELVIS["bone"]}, "Second")
    add_reference(panel, reference[0], second)
    assert ui.strategyLabel.text == "Average of all references. " + StrategyChoice.ENSEMBLE.sentence()
    ui.inputSelector.setCurrentNode(scans[0])
    assert ui.segmentButton.enabled
    ui.strategyComboBox.currentIndex = choices.index(StrategyChoice.ONE_SHOT)
    assert panel.parameters.strategy is StrategyChoice.ONE_SHOT
    assert ui.segmentButton.text.startswith("One reference is used at a time") and not ui.segmentButton.enabled
    ui.strategyComboBox.currentIndex = choices.index(StrategyChoice.TUNE)
    assert ui.strategyLabel.text == StrategyChoice.TUNE.sentence() and ui.segmentButton.enabled


def test_references_without_a_common_structure_are_told_before_the_run(slicer, panel, reference, scans):
    other = add_segmentation(slicer, reference[0], {"Knochen": PELVIS["bone"]}, "Deutsch")
    add_reference(panel, *reference)
    add_reference(panel, reference[0], other)
    panel.ui.inputSelector.setCurrentNode(scans[0])
    assert not panel.ui.segmentButton.enabled
    assert "shares no segment name" in panel.ui.segmentButton.text


def test_a_task_of_another_model_is_not_used(slicer, panel, reference, scans, tmp_path):
    from IrisICL import IrisICLLogic

    path = tmp_path / "pelvis.safetensors"
    other = IrisICLLogic(ThresholdClient(()), ThresholdModels("other", "iris"))
    other.startSaveTask(path, [(*reference, None)]).wait()
    panel.references.ask_task = lambda: str(path)
    panel.ui.addTaskButton.click()
    panel.ui.inputSelector.setCurrentNode(scans[0])
    assert [row[:2] for row in references(panel)] == [("pelvis.safetensors", "✗ not usable")]
    assert "made by the model other 1.0, not ranges 1.0" in panel.ui.segmentButton.text
    add_reference(panel, *reference)
    assert panel.ui.segmentButton.text == "Segment 2 structures"  # the reference is used, the task is not
    assert "made by the model other" in panel.ui.remarksLabel.text
    panel.references.ask_task = lambda: str(tmp_path / "none.safetensors")
    panel.ui.addTaskButton.click()
    assert "is not there any more" in panel.ui.statusLabel.text


def test_a_task_that_cannot_be_saved_is_told(slicer, panel, reference, tmp_path):
    add_reference(panel, *reference)
    (tmp_path / "folder.safetensors").mkdir()
    panel.references.ask_place = lambda: str(tmp_path / "folder.safetensors")
    panel.ui.saveTaskButton.click()
    wait(slicer, panel)
    assert "cannot be saved as" in panel.ui.statusLabel.text
    panel.references.ask_place = lambda: str(tmp_path / "task")
    panel.ui.saveTaskButton.click()
    wait(slicer, panel)
    assert (tmp_path / "task.safetensors").is_file() and "task.safetensors" in panel.ui.statusLabel.text


def test_without_references_a_model_that_remembers_looks_for_what_it_remembers(slicer, open_iris, scans):
    panel = open_iris((Structure(1, "liver"), Structure(2, "spleen")))
    assert panel.ui.segmentButton.text == "Choose a scan" and "remembers" in panel.ui.remarksLabel.text
    panel.ui.inputSelector.setCurrentNode(scans[0])
    assert (
        panel.ui.segmentButton.text == "Segment 2 structures without a reference"
        and not panel.ui.saveTaskButton.enabled
    )
