"""IrisICL without a panel: its lists in the scene, and what is said of references before a run."""

import json

import numpy as np
import pytest
from slicer_headless.small_scenes import OBLIQUE, add_segmentation, add_volume, segment_id_of
from slicer_headless.soft_and_bone import pelvis

from dropiris.errors import InputError


@pytest.fixture
def parameters(slicer):
    from IrisICL import IrisICLLogic

    return IrisICLLogic().getParameterNode


def reload(slicer, path):
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(0)
    add_volume(slicer, pelvis(), OBLIQUE, "takes the first ID")
    slicer.util.loadScene(str(path))


# The lists in the scene


def test_references_are_kept_with_the_scene_and_go_with_their_nodes(slicer, parameters, reference, iris, tmp_path):
    from IrisICLLib.reference_list import ReferenceList

    volume, segmentation = reference
    bone = [segment_id_of(segmentation, "bone")]
    references = ReferenceList(parameters())
    key = references.add_nodes(volume, segmentation, bone)
    assert references.add_nodes(volume, segmentation, bone) == key  # the same pair is one row
    task = tmp_path / "Aufgabe 'Hüfte'; 1.safetensors"
    iris.startSaveTask(task, [(volume, segmentation, None)]).wait()
    references.add_task(task)
    other = references.add_nodes(volume, add_segmentation(slicer, volume, {"x": pelvis() == 700}, "Other"))
    assert [entry.name for entry in references.entries()] == ["CT pelvis A", task.name, "CT pelvis A"]

    reload(slicer, tmp_path / "scene.mrb")
    first, second, third = ReferenceList(parameters()).entries()
    assert (first.volume.GetName(), first.segmentation.GetName()) == ("CT pelvis A", "Labels of A")
    assert list(first.segments) == bone and second.task == str(task)
    assert third.key == other and len(third.segments) == 1
    third.segmentation.GetSegmentation().AddEmptySegment("new", "new")
    references = ReferenceList(parameters())
    assert references.entries()[2].segments[-1] == "new"  # all segments: also one drawn later
    assert list(references.entries()[0].segments) == bone

    slicer.mrmlScene.RemoveNode(third.segmentation)
    assert [entry.key for entry in references.entries()] == [first.key, second.key]
    slicer.mrmlScene.RemoveNode(first.volume)
    assert [entry.key for entry in references.entries()] == [second.key]
    references.remove(second.key)
    assert references.entries() == []
    assert json.loads(parameters().references) == []
    node, roles = parameters().parameterNode, []
    node.GetNodeReferenceRoles(roles)
    assert not [role for role in roles if role.startswith("references.") and node.GetNodeReferenceID(role)]


def test_the_queue_is_kept_with_the_scene_and_nothing_runs_in_a_loaded_one(slicer, parameters, scans, tmp_path):
    from IrisICLLib.scan_queue import ScanQueue, ScanState

    queue = ScanQueue(parameters())
    for scan in scans:
        queue.add(scan)
    assert queue.add(scans[0]) == queue.entries()[0].key and len(queue.entries()) == 3
    result = add_segmentation(slicer, scans[0], {"bone": pelvis() == 700}, "CT pelvis C segmentation")
    queue.started(scans[0])
    assert [entry.state for entry in queue.entries()] == [ScanState.RUNNING, ScanState.READY, ScanState.READY]
    queue.done(scans[0], 3.14159, result)
    queue.failed(scans[1], "The graphics card is full; choose the processor.")
    queue.started(scans[2])
    said = [entry.status() for entry in queue.entries()]
    assert said == ["done in 3.1 s", "failed: The graphics card is full; choose the processor.", "running"]
    assert queue.waiting() == scans[1:]
    assert queue.waiting(scans[0]) == scans[1:]

    reload(slicer, tmp_path / "scene.mrb")
    queue = ScanQueue(parameters())
    first, second, third = queue.entries()
    assert [entry.status() for entry in (first, second, third)] == [*said[:2], "ready"]
    assert (first.volume.GetName(), first.result.GetName()) == ("CT pelvis C", "CT pelvis C segmentation")
    slicer.mrmlScene.RemoveNode(first.result)  # also by Undo
    assert queue.entries()[0].state is ScanState.READY
    slicer.mrmlScene.RemoveNode(second.volume)
    assert [entry.key for entry in queue.entries()] == [first.key, third.key]


def test_when_all_scans_are_done_a_run_takes_them_all_again(slicer, parameters, scans):
    from IrisICLLib.scan_queue import ScanQueue, ScanState

    queue, results = ScanQueue(parameters()), []
    for scan in scans[:2]:
        queue.add(scan)
        results.append(add_segmentation(slicer, scan, {"bone": pelvis() == 700}))
        queue.done(scan, 1.0, results[-1])
    assert queue.waiting() == scans[:2]
    assert queue.waiting(scans[0]) == scans[:1]  # the chosen one again
    assert queue.waiting(scans[2]) == [scans[2]]  # one that is not on the list yet
    queue.again(queue.entries()[1].key)
    assert queue.waiting() == [scans[1]]
    assert results[1].GetScene() is not None and queue.entries()[1].state is ScanState.READY


def test_an_unreadable_list_is_an_empty_one(slicer, parameters):
    from IrisICLLib.reference_list import ReferenceList

    for text in ("", "{", "[1, {}]", '{"key": "1"}'):
        parameters().references = text
        assert ReferenceList(parameters()).entries() == []


# What is said of references


def look(references, key):
    from IrisICLLib.reference_list import ReferenceLooks

    [entry] = [entry for entry in references.entries() if entry.key == key]
    return ReferenceLooks().look(entry)


def test_a_reference_is_looked_at_with_its_picture_structures_and_findings(slicer, parameters, reference):
    from IrisICLLib.reference_list import ReferenceList

    volume, segmentation = reference
    segmentation.GetSegmentation().AddEmptySegment("", "forgotten")
    references = ReferenceList(parameters())
    seen = look(references, references.add_nodes(volume, segmentation))
    assert [s.name for s in seen.structures] == ["soft tissue", "bone"] and seen.usable
    assert [finding.sentence for finding in seen.findings] == ["forgotten is empty: draw it or leave it out."]
    assert seen.spacing == (1.0, 2.0, 3.0)
    assert seen.picture.shape == (64, 64, 3) and len(np.unique(seen.picture.reshape(-1, 3), axis=0)) > 3
    moved = np.eye(4)
    moved[:3, 3] = 500
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved))
    segmentation.SetAndObserveTransformNodeID(transform.GetID())
    seen = look(references, references.entries()[0].key)
    assert not seen.usable
    assert "bone lies outside CT pelvis A: choose the scan it was drawn on." in [f.sentence for f in seen.findings]


def test_a_reference_that_cannot_be_read_is_a_finding(slicer, parameters, reference, iris, tmp_path):
    from IrisICLLib.reference_list import ReferenceList

    references = ReferenceList(parameters())
    volume, segmentation = reference
    key = references.add_nodes(volume, segmentation, ["gone"])
    assert "no segment to learn from" in look(references, key).findings[0].sentence
    task = tmp_path / "task.safetensors"
    iris.startSaveTask(task, [(volume, segmentation, None)]).wait()
    key = references.add_task(task)
    assert [s.name for s in look(references, key).structures] == ["soft tissue", "bone"]
    task.unlink()
    assert "is not there any more" in look(references, key).findings[0].sentence
    task.write_bytes(b"no task")
    assert "is damaged or no task file" in look(references, key).findings[0].sentence
    with pytest.raises(InputError, match="is damaged or no task file"):
        references.add_task(task)


def test_a_reference_is_looked_at_again_only_after_a_change(slicer, parameters, reference):
    from IrisICLLib.reference_list import ReferenceList, ReferenceLooks

    volume, segmentation = reference
    references, looks = ReferenceList(parameters()), ReferenceLooks()
    references.add_nodes(volume, segmentation)
    [entry] = references.entries()
    first = looks.look(entry)
    assert looks.look(entry) is first
    bone = segment_id_of(segmentation, "bone")
    mask = np.zeros(pelvis().shape, np.uint8)
    mask[5:9, 3:9, 3:5] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.T, segmentation, bone, volume)
    second = looks.look(entry)
    assert second is not first and second.extents[1].voxels == mask.sum()
    segmentation.GetSegmentation().GetSegment(bone).SetName("Knochen")
    assert [s.name for s in looks.look(entry).structures] == ["soft tissue", "Knochen"]
    slicer.util.arrayFromVolume(volume)[:] = 3
    slicer.util.arrayFromVolumeModified(volume)
    assert looks.look(entry).appearance.high == 3


def test_remarks_name_the_reference_the_scan_and_disagreements(slicer, parameters, reference, scans):
    from IrisICLLib.reference_list import ReferenceList, ReferenceLooks
    from IrisICLLib.remarks import Appearances, remarks

    references, looks = ReferenceList(parameters()), ReferenceLooks()
    left, right = np.zeros(pelvis().shape, bool), np.zeros(pelvis().shape, bool)
    left[1:3, 4:8, 4:8], right[6:8, 4:8, 4:8] = True, True
    volume = reference[0]
    good = add_segmentation(slicer, volume, {"left kidney": left, "right kidney": right}, "Good")
    second = add_volume(slicer, pelvis(), np.diag([2.0, 2, 3, 1]), "CT pelvis B")
    swapped = add_segmentation(slicer, second, {"left kidney": right, "right kidney": left}, "Swapped")
    references.add_nodes(volume, good)
    references.add_nodes(second, swapped)
    small = add_volume(slicer, pelvis()[:3, :3, :3], np.eye(4), "Crop")

    def say(*scans):
        pairs = [(entry, looks.look(entry)) for entry in references.entries()]
        return remarks(pairs, list(scans), Appearances())

    assert say() == [
        "CT pelvis B: left kidney lies to the right of right kidney: their names are swapped or the scan is mirrored.",
        "Left and right kidney are the other way round in CT pelvis B than in CT pelvis A: correct one of them first.",
    ]
    assert say(volume)[2:] == [
        "CT pelvis A is a reference itself: its result only shows how well the reference fits itself."
    ]
    fields = [sentence for sentence in say(small) if "Crop 3 × 3 × 3 mm" in sentence]
    assert len(fields) == 1 and "CT pelvis A shows 10 × 24 × 42 mm" in fields[0]
    assert fields[0].endswith("a reference with a similar field of view does better. So for the other references.")
