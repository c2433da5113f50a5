"""IrisICL without a panel: runs over one scan and over several, saved tasks, strategies."""

import time

import numpy as np
import pytest
from slicer_headless.small_scenes import scene_state, segment_id_of
from slicer_headless.soft_and_bone import pelvis

from dropiris.errors import Cancelled, DeviceError, InputError
from dropiris.panels.threshold_client import ThresholdClient, ThresholdModels
from dropiris.references.saved_task import read_saved_task


class Report:
    """Keeps what a run tells."""

    def __init__(self):
        self.said = []

    def started(self, volume):
        self.said.append(("started", volume.GetName()))

    def done(self, volume, seconds, result):
        self.said.append(("done", volume.GetName(), seconds >= 0, result.GetName()))

    def failed(self, volume, reason):
        self.said.append(("failed", volume.GetName(), reason))

    def stopped(self):
        self.said.append(("stopped",))


def test_a_queue_makes_a_segmentation_for_each_scan_and_encodes_references_once(slicer, iris, reference, scans):
    report, stages = Report(), []
    run = iris.startQueue(scans, [(*reference, None)], report=report)
    outcomes = run.wait(lambda step: stages.append((step.fraction, step.stage)))
    names = [outcome.result.GetName() for outcome in outcomes]
    assert names == ["CT pelvis C segmentation", "CT pelvis D segmentation", "CT pelvis E segmentation"]
    assert report.said == [
        *(
            entry
            for name in "CDE"
            for entry in (
                ("started", f"CT pelvis {name}"),
                ("done", f"CT pelvis {name}", True, f"CT pelvis {name} segmentation"),
            )
        ),
        ("stopped",),
    ]
    assert [fraction for fraction, _ in stages] == sorted(fraction for fraction, _ in stages)
    assert stages[-1] == (1.0, "Scan 3 of 3, CT pelvis E: Writing the segments")
    assert sum("Encoding" in stage for _, stage in stages) == 2  # one job of two steps
    again = []
    iris.startQueue(scans[:1], [(*reference, None)]).wait(lambda step: again.append(step.stage))
    assert set(again) == {"Segmenting", "Writing the segments"}  # nothing to encode, and one scan needs no number


def test_a_changed_reference_is_encoded_again(slicer, iris, reference, scans):
    volume, segmentation = reference
    bone = segment_id_of(segmentation, "bone")

    def stages(**options):
        seen = []
        options = {"references": [(volume, segmentation, [bone])], **options}
        node = iris.process(scans[0], progress=lambda step: seen.append(step.stage), **options)
        return "Encoding references" in seen, node

    assert stages()[0]
    assert not stages()[0]
    slicer.util.updateSegmentBinaryLabelmapFromArray((pelvis() == 150).astype(np.uint8).T, segmentation, bone, volume)
    encoded, node = stages()
    assert encoded  # and the result follows it
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, node.GetSegmentation().GetNthSegmentID(0), scans[0])
    np.testing.assert_array_equal(mask.T > 0, pelvis() == 150)


def test_the_voxels_of_an_encoded_reference_are_not_read_again(slicer, iris, reference, scans, monkeypatch):
    from IrisICLLib import plan

    first = iris.process(scans[0], [(*reference, None)])
    tag, codes = slicer.vtkSegment.GetTerminologyEntryTagName(), "a~SCT^1^x~SCT^2^y~^^~b~^^~^^"
    monkeypatch.setattr(plan, "detached_reference", lambda *nodes: pytest.fail("read again"))
    again = iris.process(scans[1], [(*reference, None)])
    for node in (first, again):
        found = [node.GetSegmentation().GetNthSegment(n) for n in range(2)]
        assert [segment.GetName() for segment in found] == ["soft tissue", "bone"]
        assert found[1].GetColor() == reference[1].GetSegmentation().GetNthSegment(1).GetColor()
    reference[1].GetSegmentation().GetNthSegment(1).SetTag(tag, codes)
    with pytest.raises(pytest.fail.Exception, match="read again"):
        iris.process(scans[1], [(*reference, None)])  # something of it is new
    with pytest.raises(pytest.fail.Exception, match="read again"):
        iris.process(scans[1], [(*reference, None)], strategy="tune")  # tuning looks at it


def test_a_scan_that_fails_stops_no_other(slicer, iris, reference, scans):
    report = Report()
    run = iris.startQueue(scans, [(*reference, None)], report=report)
    slicer.mrmlScene.RemoveNode(scans[1])
    first, second, third = run.wait()
    assert first.result is not None and third.result is not None
    assert second.result is None and "CT pelvis D was removed from the scene" in second.reason
    assert report.said[3][0] == "failed" and report.said[-1] == ("stopped",)


def test_a_queue_in_which_nothing_succeeds_fails_with_the_reason(slicer, reference, scans):
    from IrisICL import IrisICLLogic

    client = ThresholdClient(())
    logic, report = IrisICLLogic(client, ThresholdModels("ranges", "iris")), Report()
    before = scene_state(slicer)
    run = logic.startQueue(scans, [(*reference, None)], report=report)
    client.failure = DeviceError("The graphics card is full; choose the processor.")
    with pytest.raises(DeviceError, match="card is full"):
        run.wait()
    assert scene_state(slicer) == before
    assert [entry[0] for entry in report.said] == ["stopped"]  # it failed while encoding, before any scan


def test_cancel_keeps_what_is_done_and_says_so(slicer, iris, reference, scans):
    report = Report()
    run = iris.startQueue(scans, [(*reference, None)], report=report)
    while not any(entry[0] == "done" for entry in report.said):
        run.poll()
    run.cancel()
    with pytest.raises(Cancelled, match="1 of 3 scans were segmented before"):
        run.wait()
    assert report.said[-2:] == [("started", "CT pelvis D"), ("stopped",)]
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 2


def test_a_saved_task_is_used_without_its_reference(slicer, iris, reference, scans, tmp_path):
    path = tmp_path / "pelvis.safetensors"
    colours = [reference[1].GetSegmentation().GetNthSegment(n).GetColor() for n in range(2)]
    assert iris.startSaveTask(path, [(*reference, None)]).wait() == path
    saved = read_saved_task(path)
    assert (saved.model, saved.names, saved.sources) == ("ranges", ("soft tissue", "bone"), ("CT pelvis A",))
    for node in reference:
        slicer.mrmlScene.RemoveNode(node)
    node = iris.process(scans[0], tasks=[path])
    segmentation = node.GetSegmentation()
    assert [segmentation.GetNthSegment(n).GetName() for n in range(2)] == ["soft tissue", "bone"]
    assert [segmentation.GetNthSegment(n).GetColor() for n in range(2)] == [pytest.approx(c) for c in colours]
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentation.GetNthSegmentID(1), scans[0])
    np.testing.assert_array_equal(mask.T > 0, pelvis() == 700)


def test_tasks_are_checked_before_the_run(slicer, iris, reference, scans, tmp_path):
    path = tmp_path / "pelvis.safetensors"
    iris.startSaveTask(path, [(*reference, None)]).wait()
    bone = [segment_id_of(reference[1], "bone")]
    with pytest.raises(InputError, match="One-shot uses one reference, 2 are given"):
        iris.process(scans[0], [(*reference, bone)], tasks=[path])
    with pytest.raises(InputError, match="Tuning needs a labelled scan"):
        iris.process(scans[0], tasks=[path], strategy="tune")
    with pytest.raises(InputError, match="is not there any more"):
        iris.process(scans[0], tasks=[tmp_path / "gone.safetensors"])
    with pytest.raises(InputError, match=r"ends in .safetensors, not 'task.txt'"):
        iris.startSaveTask(tmp_path / "task.txt", [(*reference, None)])
    other = type(iris)(ThresholdClient(()), ThresholdModels("other", "iris"))
    with pytest.raises(InputError, match=r"was made by the model ranges 1\.0, not other 1\.0"):
        other.process(scans[0], tasks=[path])
    reference[1].GetSegmentation().GetSegment(bone[0]).SetName("Knochen")
    with pytest.raises(InputError, match=r"\(Knochen\) shares no segment name with the others \(bone, soft tissue\)"):
        iris.process(scans[0], [(*reference, bone)], tasks=[path], strategy="ensemble")


def test_a_queue_is_checked_before_the_run(slicer, iris, reference, scans):
    pairs = [(*reference, None)]
    with pytest.raises(InputError, match="No scan is chosen"):
        iris.startQueue([], pairs)
    with pytest.raises(InputError, match="3 scans cannot be segmented into one segmentation"):
        iris.startQueue(scans, pairs, outputSegmentation=reference[1])
    with pytest.raises(InputError, match="CT pelvis C is given twice among CT pelvis C and CT pelvis C"):
        iris.startQueue([scans[0], scans[0]], pairs)


@pytest.mark.parametrize(
    ("references", "taken"), [(0, "one-shot"), (1, "one-shot"), (2, "ensemble"), (3, "ensemble"), (40, "ensemble")]
)
def test_the_strategy_follows_the_number_of_references(references, taken, slicer):
    from IrisICLLib.strategy import StrategyChoice

    assert StrategyChoice.AUTO.resolved(references).value == taken
    assert StrategyChoice.TUNE.resolved(references) is StrategyChoice.TUNE


def test_every_strategy_has_a_name_a_sentence_and_says_what_it_lacks(slicer):
    from IrisICLLib.checks import STRATEGIES
    from IrisICLLib.strategy import StrategyChoice

    assert {choice.value for choice in StrategyChoice} == {"auto", *STRATEGIES}
    for choice in StrategyChoice:
        assert choice.label() and choice.sentence().endswith(".")
        assert choice.why_not(1, 0) == ""
    assert "remove the others" in StrategyChoice.ONE_SHOT.why_not(2, 0)
    assert "not only saved tasks" in StrategyChoice.TUNE.why_not(2, 2)
    assert StrategyChoice.TUNE.why_not(2, 1) == ""


def test_encoded_references_leave_no_file_behind(slicer, reference, scans, tmp_path, monkeypatch):
    import gc
    import tempfile

    from IrisICL import IrisICLLogic

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    logic = IrisICLLogic(ThresholdClient(()), ThresholdModels("ranges", "iris"))
    logic.process(scans[0], [(*reference, None)])
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    del logic
    gc.collect()
    deadline = time.monotonic() + 5
    while list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not list(tmp_path.iterdir())
