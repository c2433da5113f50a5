"""Files written here open in Slicer's own readers with the same voxels, place, names, colours and codes."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dropiris.files import read_labels, read_volume, write_labels, write_volume
from dropiris.terminology import RIGHT, Code, terminology_entry
from dropiris.volume import LabelMap, Structure, Volume

AFFINE = np.eye(4)
AFFINE[:3, :3] = Rotation.from_euler("xyz", (20, -35, 50), degrees=True).as_matrix() * (1.1, 0.7, 3.3)
AFFINE[:3, 3] = (12.5, -40.25, 7.0)
SHAPE = (11, 9, 7)
KIDNEY = Structure(1, "kidney é 脾", (0.75, 0.25, 0.5), terminology_entry(Code("SCT", "64033007", "Kidney"), RIGHT))


@pytest.fixture
def layers():
    first, second = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    first[1:5, 2:6, 1:4] = 1
    first[6:10, 3:8, 2:6] = 7
    second[3:8, 1:7, 2:5] = 1
    return (
        LabelMap(first, AFFINE, (KIDNEY, Structure(7, "liver", (0, 1, 0)))),
        LabelMap(second, AFFINE, (Structure(1, "lesion", (1, 1, 0)),)),
    )


def load(slicer, path):
    node = slicer.modules.segmentations.logic().LoadSegmentationFromFile(str(path), False, "", None, None)
    assert node is not None
    return node


def tag(segment, name):
    import vtk

    value = vtk.reference("")
    assert segment.GetTag(name, value)
    return value.get()


def mask_in_slicer(slicer, node, segment_id):
    """(I, J, K) mask of a segment on the whole grid, and check of its place."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    image = slicer.vtkOrientedImageData()
    assert node.GetBinaryLabelmapRepresentation(segment_id, image)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    there = np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
    assert np.allclose(there, AFFINE, atol=1e-9)
    extent = np.array(image.GetExtent()).reshape(3, 2)
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1]).transpose(2, 1, 0)
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(low, high + 1) for low, high in extent)] = values > 0
    return mask


@pytest.mark.parametrize("count", [1, 2])
def test_slicer_reads_our_segmentation_file(slicer, tmp_path, layers, count):
    layers = layers[:count]
    write_labels(layers, tmp_path / "Jörg 1.seg.nrrd")
    node = load(slicer, tmp_path / "Jörg 1.seg.nrrd")
    segmentation = node.GetSegmentation()
    expected = [(layer, structure) for layer in layers for structure in layer.structures]
    assert segmentation.GetNumberOfSegments() == len(expected)
    assert segmentation.GetNumberOfLayers() == count
    for n, (layer, structure) in enumerate(expected):
        segment = segmentation.GetNthSegment(n)
        assert segment.GetName() == structure.name
        assert np.allclose(segment.GetColor(), structure.color)
        assert segment.GetLabelValue() == structure.label
        assert slicer.vtkSegment.GetTerminologyEntryTagName() == "TerminologyEntry"
        if structure.terminology:
            assert tag(segment, "TerminologyEntry") == structure.terminology
        assert np.array_equal(mask_in_slicer(slicer, node, segmentation.GetNthSegmentID(n)), layer.mask(structure))


def test_we_read_what_slicer_saves_cropped_or_not(slicer, tmp_path, layers):
    write_labels(layers, tmp_path / "ours.seg.nrrd")
    scan = Volume(np.arange(np.prod(SHAPE)).reshape(SHAPE), AFFINE, "scan")
    for crop in (True, False):
        node = load(slicer, tmp_path / "ours.seg.nrrd")
        storage = slicer.vtkMRMLSegmentationStorageNode()
        storage.SetCropToMinimumExtent(crop)
        path = tmp_path / f"slicer {crop}.seg.nrrd"
        storage.SetFileName(str(path))
        assert storage.WriteData(node)
        back = read_labels(path, like=scan)
        ours = [(s.name, s.terminology, layer.mask(s)) for layer in layers for s in layer.structures]
        theirs = {s.name: (s, layer) for layer in back for s in layer.structures}
        assert len(theirs) == len(ours)
        for name, terminology, mask in ours:
            structure, layer = theirs[name]
            assert structure.terminology == terminology or not terminology
            assert np.array_equal(layer.mask(structure), mask)
    cropped = read_labels(tmp_path / "slicer True.seg.nrrd")[0]
    assert cropped.shape != SHAPE, "or this test shows nothing"


@pytest.mark.parametrize("ending", [".nrrd", ".nii.gz"])
def test_slicer_and_we_agree_where_a_scan_lies(slicer, tmp_path, ending):
    array = np.random.default_rng(0).integers(-900, 900, SHAPE).astype(np.int16)
    write_volume(Volume(array, AFFINE), tmp_path / f"ours{ending}")
    node = slicer.util.loadVolume(str(tmp_path / f"ours{ending}"))
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    there = np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
    assert np.allclose(there, AFFINE, atol=1e-5)
    assert np.array_equal(slicer.util.arrayFromVolume(node).transpose(2, 1, 0), array)

    assert slicer.util.saveNode(node, str(tmp_path / f"theirs{ending}"))
    back = read_volume(tmp_path / f"theirs{ending}")
    assert np.array_equal(back.array, array)
    assert np.allclose(back.affine, AFFINE, atol=1e-5)
