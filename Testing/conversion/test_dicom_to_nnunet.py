"""DICOM series with SEG or RTSTRUCT become nnU-Net datasets; oblique, leaning and anisotropic series stay in place."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from dropiris.files import read_labels, read_volume
from dropiris.terminology import LEFT, Code, parse_terminology, terminology_entry
from dropiris.volume import LabelMap, Structure

highdicom = pytest.importorskip("highdicom", reason="highdicom (dropiris[dicom]) is not installed")
from dropiris.files.dicom_seg import write_dicom_seg  # noqa: E402

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
KIDNEY = terminology_entry(Code("SCT", "64033007", "Kidney"), LEFT)
STRUCTURES = (
    Structure(1, "left kidney", (0.8, 0.4, 0.2), KIDNEY),
    Structure(2, "spleen", (0.1, 0.5, 0.9)),
    Structure(3, "Läsion", (0.9, 0.1, 0.1)),
)


def blank(sop_class, modality, series, patient):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID = sop_class, generate_uid(), series
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = sop_class, ds.SOPInstanceUID
    ds.StudyInstanceUID, ds.FrameOfReferenceUID, ds.SeriesNumber = f"1.2.{patient}", f"1.3.{patient}", 1
    ds.PatientID, ds.Modality, ds.SpecificCharacterSet = f"P {patient}", modality, "ISO_IR 192"
    ds.PatientName = ds.PatientBirthDate = ds.PatientSex = ds.StudyID = ds.StudyDate = ds.StudyTime = ""
    ds.AccessionNumber = ds.ReferringPhysicianName = ""
    return ds


def series(folder, small, patient=1, lean=0.0):
    """A CT series on the grid of ``small``, one file per slice; ``lean`` mm per slice along the rows (gantry tilt)."""
    folder.mkdir(parents=True)
    lps = LPS @ small.affine
    along_i, along_j, step = lps[:3, 0], lps[:3, 1], lps[:3, 2] + lean * lps[:3, 1] / np.linalg.norm(lps[:3, 1])
    for k in range(small.shape[2]):
        ds = blank(CTImageStorage, "CT", f"1.4.{patient}", patient)
        ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = *small.shape[1::-1], 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.RescaleSlope, ds.RescaleIntercept, ds.InstanceNumber, ds.SliceThickness = 1, -1024, k + 1, 3.0
        ds.ImageOrientationPatient = [*(along_i / np.linalg.norm(along_i)), *(along_j / np.linalg.norm(along_j))]
        ds.ImagePositionPatient = list(np.round(lps[:3, 3] + k * step, 4))
        ds.PixelSpacing = [float(np.linalg.norm(along_j)), float(np.linalg.norm(along_i))]
        ds.PixelData = (small.scan(patient)[:, :, k].T + 1024).astype(np.uint16).tobytes()
        ds.save_as(folder / f"IM{(k * 5 + 2) % 11:02d}", enforce_file_format=True)
    return folder


def rectangle(i, j, k, affine):
    """The outline of the pixels [i0, i1) x [j0, j1) of slice k, in LPS mm."""
    corners = [(i[a] - 0.5, j[b] - 0.5, k, 1.0) for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))]
    return list(np.round(np.array(corners) @ (LPS @ affine)[:3].T, 3).ravel())


def rtstruct(path, scan_folder, contours):
    """``contours``: name -> list of outlines."""
    first = pydicom.dcmread(next(iter(sorted(scan_folder.iterdir()))))
    ds = blank(RTStructureSetStorage, "RTSTRUCT", generate_uid(), 1)
    ds.StudyInstanceUID = first.StudyInstanceUID
    reference, study, one = Dataset(), Dataset(), Dataset()
    one.SeriesInstanceUID = first.SeriesInstanceUID
    study.RTReferencedSeriesSequence = Sequence([one])
    reference.FrameOfReferenceUID, reference.RTReferencedStudySequence = first.FrameOfReferenceUID, Sequence([study])
    ds.ReferencedFrameOfReferenceSequence = Sequence([reference])
    rois, drawn, observed = [], [], []
    for number, (name, outlines) in enumerate(contours.items(), start=5):
        roi, item, observation = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        item.ReferencedROINumber, item.ROIDisplayColor, item.ContourSequence = number, [255, 0, 51], Sequence()
        observation.ReferencedROINumber = number
        for outline in outlines:
            contour = Dataset()
            contour.ContourGeometricType, contour.ContourData = "CLOSED_PLANAR", outline
            contour.NumberOfContourPoints = len(outline) // 3
            item.ContourSequence.append(contour)
        rois.append(roi)
        drawn.append(item)
        observed.append(observation)
    ds.StructureSetROISequence, ds.ROIContourSequence = Sequence(rois), Sequence(drawn)
    ds.RTROIObservationsSequence = Sequence(observed)
    ds.save_as(path, enforce_file_format=True)


def boxes(small, value):
    """Outlines, slice by slice, of a box of ``small.labels``."""
    (i0, j0, k0), (i1, j1, k1) = (f(np.argwhere(small.labels == value), axis=0) for f in (np.min, np.max))
    return [rectangle((i0, i1 + 1), (j0, j1 + 1), k, small.affine) for k in range(k0, k1 + 1)]


@pytest.mark.parametrize("lean", [0.0, 0.9])
def test_segments_keep_place_names_colours_and_codes(small, convert, tmp_path, lean):
    for patient in (1, 2):
        folder = series(tmp_path / "in" / f"patient{patient}" / "ct", small, patient, lean)
        labels = LabelMap(small.labels, read_volume(folder).affine, STRUCTURES)
        write_dicom_seg(labels, folder, folder / "zseg.dcm")  # beside the slices, without empty frames
    target = tmp_path / "Dataset008_Kidney"
    done = convert(tmp_path / "in", "-o", target)
    assert done.exit_code == 0, done.output
    about = json.loads((target / "dataset.json").read_text(encoding="utf-8"))
    assert about["labels"] == {"background": 0, "left kidney": 1, "spleen": 2, "Läsion": 3}
    assert about["channel_names"] == {"0": "CT"} and about["numTraining"] == 2
    scan, volume = nibabel.load(target / "imagesTr" / "P_2_0000.nii.gz"), read_volume(folder)
    assert np.array_equal(np.asarray(scan.dataobj), small.scan(2)) and np.allclose(
        scan.affine, volume.affine, atol=1e-4
    )
    found = nibabel.load(target / "labelsTr" / "P_2.nii.gz")
    assert np.array_equal(np.asarray(found.dataobj), small.labels)
    assert np.allclose(found.affine, volume.affine, atol=1e-4)
    if not lean:
        assert np.allclose(found.affine, small.affine, atol=1e-3)
    kidney, spleen, _ = read_labels(target / "labelsTr" / "P_2.nii.gz")[0].structures
    assert parse_terminology(kidney.terminology).modifier == LEFT and kidney.color == pytest.approx(
        (0.8, 0.4, 0.2), abs=0.01
    )
    assert parse_terminology(spleen.terminology).type.value == "78961009"


def test_overlapping_and_fractional_segments(small, convert, tmp_path):
    folder = series(tmp_path / "in", small)
    images = sorted((pydicom.dcmread(p) for p in folder.iterdir()), key=lambda ds: ds.InstanceNumber)
    organ, lesion = small.labels > 0, small.labels == 3
    pixels = np.stack([organ, lesion], -1).transpose(2, 1, 0, 3).astype(float)
    pixels[pixels == 1] = 0.7
    pixels[:, 0, 0, :] = 0.3
    code = highdicom.sr.coding.CodedConcept("123037004", "SCT", "Anatomical Structure")
    highdicom.seg.Segmentation(
        source_images=images, pixel_array=pixels, segmentation_type="FRACTIONAL", max_fractional_value=100,
        segment_descriptions=[
            highdicom.seg.SegmentDescription(
                segment_number=n, segment_label=name, segmented_property_category=code, segmented_property_type=code,
                algorithm_type="MANUAL",
            )
            for n, name in ((1, "organ"), (2, "lesion"))
        ],
        series_instance_uid=generate_uid(), series_number=9, sop_instance_uid=generate_uid(), instance_number=1,
        manufacturer="test", manufacturer_model_name="test", software_versions="1", device_serial_number="1",
    ).save_as(folder / "seg.dcm")  # fmt: skip
    done = convert(folder, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    found = np.asarray(nibabel.load(tmp_path / "out" / "labelsTr" / "P_1.nii.gz").dataobj)
    assert np.array_equal(found, np.where(lesion, 2, organ).astype(np.uint8))
    assert "organ gave 8 voxels to smaller structures" in done.stderr


def test_contours_fill_the_voxels_they_surround(small, convert, tmp_path):
    folder = series(tmp_path / "in" / "ct", small)
    ring = [rectangle((1, 9), (1, 10), 0, small.affine), rectangle((3, 6), (4, 7), 0, small.affine)]
    contours = {"Niere": boxes(small, 1), "Milz": boxes(small, 2), "spot": boxes(small, 3), "ring": ring}
    contours["point"] = [rectangle((1, 2), (1, 2), 0, small.affine)[:3]]
    rtstruct(tmp_path / "in" / "rt.dcm", folder, contours)
    done = convert(tmp_path / "in", "-o", tmp_path / "out", "--from", "dicom")
    assert done.exit_code == 0, done.output
    found = np.asarray(nibabel.load(tmp_path / "out" / "labelsTr" / "P_1.nii.gz").dataobj)
    expected = small.labels.copy()
    expected[1:9, 1:10, 0] = 4
    expected[3:6, 4:7, 0] = 0
    assert np.array_equal(found, expected)
    named = read_labels(tmp_path / "out" / "labelsTr" / "P_1.nii.gz")[0].structures
    assert [s.name for s in named] == ["Niere", "Milz", "spot", "ring"] and named[0].color == (1.0, 0.0, 0.2)


def test_the_area_of_a_circle_is_right(small):
    from dropiris.conversion.rtstruct import fill
    from dropiris.volume import Volume

    affine = small.affine @ np.diag([0.2, 0.2, 1, 1])
    scan = Volume(np.zeros((160, 160, 3), np.uint8), affine)
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    mm = np.stack([6 * np.cos(angle), 6 * np.sin(angle)])  # a circle of 6 mm although pixels are 0.12 x 0.16 mm
    at = np.stack([80 + mm[0] / 0.12, 80 + mm[1] / 0.16, np.ones(400), np.ones(400)])
    area = len(fill([(LPS @ affine @ at)[:3].T], scan, "circle")) * 0.12 * 0.16
    assert area == pytest.approx(np.pi * 36, rel=0.005)


def test_what_belongs_to_no_series_or_slice_is_one_sentence(small, convert, tmp_path):
    folder = series(tmp_path / "in" / "ct", small)
    assert "no SEG or RTSTRUCT" in convert(tmp_path / "in", "-o", tmp_path / "out").stderr
    between = np.array(rectangle((2, 6), (2, 6), 2.5, small.affine))
    rtstruct(tmp_path / "in" / "rt.dcm", folder, {"x": [list(between)]})
    done = convert(tmp_path / "in", "-o", tmp_path / "out")
    assert done.exit_code == 1 and "does not lie in a slice" in done.stderr and not (tmp_path / "out").exists()
    (tmp_path / "in" / "rt.dcm").unlink()
    other = series(tmp_path / "other", small, patient=2)
    rtstruct(tmp_path / "in" / "rt.dcm", other, {"x": boxes(small, 1)})
    done = convert(tmp_path / "in", "-o", tmp_path / "out")
    assert done.exit_code == 1 and "refers to no series" in done.stderr and len(done.stderr.strip().splitlines()) == 1
