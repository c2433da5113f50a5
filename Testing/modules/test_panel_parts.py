"""The parts of a panel one by one, through its widgets: models, structures, results, export, log."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from slicer_headless.panel_session import table_texts, wait, wait_until
from slicer_headless.small_scenes import add_segmentation, segment_id_of, segment_points
from slicer_headless.soft_and_bone import STRUCTURES, chest

from dropiris.models.catalogue import AVAILABLE, Catalogue
from dropiris.progress import Progress
from dropiris.volume import Structure

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "Resources" / "Models" / "hippocampus-t1"
MANY = tuple(Structure(n, f"{side} {name}") for n, (side, name) in enumerate(
    ((side, name) for side in ("left", "right") for name in ("kidney", "lung", "femur", "adrenal gland")), start=1
))  # fmt: skip


@pytest.fixture
def catalogue(tmp_path):
    """One shipped model, and one that can be downloaded (from a file: no network)."""
    shipped = tmp_path / "shipped"
    shutil.copytree(SHIPPED, shipped / SHIPPED.name)
    elsewhere = tmp_path / "elsewhere" / "other-model"
    shutil.copytree(SHIPPED, elsewhere)
    card = json.loads((elsewhere / "model.json").read_text())
    card.update(name="other-model", title="Spleen in any contrast", anatomy=["abdomen"], scores=[])
    (elsewhere / "model.json").write_text(json.dumps(card))
    from dropiris.models.bundle import sha256_of

    archive = Path(shutil.make_archive(str(tmp_path / "other-model"), "zip", elsewhere.parent, elsewhere.name))
    row = {"url": archive.as_uri(), "sha256": sha256_of(archive), "size": archive.stat().st_size, "card": card}
    (shipped / AVAILABLE).write_text(json.dumps([row]))
    return Catalogue(shipped, tmp_path / "installed")


def test_a_models_tooltip_tells_intervals_and_known_failures(booted_slicer, catalogue):
    from dropiris.panels import model_facts

    path = catalogue.shipped / SHIPPED.name / "model.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    card["scores"] = [{"dataset": "A", "structure": "a", "metric": "Dice", "value": 0.84, "interval": [0.8, 0.88]}]
    card["failures"] = [{"text": "Misses atrophy.", "picture": "not-here.png"}]
    path.write_text(json.dumps(card), encoding="utf-8")
    told = model_facts.about(catalogue.list()[0]).splitlines()
    assert any(line.startswith("A, a: Dice 0.84 [0.80, 0.88]") for line in told)
    assert "Known failure: Misses atrophy." in told


def titles(ui):
    return [
        ui.modelsList.itemWidget(ui.modelsList.item(n)).text.split("</b>")[0][3:] for n in range(ui.modelsList.count)
    ]


def choose_card(ui, title):
    ui.modelsList.setCurrentRow(titles(ui).index(title))


def test_a_model_is_downloaded_used_and_removed(slicer, open_dropgen, catalogue, scan):
    panel = open_dropgen(catalogue)
    ui = panel.ui
    ui.inputSelector.setCurrentNode(scan)
    assert titles(ui) == ["Hippocampus, T1 crops", "Spleen in any contrast"]
    choose_card(ui, "Spleen in any contrast")
    assert ui.segmentButton.text == "Download the model first" and not ui.segmentButton.enabled
    assert ui.downloadModelButton.isVisibleTo(panel.parent) and "SHA-256" in ui.modelLabel.toolTip
    ui.downloadModelButton.click()
    assert ui.segmentButton.text == "Working…" and not ui.inputsWidget.isEnabled()
    wait(slicer, panel)
    assert "Spleen in any contrast 1.0.0 is installed" in ui.statusLabel.text
    assert panel.model() == "other-model" and ui.segmentButton.text == "Segment 2 structures"
    ui.modelFilterComboBox.currentIndex = 2
    assert titles(ui) == ["Spleen in any contrast"] and not ui.downloadModelButton.isVisibleTo(panel.parent)
    panel.models.ask_removal = lambda name: False
    panel.models.removing.trigger()
    assert (catalogue.installed / "other-model").is_dir()
    panel.models.ask_removal = lambda name: name == "other-model"
    panel.models.removing.trigger()
    assert not (catalogue.installed / "other-model").exists() and titles(ui) == []
    assert panel.model() == "hippocampus-t1" and not panel.models.removing.enabled


class SlowCatalogue(Catalogue):
    """A line so slow that a cancel comes in time, or (``stubborn``) too late."""

    stubborn = False

    def download(self, entry, progress, cancel):
        progress(Progress("Downloading the model", 0.25))
        while not cancel.cancelled:
            time.sleep(0.01)
        if not self.stubborn:
            cancel.raise_if_cancelled()
        return super().download(entry)


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_cancelled_download_says_what_became_of_it(slicer, open_dropgen, catalogue, stubborn):
    slow = SlowCatalogue(catalogue.shipped, catalogue.installed)
    slow.stubborn = stubborn
    panel = open_dropgen(slow)
    choose_card(panel.ui, "Spleen in any contrast")
    panel.ui.downloadModelButton.click()
    wait_until(slicer, lambda: panel.ui.progressBar.value == 25)
    panel.ui.cancelButton.click()
    assert panel.ui.segmentButton.text == "Cancelling…" and not panel.ui.cancelButton.enabled
    wait(slicer, panel)
    assert (catalogue.installed / "other-model").exists() is stubborn
    assert ("is installed" if stubborn else "Cancelled") in panel.ui.statusLabel.text


def test_a_download_that_fails_is_told_in_a_sentence(slicer, open_dropgen, catalogue, scan):
    panel = open_dropgen(catalogue)
    choose_card(panel.ui, "Spleen in any contrast")
    Path(catalogue.list()[-1].url.removeprefix("file://")).unlink()
    panel.ui.downloadModelButton.click()
    wait(slicer, panel)
    assert "could not be downloaded" in panel.ui.statusLabel.text and panel.ui.segmentButton.text == "Choose a scan"


def test_a_model_is_imported_from_disk_or_refused_in_words(slicer, open_dropgen, catalogue, tmp_path):
    panel = open_dropgen(catalogue)
    panel.models.ask_bundle = lambda: ""
    panel.models.importing.trigger()
    assert panel.bar.run is None
    panel.models.ask_bundle = lambda: str(tmp_path / "elsewhere" / "other-model")
    panel.models.importing.trigger()
    wait(slicer, panel)
    assert "is installed" in panel.ui.statusLabel.text and panel.model() == "other-model"
    panel.models.ask_bundle = lambda: str(tmp_path)
    panel.models.importing.trigger()
    wait(slicer, panel)
    assert "model.json" in panel.ui.statusLabel.text
    opened = []
    panel.models.show_folder = opened.append
    panel.models.opening.trigger()
    assert opened == [str(catalogue.installed)]


def test_a_damaged_model_says_so_on_its_card_and_in_the_button(slicer, open_dropgen, catalogue, scan):
    (catalogue.shipped / SHIPPED.name / "weights.safetensors").write_bytes(b"cut short")
    panel = open_dropgen(catalogue)
    panel.ui.inputSelector.setCurrentNode(scan)
    choose_card(panel.ui, "Hippocampus, T1 crops")
    assert "weights.safetensors" in panel.ui.segmentButton.text and not panel.ui.segmentButton.enabled
    assert "weights.safetensors" in panel.ui.modelsList.itemWidget(panel.ui.modelsList.item(0)).text


def test_the_filter_hides_structures_and_all_takes_only_those_shown(slicer, open_dropgen, scan):
    import qt

    panel = open_dropgen(structures=MANY)
    ui = panel.ui
    ui.inputSelector.setCurrentNode(scan)
    assert ui.segmentButton.text == "Segment 8 structures"
    ui.structuresSearchBox.text = "left"
    assert [ui.structuresList.item(n).isHidden() for n in range(8)] == [False] * 4 + [True] * 4
    ui.allStructuresCheckBox.click()  # off
    assert panel.structures.chosen() == [s.name for s in MANY[4:]] and ui.segmentButton.text == "Segment 4 structures"
    ui.structuresSearchBox.text = ""
    ui.structuresList.item(0).setCheckState(qt.Qt.Checked)
    assert list(panel.parameters.leftOut) == [s.name for s in MANY[1:4]]
    ui.allStructuresCheckBox.click()  # on
    ui.allStructuresCheckBox.click()  # off
    assert ui.segmentButton.text == "Choose at least one structure" and not ui.segmentButton.enabled


def test_a_run_takes_only_the_checked_structures(slicer, open_dropgen, scan):
    import qt

    panel = open_dropgen()
    panel.ui.inputSelector.setCurrentNode(scan)
    panel.ui.structuresList.item(0).setCheckState(qt.Qt.Unchecked)
    panel.ui.segmentButton.click()
    wait(slicer, panel)
    assert [row[0] for row in table_texts(panel.ui.resultsTable)] == ["bone"]


def segmented(slicer, panel, scan):
    panel.ui.inputSelector.setCurrentNode(scan)
    panel.ui.segmentButton.click()
    wait(slicer, panel)
    return panel.parameters.resultSegmentation


def test_a_corrected_result_is_measured_again(slicer, open_dropgen, scan):
    panel = open_dropgen()
    result = segmented(slicer, panel, scan)
    before = table_texts(panel.ui.resultsTable)
    assert before[1][2] == "4"
    bone = segment_id_of(result, "bone")
    slicer.util.updateSegmentBinaryLabelmapFromArray((chest().T > 0).astype(np.uint8), result, bone, scan)
    wait_until(slicer, lambda: "Measure again" in panel.ui.resultsLabel.text)
    panel.ui.measureButton.click()
    wait(slicer, panel)
    assert table_texts(panel.ui.resultsTable)[1][2] == "48"
    result.GetSegmentation().GetSegment(bone).SetName("femur")
    wait_until(slicer, lambda: table_texts(panel.ui.resultsTable)[1][0] == "femur")


def test_an_empty_structure_is_said_not_found_and_has_no_place(slicer, open_dropgen, scan):
    panel = open_dropgen(structures=(*STRUCTURES, Structure(9, "metal")))
    segmented(slicer, panel, scan)
    assert table_texts(panel.ui.resultsTable)[2] == ["metal", "not found", "0", ""]
    panel.ui.resultsTable.selectRow(2)
    panel.ui.goToButton.click()
    assert "empty" in panel.ui.resultsLabel.text


def test_a_deleted_result_empties_the_table_and_rests_the_buttons(slicer, open_dropgen, scan):
    panel = open_dropgen()
    result = segmented(slicer, panel, scan)
    assert panel.ui.exportButton.enabled and panel.ui.undoButton.enabled
    slicer.mrmlScene.RemoveNode(result)
    assert panel.ui.resultsTable.rowCount == 0
    for button in ("exportButton", "statisticsButton", "show3DButton", "measureButton", "goToButton", "undoButton"):
        assert not getattr(panel.ui, button).enabled, button
    assert panel.ui.exportButton.toolTip == "Segment a scan first" and "no result" in panel.ui.undoButton.toolTip


def test_a_replaced_segment_comes_back_with_undo_after_a_question(slicer, open_dropgen, scan):
    target = add_segmentation(slicer, scan, {"bone": chest() == 0}, "Mine")
    drawn = segment_points(slicer, target, segment_id_of(target, "bone"))
    panel = open_dropgen()
    panel.ui.outputModeComboBox.currentIndex = 1
    panel.ui.outputSelector.setCurrentNode(target)
    result = segmented(slicer, panel, scan)
    assert result is target and table_texts(panel.ui.resultsTable)[0][2] == "4"
    asked = []
    panel.results.confirm = lambda what: asked.append(what)  # None: the user says no
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        (chest().T > 0).astype(np.uint8), target, segment_id_of(target, "bone"), scan
    )
    panel.ui.undoButton.click()
    assert len(asked) == 1 and target.GetSegmentation().GetNumberOfSegments() == 2
    panel.results.confirm = lambda what: True
    panel.ui.undoButton.click()
    wait(slicer, panel)
    np.testing.assert_array_equal(segment_points(slicer, target, segment_id_of(target, "bone")), drawn)
    assert len(table_texts(panel.ui.resultsTable)) == 1 and not panel.ui.undoButton.enabled


def test_an_export_that_cannot_be_made_says_why_and_writes_nothing(slicer, open_dropgen, scan, tmp_path):
    panel = open_dropgen()
    segmented(slicer, panel, scan)
    panel.results.export.ask_path = lambda kind, name: str(tmp_path / "no such folder" / "result")
    panel.ui.statisticsButton.click()
    assert "does not exist" in panel.ui.exportLabel.text and not list(tmp_path.glob("**/*.csv"))
    slicer.mrmlScene.RemoveNode(scan)
    panel.results.export.check()
    actions = panel.results.export.actions
    assert not actions["nii.gz"].enabled and "not in the scene" in actions["nii.gz"].toolTip
    assert actions["stl"].enabled


def test_a_result_that_came_while_the_panel_was_hidden_is_shown_on_return(slicer, open_dropgen, scan):
    panel = open_dropgen()
    panel.ui.inputSelector.setCurrentNode(scan)
    panel.ui.segmentButton.click()
    panel.exit()
    wait(slicer, panel)
    panel.enter()
    wait(slicer, panel)
    assert len(table_texts(panel.ui.resultsTable)) == 2 and panel.ui.exportButton.enabled


def test_the_workers_own_lines_are_in_the_log_once(slicer, open_dropgen, scan):
    panel = open_dropgen()
    panel.logic.client.log.add("[worker] hello")
    segmented(slicer, panel, scan)
    panel.logic.client.log.add("[worker] bye")
    panel.ui.copyLogButton.click()
    text = panel.ui.logText.plainText
    assert text.count("hello") == 1 and text.count("bye") == 1 and "Done in" in text
    assert text.index("hello") < text.index("Done in") < text.index("bye")
    panel.ui.logCollapsibleButton.collapsed = False
    panel.logic.client.log.add("[worker] late")
    wait_until(slicer, lambda: "late" in panel.ui.logText.plainText)
