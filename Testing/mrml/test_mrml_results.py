"""Label maps become segments of a real scene: at their place in world space, or not at all."""

import itertools

import numpy as np
import pytest
import vtk
from slicer_headless.small_scenes import (
    OBLIQUE,
    RIGID,
    add_segmentation,
    add_transform,
    add_volume,
    scene_state,
    segment_id_of,
    segment_points,
    voxel_points,
)

from dropiris.errors import InputError
from dropiris.mrml import existing_segmentation, volume_from_node, write_segments
from dropiris.terminology import Code, terminology_entry
from dropiris.volume import LabelMap, Structure

SHAPE = (6, 7, 8)
LIVER = Structure(3, "liver", (0.8, 0.4, 0.3), terminology_entry(Code("SCT", "10200004", "Liver")))
SPLEEN = Structure(7, "spleen", (0.6, 0.1, 0.4))


def bright_corner():
    array = np.zeros(SHAPE, np.int16)
    array[1:3, 2:5, 3:7] = 500
    array[4, 5, 6] = 900
    return array


def threshold(volume, structures=(LIVER, SPLEEN)):
    labels = np.zeros(volume.shape, np.uint8)
    labels[volume.array >= 400] = LIVER.label
    labels[volume.array >= 800] = SPLEEN.label
    return LabelMap(labels, volume.affine, structures)


def orientations():
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            affine = np.eye(4)
            affine[:3, :3] = np.eye(3)[list(axes)] @ np.diag(np.multiply(signs, (1.1, 2.3, 3.7)))
            affine[:3, 3] = [10, -20, 30]
            yield affine


@pytest.fixture
def scan(slicer):
    return add_volume(slicer, bright_corner(), OBLIQUE)


def test_a_threshold_lies_on_its_voxels_in_all_48_orientations_oblique_and_transformed(slicer):
    stretched = RIGID @ np.diag([1.0, 1.5, 1.0, 1.0])
    for affine in [*orientations(), OBLIQUE]:
        for parents in ((), (RIGID,), (RIGID, stretched)):
            scan = add_volume(slicer, bright_corner(), affine)
            parent = None
            for matrix in parents:
                parent = add_transform(slicer, matrix, parent=parent)
            scan.SetAndObserveTransformNodeID(parent.GetID() if parent else None)
            node = write_segments(threshold(volume_from_node(scan)), None, scan)
            assert node.GetTransformNodeID() == scan.GetTransformNodeID()
            world = np.eye(4)
            for matrix in parents:
                world = world @ matrix
            expected = voxel_points(bright_corner() == 500, world @ affine)
            points = segment_points(slicer, node, segment_id_of(node, "liver"))
            np.testing.assert_allclose(points, expected, atol=1e-4)
            slicer.mrmlScene.Clear(0)


def test_slicer_itself_reads_the_same_voxels_on_the_scans_grid(slicer, scan):
    node = write_segments(threshold(volume_from_node(scan)), None, scan)
    for name, value in (("liver", 500), ("spleen", 900)):
        read = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id_of(node, name), scan)
        np.testing.assert_array_equal(read.T > 0, bright_corner() == value)


def test_segments_carry_name_colour_and_terminology_and_the_node_its_geometry(slicer, scan):
    node = write_segments(threshold(volume_from_node(scan)), None, scan)
    liver = node.GetSegmentation().GetSegment(segment_id_of(node, "liver"))
    assert liver.GetColor() == pytest.approx(LIVER.color)
    assert slicer.util.getNode("Scan segmentation") is node
    tag = slicer.vtkSegment.GetTerminologyEntryTagName()
    value = vtk.reference("")
    assert liver.GetTag(tag, value) and str(value) == LIVER.terminology
    role = node.GetReferenceImageGeometryReferenceRole()
    assert node.GetNodeReference(role) is scan
    assert node.GetDisplayNode() is not None


def test_a_structure_that_was_not_found_is_an_empty_segment(slicer, scan):
    kidney = Structure(9, "kidney")
    node = write_segments(threshold(volume_from_node(scan), (LIVER, kidney)), None, scan)
    assert len(segment_points(slicer, node, segment_id_of(node, "kidney"))) == 0
    nothing = LabelMap(np.zeros(SHAPE, np.uint8), OBLIQUE, (LIVER,))
    node = write_segments(nothing, None, scan)
    assert len(segment_points(slicer, node, segment_id_of(node, "liver"))) == 0


def test_voxels_of_a_label_nobody_named_are_dropped(slicer, scan):
    node = write_segments(threshold(volume_from_node(scan), (LIVER,)), None, scan)
    image = node.GetSegmentation().GetNthSegment(0).GetRepresentation("Binary labelmap")
    assert image.GetScalarRange()[1] == 1


def test_three_hundred_structures_share_one_image(slicer):
    array = np.arange(300, dtype=np.int16).reshape(5, 6, 10) + 1
    scan = add_volume(slicer, array, OBLIQUE)
    structures = [Structure(n, f"s{n}") for n in range(1, 301)]
    node = write_segments(LabelMap(array, OBLIQUE, structures), None, scan)
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    expected = voxel_points(array == 299, OBLIQUE)
    np.testing.assert_allclose(segment_points(slicer, node, segment_id_of(node, "s299")), expected, atol=1e-4)


def test_adding_leaves_every_segment_there_and_makes_names_unique(slicer, scan):
    mine = np.zeros(SHAPE, bool)
    mine[0:2] = True
    target = add_segmentation(slicer, scan, {"liver": mine})
    write_segments(threshold(volume_from_node(scan)), target, scan, "add")
    write_segments(threshold(volume_from_node(scan)), target, scan, "add")
    segmentation = target.GetSegmentation()
    names = [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]
    assert names == ["liver", "liver_1", "spleen", "liver_2", "spleen_1"]
    np.testing.assert_allclose(
        segment_points(slicer, target, segment_id_of(target, "liver")), voxel_points(mine, OBLIQUE), atol=1e-4
    )
    expected = voxel_points(bright_corner() == 500, OBLIQUE)
    np.testing.assert_allclose(segment_points(slicer, target, segment_id_of(target, "liver_2")), expected, atol=1e-4)


def test_replacing_keeps_the_segments_id_and_place_and_touches_no_other(slicer, scan):
    mine, other = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    mine[0:2], other[3:5] = True, True
    target = add_segmentation(slicer, scan, {"a": other, "liver": mine, "z": ~mine & ~other})
    before = {name: segment_points(slicer, target, segment_id_of(target, name)) for name in ("a", "z")}
    old_id = segment_id_of(target, "liver")
    write_segments(threshold(volume_from_node(scan)), target, scan, "replace")
    segmentation = target.GetSegmentation()
    assert [segmentation.GetNthSegment(n).GetName() for n in range(4)] == ["a", "liver", "z", "spleen"]
    assert segment_id_of(target, "liver") == old_id
    expected = voxel_points(bright_corner() == 500, OBLIQUE)
    np.testing.assert_allclose(segment_points(slicer, target, old_id), expected, atol=1e-4)
    for name, points in before.items():
        np.testing.assert_array_equal(segment_points(slicer, target, segment_id_of(target, name)), points)


@pytest.mark.parametrize("mode", ["add", "replace"])
def test_surfaces_the_user_sees_stay_and_new_segments_get_theirs(slicer, scan, mode):
    target = add_segmentation(slicer, scan, {"liver": bright_corner() == 900, "other": bright_corner() == 0})
    segmentation = target.GetSegmentation()
    target.CreateClosedSurfaceRepresentation()
    surface = segmentation.GetSegment(segment_id_of(target, "other")).GetRepresentation("Closed surface")
    write_segments(threshold(volume_from_node(scan)), target, scan, mode)
    assert segmentation.GetSegment(segment_id_of(target, "other")).GetRepresentation("Closed surface") is surface
    for segment_id in segmentation.GetSegmentIDs():
        assert segmentation.GetSegment(segment_id).GetRepresentation("Closed surface").GetNumberOfPoints() > 0


def test_two_structures_of_one_name_are_both_kept(slicer, scan):
    target = write_segments(threshold(volume_from_node(scan)), None, scan)
    twice = (LIVER, Structure(SPLEEN.label, "liver"))
    write_segments(threshold(volume_from_node(scan), twice), target, scan, "replace")
    segmentation = target.GetSegmentation()
    names = [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]
    assert names == ["liver", "spleen", "liver_1"]


def test_a_target_under_another_transform_still_coincides_in_world(slicer, scan):
    target = add_segmentation(slicer, scan, {"mine": bright_corner() == 0})
    scan.SetAndObserveTransformNodeID(add_transform(slicer, RIGID).GetID())
    target.SetAndObserveTransformNodeID(add_transform(slicer, np.diag([-1.0, 1, 2, 1])).GetID())
    write_segments(threshold(volume_from_node(scan)), target, scan, "add")
    expected = voxel_points(bright_corner() == 500, RIGID @ OBLIQUE)
    np.testing.assert_allclose(segment_points(slicer, target, segment_id_of(target, "liver")), expected, atol=1e-4)


def test_many_results_leave_no_node_behind(slicer, scan):
    target = write_segments(threshold(volume_from_node(scan)), None, scan)
    before = slicer.mrmlScene.GetNumberOfNodes()
    for _ in range(50):
        write_segments(threshold(volume_from_node(scan)), target, scan, "replace")
        node = write_segments(threshold(volume_from_node(scan)), None, scan)
        display = node.GetDisplayNode()
        slicer.mrmlScene.RemoveNode(node)
        slicer.mrmlScene.RemoveNode(display)
    assert slicer.mrmlScene.GetNumberOfNodes() == before


@pytest.mark.parametrize("mode", ["new", "add", "replace"])
def test_a_scene_that_refuses_is_put_back_node_for_node(slicer, scan, monkeypatch, mode):
    target = add_segmentation(slicer, scan, {"liver": bright_corner() == 900, "other": bright_corner() == 0})
    display = target.GetDisplayNode()
    slicer.mrmlScene.RemoveNode(display)
    before = scene_state(slicer)

    def refuse(node):
        node.CreateDefaultDisplayNodes()
        raise MemoryError("no memory for the view")

    monkeypatch.setattr(existing_segmentation, "show", refuse)
    with pytest.raises(MemoryError):
        write_segments(threshold(volume_from_node(scan)), None if mode == "new" else target, scan, mode)
    assert scene_state(slicer) == before


def test_a_label_map_that_does_not_fit_is_refused_before_the_scene_is_touched(slicer, scan):
    labels = threshold(volume_from_node(scan))
    before = scene_state(slicer)
    elsewhere = OBLIQUE.copy()
    elsewhere[0, 3] += 1.0
    wrong = [
        LabelMap(labels.array[:-1], OBLIQUE, labels.structures),
        LabelMap(labels.array.transpose(2, 1, 0).copy(), OBLIQUE, labels.structures),
        LabelMap(labels.array, elsewhere, labels.structures),
    ]
    for label_map in wrong:
        with pytest.raises(InputError, match="does not lie on the grid of Scan"):
            write_segments(label_map, None, scan)
    with pytest.raises(InputError, match="names no structure"):
        write_segments(LabelMap(labels.array, OBLIQUE), None, scan)
    with pytest.raises(InputError, match="or none for a new one"):
        write_segments(labels, None, scan, "add")
    assert scene_state(slicer) == before


def test_a_scan_that_was_removed_meanwhile_is_named(slicer, scan):
    labels = threshold(volume_from_node(scan))
    slicer.mrmlScene.RemoveNode(scan)
    with pytest.raises(InputError, match="Scan was removed from the scene"):
        write_segments(labels, None, scan)


def test_one_undo_takes_the_whole_result_back(slicer, scan):
    target = add_segmentation(slicer, scan, {"mine": bright_corner() == 0})
    target.SetUndoEnabled(True)
    slicer.mrmlScene.SetUndoOn()
    try:
        write_segments(threshold(volume_from_node(scan)), target, scan, "add")
        assert slicer.mrmlScene.GetNumberOfUndoLevels() == 1
        slicer.mrmlScene.Undo()
        segmentation = target.GetSegmentation()
        assert [segmentation.GetSegment(n).GetName() for n in segmentation.GetSegmentIDs()] == ["mine"]
    finally:
        slicer.mrmlScene.ClearUndoStack()
        slicer.mrmlScene.SetUndoOff()


def test_segments_survive_saving_and_loading(slicer, scan, tmp_path):
    node = write_segments(threshold(volume_from_node(scan)), None, scan)
    expected = segment_points(slicer, node, segment_id_of(node, "liver"))
    assert slicer.util.saveNode(node, str(tmp_path / "result.seg.nrrd"))
    loaded = slicer.util.loadSegmentation(str(tmp_path / "result.seg.nrrd"))
    np.testing.assert_allclose(segment_points(slicer, loaded, segment_id_of(loaded, "liver")), expected, atol=1e-3)
