"""What cannot be used is refused in one sentence that names the file, and nothing is written."""

import sys

import nibabel
import numpy as np
import pytest

from dropiris.errors import InputError
from dropiris.files import read_labels, read_volume, write_labels, write_volume
from dropiris.files.nrrd_files import write_nrrd
from dropiris.volume import LabelMap, Volume

noise = np.random.default_rng(0).integers(0, 90, (6, 5, 4)).astype(np.int16)


def nifti(path, array, affine=None):
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


def with_spacing(mm):
    return np.diag([mm, mm, mm, 1.0])


def edited(path, old, new):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


def singular_nifti(path):
    nifti(path, noise)
    data = bytearray(path.read_bytes())
    data[280:312] = np.float32([1, 1, 0, 0, 0, 0, 1, 0]).tobytes()  # i and j both run along x
    path.write_bytes(data)


def nan_affine_nifti(path):
    nifti(path, noise)
    data = bytearray(path.read_bytes())
    data[280:284] = np.float32(np.nan).tobytes()
    path.write_bytes(data)


def cut(path, make, size):
    make(path)
    path.write_bytes(path.read_bytes()[:size])


def colour(path):
    pixels = np.zeros((6, 5, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), path)


def nrrd(path, array=noise, affine=None):
    write_nrrd(array, np.eye(4) if affine is None else affine, path)


def edited_nrrd(path, old, new):
    nrrd(path)
    edited(path, old, new)


def flat_nrrd(path):
    nrrd(path)
    edited(path, b"dimension: 3", b"dimension: 2")
    edited(path, b"sizes: 6 5 4", b"sizes: 6 20")


REFUSED = {
    "2D": ("a.nii", lambda p: nifti(p, noise[:, :, 0]), "is a 2D image; give a 3D volume"),
    "one slice": ("a.nii", lambda p: nifti(p, noise[:, :, :1]), "is a single 2D slice"),
    "4D": ("a.nii", lambda p: nifti(p, np.stack([noise] * 3, -1)), r"is 4D \(3 volumes in one file\)"),
    "RGB": ("a.nii", colour, "holds colour"),
    "complex": ("a.nii", lambda p: nifti(p, noise.astype(np.complex64)), "holds colour or complex"),
    "constant": ("a.nii.gz", lambda p: nifti(p, noise * 0), r"is constant \(every voxel is 0\)"),
    "NaN": ("a.nii.gz", lambda p: nifti(p, np.where(noise == noise[0, 0, 0], np.nan, noise)), "contains NaN"),
    "microscope": ("a.nii", lambda p: nifti(p, noise, with_spacing(0.0001)), "voxel size of 0.0001"),
    "planet": ("a.nii", lambda p: nifti(p, noise, with_spacing(5000.0)), "voxel size of 5000"),
    "singular": ("a.nii", singular_nifti, "singular orientation matrix"),
    "NaN affine": ("a.nii", nan_affine_nifti, "orientation matrix that is not finite"),
    "truncated": ("a.nii", lambda p: cut(p, lambda q: nifti(q, noise), 400), "is damaged, cut short or not a NIfTI"),
    "truncated gz": ("a.nii.gz", lambda p: cut(p, lambda q: nifti(q, noise), 150), "is damaged, cut short"),
    "empty file": ("a.nii.gz", lambda p: p.write_bytes(b""), "is an empty file"),
    "text": ("a.nii", lambda p: p.write_text("hello" * 200), "is damaged, cut short or not a NIfTI"),
    "not gzip": ("a.nii.gz", lambda p: p.write_text("hello" * 200), "is damaged, cut short or not a NIfTI"),
    "missing": ("a.nii.gz", lambda p: None, "does not exist"),
    "unknown": ("a.docx", lambda p: p.write_text("hello"), "is of an unknown kind"),
    "segmentation": ("a.seg.nrrd", lambda p: nrrd(p), "is a segmentation; give a scan"),
    "empty folder": ("a", lambda p: p.mkdir(), "holds no DICOM scan"),
    "nrrd 2D": ("a.nrrd", flat_nrrd, "is a 2D image"),
    "nrrd 4D": ("a.nrrd", lambda p: nrrd(p, np.stack([noise] * 2)), "holds 2 values per voxel"),
    "nrrd empty": ("a.nrrd", lambda p: edited_nrrd(p, b"sizes: 6 5 4", b"sizes: 6 0 4"), "is empty"),
    "nrrd no space": ("a.nrrd", lambda p: edited_nrrd(p, b"space: left-posterior-superior\n", b""), "left and right"),
    "nrrd detached": ("a.nrrd", lambda p: edited_nrrd(p, b"encoding: gzip", b"encoding: gzip\ndata file: /etc/hosts"),
                      "keeps its voxels in another file"),
    "nrrd truncated": ("a.nrrd", lambda p: cut(p, nrrd, -40), "is damaged, cut short or not a NRRD"),
    "nrrd short header": ("a.nrrd", lambda p: cut(p, nrrd, 60), "is damaged, cut short or not a NRRD"),
    "nrrd text": ("a.nrrd", lambda p: p.write_text("hello"), "is damaged, cut short or not a NRRD"),
    "nrrd binary": ("a.nrrd", lambda p: p.write_bytes(bytes(range(256)) * 9), "is damaged, cut short or not a NRRD"),
    "nrrd type": ("a.nrrd", lambda p: edited_nrrd(p, b"type: short", b"type: shirt"), "is damaged"),
    "nrrd singular": ("a.nrrd", lambda p: nrrd(p, affine=np.diag([1.0, 1.0, 0.0, 1.0])), "voxel size of 1 x 1 x 0 mm"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "make", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_a_scan_that_cannot_be_used_is_named(tmp_path, name, make, sentence):
    path = tmp_path / name
    make(path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=sentence) as caught:
        read_volume(path)
    text = str(caught.value)
    assert name in text
    assert "\n" not in text and text.endswith((".", "name")), text
    assert text.count(". ") == 0, "one sentence"
    assert sorted(tmp_path.rglob("*")) == before


def test_one_time_point_is_a_3d_volume(tmp_path):
    nifti(tmp_path / "a.nii.gz", noise[..., None])
    assert np.array_equal(read_volume(tmp_path / "a.nii.gz").array, noise)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (noise / 7.0, "holds fractions"),
        (-noise.astype(np.int16), "holds the label -"),
        (noise.astype(np.int32) * 10_000, "holds the label .*; labels go from 0 to 65535"),
        (np.where(noise == 1, np.nan, noise), "holds fractions"),
    ],
)
def test_numbers_that_are_no_labels_are_refused(tmp_path, array, sentence):
    nifti(tmp_path / "a.nii.gz", array)
    with pytest.raises(InputError, match=rf"^a\.nii\.gz {sentence}"):
        read_labels(tmp_path / "a.nii.gz")


def test_a_segmentation_without_segments_is_refused(tmp_path):
    nrrd(tmp_path / "a.seg.nrrd")
    with pytest.raises(InputError, match=r"^a\.seg\.nrrd lists no segments"):
        read_labels(tmp_path / "a.seg.nrrd")


@pytest.mark.parametrize("name", ["a.jpg", "nifti", "missing folder/a.nii.gz", "a.seg.nii.gz.zip"])
def test_nothing_is_written_where_it_cannot_be(tmp_path, name):
    with pytest.raises(InputError):
        write_labels(LabelMap(noise, np.eye(4)), tmp_path / name)
    with pytest.raises(InputError):
        write_volume(Volume(noise, np.eye(4)), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    nifti(tmp_path / "a.nii.gz", noise)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(InputError, match="pip install nibabel"):
        read_volume(tmp_path / "a.nii.gz")
