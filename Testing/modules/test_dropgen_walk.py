"""A whole session with DropGenSeg, click by click: real .ui files, real scene, shipped model, real worker.

Only Slicer's own widgets are stand-ins (strict ones: an unknown property or signal fails), and so is Slicer's
``parameterNodeWrapper`` unless SLICER_SOURCE names a checkout.

Breakages this walk was seen to catch, each made by hand in a copy, and the walk run:

- a widget renamed in the module's .ui file (structuresList) or in a shared one (cancelButton);
- a signal that does not exist (``pressed(bool)``), and a wrong one that does (``itemActivated`` for ``itemChanged``);
- a wrong SlicerParameterName (inputScan), and a missing one (of outputMode);
- a scene connection taken out of a .ui file (of inputSelector, of outputSelector);
- a misspelt property (``statusLabel.tooltip``);
- structures left out, or the result, not written to the parameter node; the chosen segmentation not passed on;
- the undo button not connected; controls that stay enabled during a run.

Not caught here: the panel not hearing that the scene closes (test_panel_safety.py sees that).
"""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from slicer_headless.panel_session import table_texts, wait, wait_until

from dropiris.panels.choices import DeviceChoice, OutputMode
from dropiris.panels.stage import Stage

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["hippocampus, anterior", "hippocampus, posterior"]
# Middle of the right hippocampus in MNI space and half the size of the crop (mm): wide enough for several windows.
MIDDLE, HALF = (27.0, -21.0, -15.0), (40.0, 27.0, 19.0)


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    pytest.importorskip("torch", reason="torch is not installed")
    from dropiris.worker.client import WorkerClient

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with WorkerClient(environment=environment, temporary=tmp_path_factory.mktemp("private")) as client:
        yield client


@pytest.fixture(scope="module")
def scan_file(tmp_path_factory):
    """A crop around one hippocampus of the ICBM152 template, as Crop Volume would save it."""
    nilearn = pytest.importorskip("nilearn", reason="nilearn, which carries the template, is not installed")
    from dropiris.files import read_volume, write_volume
    from dropiris.volume import Volume

    data = Path(nilearn.__file__).parent / "datasets" / "data"
    head = read_volume(data / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")
    inverse = np.linalg.inv(head.affine)
    corners = [(inverse @ [*(np.array(MIDDLE) + np.array(HALF) * sign), 1.0])[:3] for sign in (-1, 1)]
    low, high = np.round(np.sort(corners, axis=0)).astype(int)
    affine = head.affine.copy()
    affine[:3, 3] = (head.affine @ [*low, 1.0])[:3]
    path = tmp_path_factory.mktemp("scan") / "T1 crop.nii.gz"
    write_volume(Volume(head.array[tuple(map(slice, low, high))], affine, "T1 crop", "MR"), path)
    return path


@pytest.fixture
def panel(open_panel, worker, tmp_path):
    from DropGenSeg import DropGenSegWidget
    from dropiris.models.catalogue import Catalogue

    return open_panel(DropGenSegWidget, worker, Catalogue(ROOT / "Resources" / "Models", tmp_path / "installed"))


@pytest.fixture
def slice_view(slicer):
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(slicer.mrmlScene)
    view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    yield view
    slicer.mrmlScene.RemoveNode(view)  # views stay when a scene is closed


def test_a_session_from_loading_to_the_reloaded_scene(slicer, panel, slice_view, scan_file, tmp_path):
    ui = panel.ui

    # Load and choose a scan.
    assert panel.bar.stage is Stage.INCOMPLETE and ui.segmentButton.text == "Choose a scan"
    scan = slicer.util.loadVolume(str(scan_file))
    ui.inputSelector.setCurrentNode(scan)
    assert ui.inputLabel.text == "80×54×38 voxels, 1×1×1 mm"

    # Find a model: its card, and what it says.
    ui.modelSearchBox.text = "spleen"
    assert ui.modelsList.count == 0
    assert panel.model() == "brain-any-contrast"  # the first one is chosen when the user chose none
    ui.modelSearchBox.text = "hippo MR"
    assert ui.modelsList.count == 2  # a model for any contrast is one for MR
    ui.modelSearchBox.text = "hippo crops MR"
    assert ui.modelsList.count == 1
    ui.modelFilterComboBox.currentIndex = 2
    assert ui.modelsList.count == 0
    ui.modelFilterComboBox.currentIndex = 1
    ui.modelsList.setCurrentRow(0)
    assert panel.model() == "hippocampus-t1"
    card = ui.modelsList.itemWidget(ui.modelsList.item(0)).text
    for fact in ("Hippocampus, T1 crops", "MR", "2 structures", "Dice 0.79", "6.7 MB", "CC BY-SA 4.0", "shipped"):
        assert fact in card
    assert "Crop the scan first" in ui.modelLabel.text
    assert not ui.downloadModelButton.isVisibleTo(panel.parent) and not panel.models.removing.enabled

    # Choose structures, device and output.
    assert ui.segmentButton.text == "Segment 2 structures"
    ui.structuresList.item(1).setCheckState(unchecked())
    assert list(panel.parameters.leftOut) == NAMES[1:] and ui.segmentButton.text == "Segment 1 structure"
    ui.allStructuresCheckBox.click()
    assert list(panel.parameters.leftOut) == [] and ui.allStructuresCheckBox.text == "All (2/2)"
    ui.deviceComboBox.currentIndex = list(DeviceChoice).index(DeviceChoice.CPU)
    wait_until(slicer, lambda: ui.deviceLabel.text.startswith("CPU"), 120)
    assert "slow" in ui.deviceLabel.text and "before a first run" in ui.deviceLabel.text
    assert panel.parameters.outputMode is OutputMode.NEW and not ui.outputSelector.enabled

    # Segment, and watch.
    ui.segmentButton.click()
    assert panel.bar.stage is Stage.RUNNING and ui.segmentButton.text == "Working…"
    assert ui.cancelButton.enabled and not ui.inputsWidget.isEnabled() and not ui.outputWidget.isEnabled()
    said = set()
    wait_until(slicer, lambda: said.add(ui.statusLabel.text) or panel.bar.run is None, 120)
    assert any(" · tile 1/" in text for text in said)
    assert panel.parameters.model == "hippocampus-t1"
    assert panel.bar.stage is Stage.DONE and "Done in" in ui.statusLabel.text
    assert ui.segmentButton.enabled and not ui.cancelButton.enabled

    # The table measures what is there.
    wait(slicer, panel)
    result = panel.parameters.resultSegmentation
    assert result.GetName() == "T1 crop segmentation" and not ui.resultsCollapsibleButton.collapsed
    rows = table_texts(ui.resultsTable)
    for n, (row, (name, volume, voxels, spread)) in enumerate(zip(rows, measured(slicer, result, scan), strict=True)):
        assert row[:3] == [name, row[1], spread] and ui.resultsTable.item(n, 1).toolTip() == f"{voxels} voxels"
        assert abs(float(row[1]) - volume) < 0.006 and volume > 0.3  # a hippocampus has some 3 mL
    assert "Takes " in ui.deviceLabel.text  # the run taught how long the next one takes

    # Go to a structure; show 3D.
    ui.resultsTable.selectRow(1)
    ui.goToButton.click()
    at = [slice_view.GetSliceToRAS().GetElement(n, 3) for n in range(3)]
    assert voxel_of(slicer, result, NAMES[1], scan, at)
    ui.show3DButton.click()
    assert result.GetSegmentation().ContainsRepresentation("Closed surface")
    assert result.GetDisplayNode().GetVisibility3D()

    # Export.
    assert not ui.exportLabel.visible
    panel.results.export.check()
    actions = panel.results.export.actions
    assert not actions["dicom-seg"].enabled and actions["dicom-seg"].toolTip
    panel.results.export.ask_path = lambda kind, name: str(tmp_path / f"result.{kind}")
    for kind in ("seg.nrrd", "nii.gz"):
        actions[kind].trigger()
        assert (tmp_path / f"result.{kind}").is_file()
        assert f"result.{kind}" in ui.exportLabel.text
    ui.statisticsButton.click()
    with open(tmp_path / "result.csv", encoding="utf-8-sig") as file:
        assert [row["structure"] for row in csv.DictReader(file)] == NAMES
    ui.copyLogButton.click()
    assert "Wrote" in clipboard()

    # Take it back, once.
    assert ui.undoButton.enabled
    ui.undoButton.click()
    assert result.GetScene() is None and panel.parameters.resultSegmentation is None
    assert ui.resultsTable.rowCount == 0 and not ui.undoButton.enabled and not ui.exportButton.enabled
    assert "removed" in ui.statusLabel.text

    # Another run, only one structure, into a segmentation of the user's own; save, close, reload: the same state.
    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    own.GetSegmentation().AddEmptySegment("", "drawn by hand")
    ui.structuresList.item(0).setCheckState(unchecked())
    ui.outputModeComboBox.currentIndex = list(OutputMode).index(OutputMode.ADD)
    assert ui.segmentButton.text == "Choose the segmentation that gets the result"
    ui.outputSelector.setCurrentNode(own)
    ui.segmentButton.click()
    wait(slicer, panel, 120)
    before = state(panel)
    assert [row[0] for row in before["table"]] == ["drawn by hand", NAMES[1]]
    assert slicer.util.saveScene(str(tmp_path / "session.mrb"))
    slicer.mrmlScene.Clear(0)
    assert ui.segmentButton.text == "Choose a scan" and ui.resultsTable.rowCount == 0
    slicer.util.loadScene(str(tmp_path / "session.mrb"))
    wait(slicer, panel)
    assert state(panel) == before
    assert before == json.loads(json.dumps(before))  # nothing in it that would compare by identity


def unchecked():
    import qt

    return qt.Qt.Unchecked


def clipboard():
    import qt

    return qt.QApplication.clipboard().text()


def measured(slicer, segmentation, scan):
    """Name, volume in mL and the cells of the table's other columns, computed without dropiris."""
    array = slicer.util.arrayFromVolume(scan)
    rows = []
    for name in NAMES:
        voxels = array[mask_of(slicer, segmentation, name, scan)]
        volume = voxels.size * np.prod(scan.GetSpacing()) / 1000
        spread = f"{voxels.mean():.4g} ± {voxels.std(ddof=1):.3g}"
        rows.append((name, volume, f"{voxels.size:,}".replace(",", " "), spread))
    return rows


def mask_of(slicer, segmentation, name, scan):
    segment = segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, scan) > 0


def voxel_of(slicer, segmentation, name, scan, ras):
    inverse = np.linalg.inv(slicer.util.arrayFromVTKMatrix(ijk_to_ras(scan)))
    i, j, k = np.round((inverse @ [*ras, 1.0])[:3]).astype(int)
    return mask_of(slicer, segmentation, name, scan)[k, j, i]


def ijk_to_ras(scan):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    scan.GetIJKToRASMatrix(matrix)
    return matrix


def state(panel):
    """Everything a user sees chosen and found."""
    ui, p = panel.ui, panel.parameters
    return {
        "scan": p.inputVolume.GetName(),
        "shown scan": ui.inputSelector.currentNode().GetName(),
        "model": p.model,
        "marked card": ui.modelsList.currentRow,
        "left out": list(p.leftOut),
        "checked": panel.structures.chosen(),
        "output": [p.outputMode.value, ui.outputModeComboBox.currentIndex, ui.outputSelector.currentNode().GetName()],
        "device": [p.device.value, ui.deviceComboBox.currentIndex],
        "button": ui.segmentButton.text,
        "table": table_texts(ui.resultsTable),
        "exportable": ui.exportButton.enabled,
    }
