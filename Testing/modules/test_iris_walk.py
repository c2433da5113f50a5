"""A whole session with IrisICL, click by click: real .ui files, real scene, shipped model, real worker.

Only Slicer's own widgets are stand-ins (strict ones: an unknown property or signal fails), and so is Slicer's
``parameterNodeWrapper`` unless SLICER_SOURCE names a checkout. The patients are drawn: a body, a liver, a spleen and
a spine in noise, each a little elsewhere.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from slicer_headless.panel_session import table_texts, wait, wait_until
from slicer_headless.small_scenes import segment_id_of

from dropiris.files import read_labels, write_labels, write_volume
from dropiris.panels.choices import DeviceChoice
from dropiris.panels.stage import Stage
from dropiris.references.saved_task import read_saved_task
from dropiris.terminology import Code, terminology_entry
from dropiris.volume import LabelMap, Structure, Volume

ROOT = Path(__file__).resolve().parents[2]
SHAPE, AFFINE = (48, 40, 30), np.diag([-4.0, -4.0, 4.0, 1.0])
STRUCTURES = (
    Structure(1, "liver", (0.8, 0.4, 0.3), terminology_entry(Code("SCT", "10200004", "Liver"))),
    Structure(2, "spleen", (0.6, 0.3, 0.7), terminology_entry(Code("SCT", "78961009", "Spleen"))),
)
# The model is small and the patients are drawn: enough to see that the right thing was looked for in the right place.
GOOD = 0.75


def patient(seed):
    """Intensities and labels (I, J, K) of a drawn patient."""
    random, (i, j, k) = np.random.default_rng(seed), np.indices(SHAPE)
    image = np.where(((i - 23.5) / 20) ** 2 + ((j - 19.5) / 15) ** 2 < 1, 300.0, 20.0)
    labels = np.zeros(SHAPE, np.uint8)
    for label, at, radius, value in ((1, (16, 18, 16), (8, 7, 8), 700), (2, (33, 22, 17), (4.5, 5, 6), 500)):
        x, y, z = np.array(at) + random.uniform(-1.5, 1.5, 3)
        a, b, c = np.array(radius) * random.uniform(0.9, 1.1, 3)
        organ = ((i - x) / a) ** 2 + ((j - y) / b) ** 2 + ((k - z) / c) ** 2 < 1
        labels[organ], image[organ] = label, value
    image[((i - 23.5) / 3) ** 2 + ((j - 31) / 3) ** 2 < 1] = 120.0
    image = ndimage.gaussian_filter(image, 0.7) + random.normal(0, 15, SHAPE)
    return image.astype(np.float32), labels


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Scans of four patients, and the labels of the first."""
    folder = tmp_path_factory.mktemp("patients")
    for seed, name in enumerate("ABCD", start=1):
        image, labels = patient(seed)
        write_volume(Volume(image, AFFINE), folder / f"Patient {name}.nii.gz")
        write_labels(LabelMap(labels, AFFINE, STRUCTURES), folder / f"Labels of {name}.seg.nrrd")
    return folder


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    pytest.importorskip("torch", reason="torch is not installed")
    from dropiris.worker.client import WorkerClient

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with WorkerClient(environment=environment, temporary=tmp_path_factory.mktemp("private")) as client:
        yield client


@pytest.fixture
def panel(open_panel, worker, tmp_path):
    from dropiris.models.catalogue import Catalogue
    from IrisICL import IrisICLWidget

    return open_panel(IrisICLWidget, worker, Catalogue(ROOT / "Resources" / "Models", tmp_path / "installed"))


def test_a_session_from_loading_to_the_reloaded_scene(slicer, panel, files, tmp_path):
    """From loading over references, queue, correction, export and saved task to the reloaded scene.

    Each of these breakages was made, one at a time, and seen to fail here:

    - in the .ui file: the references' list renamed; a wrong parameter name on the segmentation's selector; none on
      the strategy; the scan selector's scene connection taken away
    - ``clicked(int)`` for ``clicked(bool)`` on Add reference; no slot on "Use corrected result as a reference"
    - only the first reference used; only the first saved into the task; saved tasks not handed to the run
    - every reference encoded anew at each click; a corrected segment taken for unchanged
    - colours and codes of the references lost; the result measured on another scan
    - the queue told nothing of the run, or keeping no result; checked structures not kept with the scene
    """
    ui = panel.ui

    # Load a labelled scan and two to segment; the button leads through what is missing.
    scans = {name: slicer.util.loadVolume(str(files / f"Patient {name}.nii.gz")) for name in "ABC"}
    labels = slicer.util.loadSegmentation(str(files / "Labels of A.seg.nrrd"))
    assert panel.bar.stage is Stage.INCOMPLETE and ui.segmentButton.text == "Choose a scan"
    ui.referenceVolumeSelector.setCurrentNode(scans["A"])
    assert ui.segmentButton.text == "Choose the segmentation of the labelled scan"
    ui.referenceSegmentationSelector.setCurrentNode(labels)
    assert ui.segmentButton.text == "Click Add reference"

    # Add it: picture, spacing, structures, and nothing that speaks against it.
    ui.addReferenceButton.click()
    [(lines, use, structures)] = tree(panel)
    assert lines == ["Patient A", labels.GetName(), "4×4×4 mm"] and use == "✓ ready"
    assert [name for _checked, name, _use in structures] == ["liver", "spleen"]
    picture = ui.referencesTree.topLevelItem(0).icon(0).pixmap(64, 64).toImage()
    assert len({picture.pixelColor(x, y).name() for x in range(64) for y in range(0, 64, 4)}) > 20
    assert ui.remarksLabel.text == "✓ Nothing speaks against these references."
    assert ui.strategyLabel.text.startswith("One reference. ")

    # Segment B with it.
    ui.deviceComboBox.currentIndex = list(DeviceChoice).index(DeviceChoice.CPU)
    ui.inputSelector.setCurrentNode(scans["B"])
    assert ui.remarksLabel.text == "✓ Nothing speaks against these references."
    wait_until(slicer, lambda: ui.deviceLabel.text.startswith("CPU"), 120)
    assert "not known before the first run with these references" in ui.deviceLabel.text
    assert ui.segmentButton.text == "Segment 2 structures"
    said = set()
    ui.segmentButton.click()
    assert panel.bar.stage is Stage.RUNNING and ui.cancelButton.enabled and not ui.referencesWidget.isEnabled()
    wait_until(slicer, lambda: said.add(ui.statusLabel.text) or panel.bar.run is None, 120)
    assert any(text.startswith("Encoding the reference") for text in said)
    assert "Preparing the scan" in said
    assert panel.bar.stage is Stage.DONE and "Done in" in ui.statusLabel.text
    assert panel.parameters.model == "iris-general"
    wait(slicer, panel)

    # The result: on the scan, named, coloured and coded as in the reference, measured in the table.
    first = panel.parameters.resultSegmentation
    assert first.GetName() == "Patient B segmentation" and statuses(panel) == [["Patient B", "✓ done"]]
    for structure in STRUCTURES:
        assert dice(slicer, first, scans["B"], structure, patient(2)[1]) > GOOD
        segment = first.GetSegmentation().GetSegment(segment_id_of(first, structure.name))
        assert segment.GetColor() == pytest.approx(structure.color, abs=0.01)
        assert tag(slicer, segment) == structure.terminology
    rows = table_texts(ui.resultsTable)
    assert [row[0] for row in rows] == ["liver", "spleen"]
    voxels = mask(slicer, first, scans["B"], "liver").sum()
    assert ui.resultsTable.item(0, 1).toolTip() == f"{voxels:,} voxels".replace(",", " ")
    assert abs(float(rows[0][1].replace(" ", "")) - voxels * 0.064) < 1

    # Correct it in Segment Editor, and learn from the correction: one click.
    panel.exit()
    truth = patient(2)[1]
    for structure in STRUCTURES:
        draw(slicer, first, scans["B"], structure.name, truth == structure.label)
    panel.enter()
    assert ui.correctedButton.enabled
    ui.correctedButton.click()
    assert [row[0][:2] for row in tree(panel)] == [
        ["Patient A", labels.GetName()],
        ["Patient B", "Patient B segmentation"],
    ]
    assert ui.strategyLabel.text.startswith("Average of all references. ")

    # Segment another with both; only the new reference is encoded, and how long it takes is known by now.
    ui.inputSelector.setCurrentNode(scans["C"])
    assert ui.segmentButton.text == "Segment 2 structures"
    said.clear()
    ui.segmentButton.click()
    wait_until(slicer, lambda: said.add(ui.statusLabel.text) or panel.bar.run is None, 120)
    wait(slicer, panel)
    second = panel.parameters.resultSegmentation
    assert second.GetName() == "Patient C segmentation" and panel.parameters.resultVolume is scans["C"]
    assert statuses(panel) == [["Patient B", "✓ done"], ["Patient C", "✓ done"]]
    for structure in STRUCTURES:
        assert dice(slicer, second, scans["C"], structure, patient(3)[1]) > GOOD
    assert len(list(panel.logic.encoded.place().parent.glob("*.safetensors"))) == 2
    assert "not known" not in ui.deviceLabel.text

    # Correct the same one once more, and back: what is shown of the reference follows.
    volumes = [drawn_volume(panel)]
    for half in (np.where(np.indices(SHAPE)[2] < 16, truth, 0), truth):
        panel.exit()
        draw(slicer, first, scans["B"], "liver", half == 1)
        panel.enter()
        volumes.append(drawn_volume(panel))
    assert volumes[0] == volumes[2] != volumes[1]

    # The list shows either result; export the chosen one.
    ui.scansTable.selectRow(0)
    wait(slicer, panel)
    assert panel.parameters.resultSegmentation is first
    panel.results.export.ask_path = lambda kind, name: str(tmp_path / f"{name}.{kind}")
    panel.results.export.actions["nii.gz"].trigger()
    [exported] = read_labels(tmp_path / "Patient B segmentation.nii.gz")
    np.testing.assert_array_equal(exported.array > 0, truth > 0)
    assert [s.name for s in exported.structures] == ["liver", "spleen"]

    # Save what was learned; without any reference, load it into the empty list and use it.
    panel.references.ask_place = lambda: str(tmp_path / "abdomen")
    ui.saveTaskButton.click()
    wait(slicer, panel, 120)
    saved = read_saved_task(tmp_path / "abdomen.safetensors")
    assert saved.names == ("liver", "spleen") and saved.sources == ("Patient A", "Patient B")
    for _ in range(2):
        ui.referencesTree.setCurrentItem(ui.referencesTree.topLevelItem(0))
        ui.removeReferenceButton.click()
    assert tree(panel) == [] and not ui.segmentButton.enabled
    panel.references.ask_task = lambda: str(tmp_path / "abdomen.safetensors")
    ui.addTaskButton.click()
    assert tree(panel)[0][:2] == (["abdomen.safetensors", "saved task", "from 2 scans"], "✓ ready")
    panel.scans.ask_scans = lambda: [str(files / "Patient D.nii.gz")]
    ui.addScanFilesButton.click()
    assert statuses(panel)[-1] == ["Patient D", "ready"] and ui.segmentButton.text == "Segment 2 structures"
    ui.segmentButton.click()
    wait(slicer, panel, 120)
    third = panel.parameters.resultSegmentation
    for structure in STRUCTURES:
        assert dice(slicer, third, panel.parameters.resultVolume, structure, patient(4)[1]) > GOOD
        assert tag(slicer, third.GetSegmentation().GetSegment(segment_id_of(third, structure.name)))

    # Undo; reference again, a structure less; save, close, reload: the same state.
    ui.undoButton.click()
    assert third.GetScene() is None and statuses(panel)[-1] == ["Patient D", "ready"]
    ui.referenceVolumeSelector.setCurrentNode(scans["A"])
    ui.referenceSegmentationSelector.setCurrentNode(labels)
    ui.addReferenceButton.click()
    uncheck(panel, 1, 0)
    ui.strategyComboBox.currentIndex = 3
    ui.scansTable.selectRow(1)
    wait(slicer, panel)
    before = state(panel)
    assert before["strategy"][0] == "retrieval"
    assert before["references"][1][2] == [[False, "liver", ""], [True, "spleen", "✓ ready"]]
    assert slicer.util.saveScene(str(tmp_path / "session.mrb"))
    slicer.mrmlScene.Clear(0)
    assert ui.segmentButton.text == "Choose a scan" and statuses(panel) == [] == tree(panel)
    assert ui.strategyComboBox.currentIndex == 0
    slicer.util.loadScene(str(tmp_path / "session.mrb"))
    wait(slicer, panel)
    assert state(panel) == before
    assert before == json.loads(json.dumps(before))  # nothing in it that would compare by identity


def tree(panel):
    """Of each reference its lines, its use, and its structures as (checked, name, use)."""
    import qt

    found = []
    for n in range(panel.ui.referencesTree.topLevelItemCount):
        item = panel.ui.referencesTree.topLevelItem(n)
        children = [item.child(m) for m in range(item.childCount())]
        rows = [[child.checkState(0) == qt.Qt.Checked, child.text(0), child.text(2)] for child in children]
        found.append((item.text(0).split("\n"), item.text(2), rows))
    return found


def draw(slicer, segmentation, scan, name, drawn):
    """Change a segment's voxels, as Segment Editor does."""
    array = np.ascontiguousarray(drawn.T.astype(np.uint8))
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, segmentation, segment_id_of(segmentation, name), scan)


def drawn_volume(panel):
    """Of the second reference's first structure, as the list says it."""
    return panel.ui.referencesTree.topLevelItem(1).child(0).text(1)


def uncheck(panel, reference, structure):
    import qt

    panel.ui.referencesTree.topLevelItem(reference).child(structure).setCheckState(0, qt.Qt.Unchecked)


def statuses(panel):
    """Scans and their states, without the seconds."""
    return [[row[0], row[1].split(" in ")[0]] for row in table_texts(panel.ui.scansTable)]


def mask(slicer, segmentation, scan, name):
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id_of(segmentation, name), scan).T > 0


def dice(slicer, segmentation, scan, structure, truth):
    found, there = mask(slicer, segmentation, scan, structure.name), truth == structure.label
    return 2 * (found & there).sum() / (found.sum() + there.sum())


def tag(slicer, segment):
    import vtk

    value = vtk.reference("")
    segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), value)
    return str(value)


def state(panel):
    """Everything a user sees chosen and found."""
    ui, p = panel.ui, panel.parameters
    return {
        "references": [list(row) for row in tree(panel)],
        "remarks": ui.remarksLabel.text,
        "choosing": [p.referenceVolume.GetName(), ui.referenceSegmentationSelector.currentNode().GetName()],
        "strategy": [p.strategy.value, ui.strategyComboBox.currentIndex, ui.strategyLabel.text],
        "scan": [p.inputVolume.GetName(), ui.inputSelector.currentNode().GetName()],
        "scans": table_texts(ui.scansTable),
        "model": p.model,
        "device": [p.device.value, ui.deviceComboBox.currentIndex],
        "result": [p.resultSegmentation.GetName(), p.resultVolume.GetName()],
        "table": table_texts(ui.resultsTable),
        "corrected": ui.correctedButton.enabled,
        "button": ui.segmentButton.text,
    }
