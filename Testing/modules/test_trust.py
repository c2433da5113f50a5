"""Trust from the check to the table: kept with the segments, shown with a word, forgotten when a segment changes."""

from dataclasses import replace

import numpy as np
import pytest
from slicer_headless.panel_session import table_texts, wait, wait_until
from slicer_headless.small_scenes import add_segmentation, add_volume, segment_id_of
from slicer_headless.soft_and_bone import STRUCTURES, chest

from dropiris.errors import WorkerError
from dropiris.mrml.trust import read_trust, write_trust
from dropiris.panels.threshold_client import ThresholdClient, ThresholdModels
from dropiris.progress import CancelToken
from dropiris.trust import CHANGED, CHECK, GOOD, NOT_FOUND


class Calibrated(ThresholdModels):
    """The model of the self test with a threshold in its card."""

    def __init__(self, *about, threshold):
        super().__init__(*about)
        card = replace(self._entry.card, extractor={"name": "MIND-SSC"}, trust={"threshold": threshold})
        self._entry = replace(self._entry, card=card)


@pytest.fixture
def dropgen(slicer):
    from DropGenSeg import DropGenSegLogic

    return DropGenSegLogic(ThresholdClient(STRUCTURES), Calibrated("steps", "dropgen", STRUCTURES, threshold=0.9))


def flags(node):
    segmentation = node.GetSegmentation()
    return {segmentation.GetSegment(key).GetName(): about.trust.flag for key, about in read_trust(node).items()}


def test_each_written_segment_keeps_its_own_trust_whatever_it_is_called(slicer, dropgen, scan):
    node = dropgen.process(scan, trust=True)
    assert dropgen.remark == ""
    first = {key: about.trust.value for key, about in read_trust(node).items()}
    assert len(first) == len(STRUCTURES)
    dropgen.process(scan, node, trust=True)  # adds "…_1" beside them
    assert len(read_trust(node)) == 2 * len(STRUCTURES)
    both = [about.trust.value for about in read_trust(node).values()]
    assert both == [*first.values(), *first.values()] == [0.0, 1.0] * 2
    assert read_trust(dropgen.process(scan)) == {}


def test_cancel_in_the_check_keeps_the_result_and_undo_takes_it_back(slicer, dropgen, scan):
    cancel, seen = CancelToken(), []

    def stop_at_the_check(progress):
        seen.append(progress.stage)
        if progress.stage == "Checking the result":
            cancel.cancel()

    node = dropgen.process(scan, progress=stop_at_the_check, cancel=cancel, trust=True)
    assert "Checking the result" in seen
    assert node.GetSegmentation().GetNumberOfSegments() == len(STRUCTURES) and read_trust(node) == {}
    assert "cancelled; the result stays" in dropgen.remark
    assert dropgen.history.lost() == ""
    dropgen.history.undo()
    assert node.GetScene() is None


def test_a_check_that_fails_or_cannot_be_made_costs_only_the_numbers(slicer, dropgen, scan, iris, reference, tmp_path):
    def fails(*arguments, **options):
        raise WorkerError("The worker is gone.")

    dropgen.client.submit_check_dropgen = fails
    node = dropgen.process(scan, trust=True)
    assert node.GetSegmentation().GetNumberOfSegments() and "The worker is gone." in dropgen.remark
    task = tmp_path / "task.safetensors"
    iris.startSaveTask(task, [(*reference, None)]).wait()
    assert read_trust(iris.process(reference[0], tasks=[task], trust=True)) == {}
    assert "saved task" in iris.remark


def test_iris_checks_against_references_encoded_before_and_stops_a_queue_on_cancel(slicer, iris, reference, scans):
    node = iris.process(scans[0], [(*reference, None)], trust=True)
    assert {about.trust.value for about in read_trust(node).values()} == {1.0}
    cancel, seen = CancelToken(), []

    def stop_at_the_second_check(progress):
        seen.append(progress.stage)
        if progress.stage.startswith("Scan 2") and "Checking" in progress.stage:
            cancel.cancel()

    run = iris.startQueue(scans, [(*reference, None)], trust=True)
    with pytest.raises(Exception, match="2 of 3 scans were segmented"):
        run.wait(stop_at_the_second_check, cancel)
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    made = [node for node in nodes if "CT pelvis" in node.GetName() and "segmentation" in node.GetName()]
    assert len(made) == 3 and [bool(read_trust(node)) for node in made] == [True, True, False]


def test_the_list_of_scans_says_how_many_structures_ask_to_be_checked(slicer, iris, reference, scans):
    from IrisICLLib.scan_queue import ScanQueue

    iris.models.list()[0].card.trust["threshold"] = 1.0
    queue = ScanQueue(iris.getParameterNode())
    blurred = add_volume(slicer, chest() // 2, np.eye(4), "Dark")
    iris.startQueue([scans[0], blurred], [(*reference, None)], report=queue, trust=True).wait()
    said = [entry.status() for entry in queue.entries()]
    assert "check" not in said[0] and "not found" not in said[0]
    assert flags(queue.entries()[1].result) == {"soft tissue": NOT_FOUND, "bone": NOT_FOUND} and "check" not in said[1]
    node = queue.entries()[0].result
    trust = {key: replace(about, trust=replace(about.trust, flag=CHECK)) for key, about in read_trust(node).items()}
    write_trust(node, trust)
    assert queue.entries()[0].status().endswith("◐ check 2")


def test_the_table_says_it_in_words_and_forgets_what_was_changed(slicer, open_panel, scan):
    from DropGenSeg import DropGenSegWidget

    models = Calibrated("steps", "dropgen", STRUCTURES, threshold=0.9)
    panel = open_panel(DropGenSegWidget, ThresholdClient(STRUCTURES), models)
    ui = panel.ui
    ui.inputSelector.setCurrentNode(scan)
    assert ui.trustCheckBox.checked and ui.trustCheckBox.enabled and panel.parameters.checkTrust
    ui.segmentButton.click()
    wait_until(slicer, lambda: panel.bar.run is None, 20)
    wait(slicer, panel)
    node = panel.parameters.resultSegmentation
    expected = flags(node)
    assert set(expected.values()) == {GOOD, CHECK}
    words = [row[-1] for row in table_texts(ui.resultsTable)]
    for (name, flag), word in zip(expected.items(), words, strict=True):
        assert word.startswith({GOOD: "● good ", CHECK: "◐ check this "}[flag])
        assert (name in ui.statusLabel.text.partition(" first: ")[0].partition("Check ")[2]) == (flag == CHECK)
    assert not ui.resultsTable.isColumnHidden(4) and ui.resultsTable.isColumnHidden(2)  # no room for voxels beside it
    assert ui.resultsTable.item(0, 1).toolTip().endswith(" voxels")
    doubtful = words.index(next(word for word in words if word.startswith("◐")))
    assert "may still be right" in ui.resultsTable.item(doubtful, 4).toolTip()

    # A segment that is changed is no longer what was checked; it says so once it is measured again.
    name = next(iter(expected))
    mask = np.zeros(chest().shape, np.uint8)
    mask[1:3, 1:3, 1:3] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.T, node, segment_id_of(node, name), scan)
    ui.measureButton.click()
    wait(slicer, panel)
    assert table_texts(ui.resultsTable)[0][-1] == f"○ {CHANGED}"

    # Unchecked, nothing is asked and the column goes.
    ui.trustCheckBox.click()
    ui.segmentButton.click()
    wait_until(slicer, lambda: panel.bar.run is None, 20)
    wait(slicer, panel)
    assert ui.resultsTable.isColumnHidden(4) and not ui.resultsTable.isColumnHidden(2)


def test_the_box_rests_and_says_why_where_nothing_can_be_checked(slicer, open_dropgen, scan):
    panel = open_dropgen()  # this model has no extractor
    panel.ui.inputSelector.setCurrentNode(scan)
    assert not panel.ui.trustCheckBox.enabled and "no stable features" in panel.ui.trustCheckBox.toolTip


def test_trust_is_saved_with_the_scene_and_the_statistics(slicer, dropgen, scan, tmp_path):
    from dropiris.mrml.export import export_segmentation

    node = dropgen.process(scan, trust=True)
    before = {about.trust for about in read_trust(node).values()}
    text = export_segmentation(node, scan, tmp_path / "figures.csv", "csv").paths[0].read_text(encoding="utf-8-sig")
    lines = text.splitlines()
    assert lines[0].endswith(",trust,flag") and lines[1].endswith((GOOD, CHECK))
    path = tmp_path / "result.seg.nrrd"
    assert slicer.util.saveNode(node, str(path))
    again = slicer.util.loadSegmentation(str(path))
    assert {about.trust for about in read_trust(again).values()} == before


def test_a_segment_someone_else_tagged_is_passed_over(slicer, scan):
    node = add_segmentation(slicer, scan, {"a": chest() > 0})
    node.GetSegmentation().GetNthSegment(0).SetTag("SegmentAnyScan.Trust", "very much")
    assert read_trust(node) == {}
