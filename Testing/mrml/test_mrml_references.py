"""Segments of a real scene become References: every voxel at its place, overlaps kept, nothing left behind."""

import numpy as np
import pytest
from slicer_headless.small_scenes import (
    OBLIQUE,
    RIGID,
    add_grid_transform,
    add_segmentation,
    add_transform,
    add_volume,
    scene_state,
)

from dropiris.errors import InputError
from dropiris.mrml import reference_from_nodes
from dropiris.terminology import Code, terminology_entry

SHAPE = (9, 11, 13)


def boxes():
    first, second, overlapping = (np.zeros(SHAPE, bool) for _ in range(3))
    first[1:4, 2:6, 3:8] = True
    second[5:8, 2:6, 3:8] = True
    overlapping[2:7, 4:9, 5:11] = True
    return {"liver": first, "spleen": second, "lesion": overlapping}


@pytest.fixture
def labelled(slicer):
    volume = add_volume(slicer, np.random.default_rng(0).normal(size=SHAPE).astype(np.float32), OBLIQUE)
    return volume, add_segmentation(slicer, volume, boxes())


def test_overlapping_segments_come_whole_in_layers_of_their_own(labelled):
    reference = reference_from_nodes(*labelled)
    assert [s.name for s in reference.structures] == ["liver", "spleen", "lesion"]
    assert len(reference.layers) == 2
    for name, mask in boxes().items():
        np.testing.assert_array_equal(reference.mask(name), mask)


def test_only_the_chosen_segments_are_taken(labelled):
    volume, segmentation = labelled
    chosen = segmentation.GetSegmentation().GetSegmentIdBySegmentName("spleen")
    reference = reference_from_nodes(volume, segmentation, [chosen])
    assert [s.name for s in reference.structures] == ["spleen"]
    np.testing.assert_array_equal(reference.mask("spleen"), boxes()["spleen"])


def test_colour_and_terminology_travel_with_the_structure(slicer, labelled):
    volume, segmentation = labelled
    entry = terminology_entry(Code("SCT", "10200004", "Liver"))
    segment = segmentation.GetSegmentation().GetNthSegment(0)
    segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)
    first, second, _ = reference_from_nodes(volume, segmentation).structures
    assert first.terminology == entry
    assert second.terminology != entry
    assert first.color == pytest.approx(segment.GetColor())


def test_segments_of_another_grid_are_resampled_to_the_volumes(slicer, labelled):
    """Twice as fine along k, the same outer edges: each voxel of the scan sees the mask under its centre."""
    volume, _ = labelled
    fine = OBLIQUE @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0.5, -0.25], [0, 0, 0, 1.0]])
    other = add_volume(slicer, np.zeros((*SHAPE[:2], 2 * SHAPE[2]), np.uint8), fine, "Fine")
    masks = {name: mask.repeat(2, axis=2) for name, mask in boxes().items()}
    reference = reference_from_nodes(volume, add_segmentation(slicer, other, masks))
    for name, mask in boxes().items():
        np.testing.assert_array_equal(reference.mask(name), mask)


def test_transforms_above_either_node_are_honoured(slicer, labelled):
    volume, segmentation = labelled
    transform = add_transform(slicer, RIGID)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    segmentation.SetAndObserveTransformNodeID(transform.GetID())
    np.testing.assert_array_equal(reference_from_nodes(volume, segmentation).mask("liver"), boxes()["liver"])

    one_voxel_along_i = OBLIQUE @ np.array([[1.0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    volume.SetAndObserveTransformNodeID(None)
    shift = add_transform(slicer, one_voxel_along_i @ np.linalg.inv(OBLIQUE))
    segmentation.SetAndObserveTransformNodeID(shift.GetID())
    moved = np.roll(boxes()["liver"], 1, axis=0)
    np.testing.assert_array_equal(reference_from_nodes(volume, segmentation).mask("liver"), moved)


def test_a_segmentation_that_holds_only_surfaces_is_voxelised_outside_the_scene(slicer):
    ball = np.linalg.norm(np.indices((30, 30, 30)) - 14.5, axis=0) < 10
    volume = add_volume(slicer, ball.astype(np.int16), RIGID)
    segmentation = add_segmentation(slicer, volume, {"ball": ball})
    segmentation.CreateClosedSurfaceRepresentation()
    inner = segmentation.GetSegmentation()
    inner.SetSourceRepresentationName("Closed surface")
    inner.RemoveRepresentation("Binary labelmap")
    before = slicer.mrmlScene.GetNumberOfNodes()
    mask = reference_from_nodes(volume, segmentation).mask("ball")
    assert 2 * (mask & ball).sum() / (mask.sum() + ball.sum()) > 0.95  # surfaces are smoothed
    assert not inner.ContainsRepresentation("Binary labelmap")
    assert slicer.mrmlScene.GetNumberOfNodes() == before


def test_many_references_leave_no_node_behind_and_change_nothing(slicer, labelled):
    before = scene_state(slicer)
    for _ in range(50):
        reference_from_nodes(*labelled)
    assert scene_state(slicer) == before


def test_an_empty_segment_and_one_outside_the_scan_are_named(slicer, labelled):
    volume, segmentation = labelled
    segmentation.GetSegmentation().AddEmptySegment("", "tumour")
    with pytest.raises(InputError, match="'tumour' of Labels has no voxel inside Scan"):
        reference_from_nodes(volume, segmentation)
    far = add_transform(slicer, np.array([[1.0, 0, 0, 5000], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    segmentation.SetAndObserveTransformNodeID(far.GetID())
    with pytest.raises(InputError, match="'liver' of Labels has no voxel inside Scan"):
        reference_from_nodes(volume, segmentation)


def test_missing_pieces_are_named(slicer, labelled):
    volume, segmentation = labelled
    with pytest.raises(InputError, match="No segmentation is chosen for Scan"):
        reference_from_nodes(volume, None)
    with pytest.raises(InputError, match="has no segment to learn from"):
        reference_from_nodes(volume, segmentation, [])
    with pytest.raises(InputError, match="no segment 'Segment_9' any more"):
        reference_from_nodes(volume, segmentation, ["Segment_9"])
    segmentation.GetSegmentation().GetNthSegment(1).SetName("liver")
    with pytest.raises(InputError, match="same name"):
        reference_from_nodes(volume, segmentation)


def test_a_grid_transform_above_the_segmentation_is_refused(slicer, labelled):
    volume, segmentation = labelled
    segmentation.SetAndObserveTransformNodeID(add_grid_transform(slicer).GetID())
    with pytest.raises(InputError, match="Labels is under the non-linear transform Warp"):
        reference_from_nodes(volume, segmentation)
