"""A DICOM folder becomes one scan in the right place, or one sentence says why not."""

from itertools import pairwise

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    generate_uid,
)
from scipy.spatial.transform import Rotation

from dropiris.errors import InputError
from dropiris.files import is_scan, list_scans, read_volume

ROWS, COLUMNS, SLICES = 5, 7, 6
TURN = Rotation.from_euler("xyz", (10, -25, 40), degrees=True).as_matrix()  # columns: along i, along j, normal (LPS)
ORIGIN = np.array([-100.5, 40.25, -300.0])
HU = np.random.default_rng(0).integers(-1000, 1500, (COLUMNS, ROWS, SLICES)).astype(np.int16)


def dataset(uid, **more):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID = CTImageStorage, generate_uid(), uid
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.Modality, ds.SeriesDescription = "CT", "Thorax 3.0"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = ROWS, COLUMNS, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    for key, value in more.items():
        setattr(ds, key, value)
    return ds


def ct(folder, step=(0, 0, 3.0), skip=(), uid="1.2.3", change=None):
    """A classic CT series: one file per slice, named in no useful order, stored with an offset of -1024."""
    folder.mkdir(exist_ok=True)
    for k in range(SLICES):
        if k in skip:
            continue
        ds = dataset(uid, RescaleSlope=1, RescaleIntercept=-1024)
        ds.ImageOrientationPatient = [*TURN[:, 0], *TURN[:, 1]]
        ds.ImagePositionPatient = list(np.round(ORIGIN + TURN @ np.array(step) * k, 4))
        ds.PixelSpacing = [0.8, 0.6]  # between rows, between columns
        ds.PixelData = (HU[:, :, k].T + 1024).astype(np.uint16).tobytes()
        if change:
            change(ds, k)
        ds.save_as(folder / f"IM{(k * 5 + 2) % 7}", enforce_file_format=True)
    return folder


def expected_affine(step=(0, 0, 3.0)):
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2] = TURN[:, 0] * 0.6, TURN[:, 1] * 0.8, TURN @ np.array(step)
    lps[:3, 3] = ORIGIN
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


def test_a_folder_of_slices_is_one_scan_in_hounsfield_units(tmp_path):
    volume = read_volume(ct(tmp_path / "Series é"))
    assert np.array_equal(volume.array, HU)
    assert volume.array.dtype == np.int16
    assert np.allclose(volume.affine, expected_affine(), atol=1e-3)
    assert (volume.modality, volume.name) == ("CT", "Series é")


def test_any_slice_of_a_series_stands_for_it(tmp_path):
    ct(tmp_path, uid="1.2.3")
    volume = read_volume(tmp_path / "IM2")
    assert volume.shape == HU.shape


def test_slices_sorted_against_their_names_and_copies_count_once(tmp_path):
    ct(tmp_path)
    (tmp_path / "copy of IM2").write_bytes((tmp_path / "IM2").read_bytes())
    (tmp_path / "README.txt").write_text("not DICOM")
    assert np.array_equal(read_volume(tmp_path).array, HU)


def test_a_gantry_tilt_leans_the_affine(tmp_path):
    step = (0, 0.9, 2.8)
    volume = read_volume(ct(tmp_path, step=step))
    assert np.allclose(volume.affine, expected_affine(step), atol=1e-3)
    assert np.array_equal(volume.array, HU)


def test_fractional_and_varying_slopes_are_applied_slice_by_slice(tmp_path):
    def pet(ds, k):
        ds.Modality, ds.RescaleSlope, ds.RescaleIntercept = "PT", 0.5 + k, 0

    volume = read_volume(ct(tmp_path, change=pet))
    assert volume.array.dtype == np.float32
    assert np.allclose(volume.array, (HU + 1024.0) * (0.5 + np.arange(SLICES)))


def test_ct_with_all_16_bits_stays_small_and_its_padding_does_not_wrap(tmp_path):
    def padded(ds, k):
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 15, 1
        stored = HU[:, :, k].T + 1024
        stored[0, 0] = -32768
        ds.PixelData = stored.astype(np.int16).tobytes()

    volume = read_volume(ct(tmp_path, change=padded))
    assert volume.array.dtype == np.int16
    assert (volume.array[0, 0] == -32768).all()
    assert np.array_equal(volume.array[1:], HU[1:])


def test_an_enhanced_multi_frame_file_is_one_scan(tmp_path):
    ds = dataset("1.2.4", Modality="MR", SOPClassUID=EnhancedMRImageStorage, NumberOfFrames=SLICES)
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [*TURN[:, 0], *TURN[:, 1]]
    measures.PixelSpacing, measures.SliceThickness = [0.8, 0.6], 3.0
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    frames = []
    order = [3, 0, 5, 1, 4, 2]
    for k in order:
        frame, plane, scale = Dataset(), Dataset(), Dataset()
        plane.ImagePositionPatient = list(np.round(ORIGIN + TURN[:, 2] * 3.0 * k, 4))
        scale.RescaleSlope, scale.RescaleIntercept = 1, -1024
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [plane], [scale]
        frames.append(frame)
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = [shared], frames
    ds.PixelData = b"".join((HU[:, :, k].T + 1024).astype(np.uint16).tobytes() for k in order)
    ds.save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)

    for path in (tmp_path, tmp_path / "enhanced.dcm"):
        volume = read_volume(path)
        assert np.array_equal(volume.array, HU)
        assert np.allclose(volume.affine, expected_affine(), atol=1e-3)
        assert volume.modality == "MR"


def test_run_length_compression_needs_no_extra_decoder(tmp_path):
    def compress(ds, k):
        ds.compress(RLELossless)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID

    assert np.array_equal(read_volume(ct(tmp_path, change=compress)).array, HU)


def test_slices_rounded_by_the_scanner_are_even(tmp_path):
    def rounded(ds, k):
        ds.ImagePositionPatient = list(np.round(ORIGIN + TURN[:, 2] * 3.0 * k, 1))

    assert read_volume(ct(tmp_path, change=rounded)).shape == HU.shape


def set_value(key, value, only=None):
    def change(ds, k):
        if only is None or k == only:
            setattr(ds, key, value)

    return change


def colour(ds, k):
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0


def capture(ds, k):
    del ds.ImagePositionPatient


def compressed(ds, k):
    ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    ds.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + bytes(60)])
    ds["PixelData"].is_undefined_length = True


def two_series(ds, k):
    ds.SeriesInstanceUID = f"1.2.{k % 2}"
    ds.SeriesDescription = ("Lung", "Bone")[k % 2]


REFUSED = {
    "a missing slice": ({"skip": (3,)}, r"uneven slices: 6\.00 mm instead of 3\.00 mm between slices 3 and 4"),
    "a single slice": ({"skip": range(1, 6)}, "has a single slice"),
    "a time series": (
        {"change": lambda ds, k: setattr(ds, "ImagePositionPatient", list(ORIGIN + TURN[:, 2] * (k // 2)))},
        "has several slices at one position",
    ),
    "colour": ({"change": colour}, "is a colour picture or a screen capture"),
    "a capture": ({"change": capture}, "has no position in the patient"),
    "a localizer": ({"change": set_value("ImageOrientationPatient", [1, 0, 0, 0, 0, -1], 4)}, "different orientation"),
    "odd size": ({"change": set_value("Rows", 4, 2)}, "mixes slices of different size"),
    "a shifted slice": (
        {"change": set_value("ImagePositionPatient", list(ORIGIN + TURN @ [4.0, 0, 6.0]), 2)},
        "are shifted against each other",
    ),
    "a codec": ({"change": compressed}, r"is compressed \(JPEG 2000.*\) and could not be decoded; install pylibjpeg"),
    "two series": (
        {"change": two_series},
        r"holds 2 series: 'Bone' \(3 files, such as IM0\), 'Lung' \(3 files, such as IM1\); give one file of",
    ),
    "a segmentation object": ({"change": set_value("Modality", "SEG")}, "holds no DICOM scan"),
}


@pytest.mark.parametrize(("series", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_a_series_that_cannot_be_used_is_explained(tmp_path, series, sentence):
    ct(tmp_path / "case", **series)
    with pytest.raises(InputError, match=sentence) as caught:
        read_volume(tmp_path / "case")
    assert str(caught.value).count(". ") == 0


def test_one_of_two_series_is_chosen_by_one_of_its_files(tmp_path):
    ct(tmp_path, change=two_series)
    chosen = [read_volume(p).array for p in sorted(tmp_path.iterdir())]
    assert any(np.array_equal(a, HU[:, :, 0::2]) for a in chosen)
    assert any(np.array_equal(a, HU[:, :, 1::2]) for a in chosen)


@pytest.mark.parametrize("keep", [100, 140, 400, -30])
def test_a_truncated_slice_is_named(tmp_path, keep):
    ct(tmp_path)
    whole = (tmp_path / "IM2").read_bytes()
    (tmp_path / "IM2").write_bytes(whole[:keep])
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path / "IM2")
    assert "IM2" in str(caught.value)


def test_dicom_folders_are_found_among_other_scans(tmp_path):
    ct(tmp_path / "b")
    (tmp_path / "a.nii.gz").write_bytes(b"x")
    (tmp_path / "notes").mkdir()
    assert [p.name for p in list_scans(tmp_path)] == ["a.nii.gz", "b"]
    assert list_scans(tmp_path / "b") == [tmp_path / "b"]
    assert is_scan(tmp_path / "b" / "IM2")
    names = [p.name for p in list_scans(tmp_path)]
    assert all(first < second for first, second in pairwise(names))
