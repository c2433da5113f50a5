"""``dropiris dropgen segment``: real runs of a tiny model, and every way of calling it wrongly."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import Result

from dropiris.files import read_labels

Run = Callable[..., Result]


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".seg.nrrd"])
def test_a_scan_is_segmented_on_its_own_grid(dropiris: Run, scan: Path, tmp_path: Path, ending: str) -> None:
    output = tmp_path / "new folder" / f"result{ending}"
    done = dropiris("dropgen", "segment", scan, "-m", "tiny", "-o", output, "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    layers, image = read_labels(output), nibabel.load(scan)
    assert layers[0].shape == image.shape
    np.testing.assert_allclose(layers[0].affine, image.affine, atol=1e-5)
    assert {s.name for s in layers[0].structures} <= {"liver", "spleen"}
    assert str(output) in done.stdout


def test_only_the_chosen_structures_are_written(dropiris: Run, scan: Path, tmp_path: Path) -> None:
    output = tmp_path / "result.seg.nrrd"
    done = dropiris("dropgen", "segment", scan, "-m", "tiny", "-o", output, "-s", "spleen", "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    assert {s.name for layer in read_labels(output) for s in layer.structures} <= {"spleen"}


def test_a_folder_of_scans_makes_a_folder_of_results_named_as_labels(dropiris: Run, scan: Path, tmp_path: Path) -> None:
    folder = tmp_path / "imagesTs"
    folder.mkdir()
    for case in ("a_0000", "b_0000"):
        shutil.copy(scan, folder / f"{case}.nii.gz")
    done = dropiris("dropgen", "segment", folder, "-m", "tiny", "-o", tmp_path / "out", "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").glob("*.nii.gz")} == {"a.nii.gz", "b.nii.gz"}


def test_a_scan_that_fails_does_not_stop_the_others(dropiris: Run, scan: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "a.nii.gz").write_bytes(b"no scan")
    shutil.copy(scan, folder / "b.nii.gz")
    done = dropiris(
        "dropgen", "segment", folder, "-m", "tiny", "-o", tmp_path / "out", "--ending", ".nrrd", "--device", "cpu"
    )
    assert done.exit_code == 1
    assert "a.nii.gz" in done.stderr and "1 of 2" in done.stderr
    assert [path.name for path in (tmp_path / "out").glob("*.nrrd")] == ["b.nrrd"]


def dicom_folder(folder: Path, slices: int = 12) -> Path:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True)
    series, rng = generate_uid(), np.random.default_rng(0)
    for n in range(slices):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        file = FileDataset(str(folder / f"{n}.dcm"), {}, file_meta=meta, preamble=b"\0" * 128)
        file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        file.SeriesInstanceUID, file.Modality, file.InstanceNumber = series, "CT", n + 1
        file.ImagePositionPatient, file.ImageOrientationPatient = [-20, -15, 3.0 * n], [1, 0, 0, 0, 1, 0]
        file.PixelSpacing, file.SliceThickness = [1.5, 1.5], 3.0
        file.Rows, file.Columns, file.SamplesPerPixel, file.PhotometricInterpretation = 30, 40, 1, "MONOCHROME2"
        file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 1
        file.RescaleSlope, file.RescaleIntercept = 1, -1024
        file.PixelData = rng.integers(0, 2000, (30, 40)).astype("<i2").tobytes()
        file.save_as(folder / f"{n}.dcm", enforce_file_format=True)
    return folder


def test_a_dicom_folder_is_one_scan_and_a_folder_of_them_are_several(dropiris: Run, tmp_path: Path) -> None:
    for case in ("p1", "p2"):
        dicom_folder(tmp_path / "dicom" / case)
    one = dropiris(
        "dropgen", "segment", tmp_path / "dicom" / "p1", "-m", "tiny", "-o", tmp_path / "p1.nii.gz", "--device", "cpu"
    )
    assert one.exit_code == 0, one.output
    assert read_labels(tmp_path / "p1.nii.gz")[0].spacing == pytest.approx([1.5, 1.5, 3.0], abs=1e-5)
    both = dropiris("dropgen", "segment", tmp_path / "dicom", "-m", "tiny", "-o", tmp_path / "out", "--device", "cpu")
    assert both.exit_code == 0, both.output
    assert {path.name for path in (tmp_path / "out").glob("*.nii.gz")} == {"p1.nii.gz", "p2.nii.gz"}


def one_sentence(done: Result, code: int, *named: str) -> None:
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("Error: ")
    for text in named:
        assert text in done.stderr


def test_what_cannot_be_read_is_named(dropiris: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.nii.gz"
    one_sentence(dropiris("dropgen", "segment", tmp_path / "absent.nii", "-m", "tiny", "-o", out), 1, "absent.nii")
    (tmp_path / "broken.nii.gz").write_bytes(b"\x1f\x8b not really")
    broken = dropiris("dropgen", "segment", tmp_path / "broken.nii.gz", "-m", "tiny", "-o", out, "--device", "cpu")
    one_sentence(broken, 1, "broken.nii.gz")
    (tmp_path / "empty").mkdir()
    one_sentence(dropiris("dropgen", "segment", tmp_path / "empty", "-m", "tiny", "-o", tmp_path), 1, "holds no scan")
    assert not out.exists()


def test_models_that_do_not_fit_are_named(dropiris: Run, scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.nii.gz"
    one_sentence(dropiris("dropgen", "segment", scan, "-m", "tinny", "-o", out), 1, "'tinny'", "'tiny'")
    one_sentence(dropiris("dropgen", "segment", scan, "-m", "tiny-iris", "-o", out), 1, "dropiris iris segment")
    one_sentence(dropiris("dropgen", "segment", scan, "-m", "tiny", "-o", out, "-s", "heart"), 1, "heart", "liver")


def test_outputs_that_cannot_be_written_are_refused_before_the_work(dropiris: Run, scan: Path, tmp_path: Path) -> None:
    one_sentence(dropiris("dropgen", "segment", scan, "-m", "tiny", "-o", tmp_path / "out.mha"), 1, "out.mha", ".nrrd")
    before = scan.read_bytes()
    one_sentence(dropiris("dropgen", "segment", scan, "-m", "tiny", "-o", scan), 1, "overwrite")
    assert scan.read_bytes() == before
    folder = tmp_path / "scans"
    folder.mkdir()
    shutil.copy(scan, folder / "a.nii.gz")
    one_sentence(dropiris("dropgen", "segment", folder, "-m", "tiny", "-o", tmp_path / "one.nii.gz"), 1, "folder")


@pytest.mark.parametrize(
    "words", [[], ["scan.nii"], ["scan.nii", "-m", "tiny"], ["a", "-m", "b", "-o", "c", "--device", "tpu"], ["--wrong"]]
)
def test_bad_usage_ends_with_code_2_and_one_sentence(dropiris: Run, words: list[str]) -> None:
    one_sentence(dropiris("dropgen", "segment", *words), 2, "dropgen segment --help")


def test_debug_shows_the_traceback_wherever_it_stands(dropiris: Run, tmp_path: Path) -> None:
    words = ["dropgen", "segment", tmp_path / "absent.nii", "-m", "tiny", "-o", tmp_path / "o.nii.gz"]
    for call in (["--debug", *words], [*words, "--debug"]):
        done = dropiris(*call)
        assert done.exit_code == 1 and type(done.exception).__name__ == "InputError"
