"""``--statistics`` and DICOM SEG outputs of the segmenting verbs: real runs of tiny models."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from typer.testing import Result

from dropiris.files import read_labels, read_volume

Run = Callable[..., Result]


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_statistics_are_those_of_the_written_result(dropiris: Run, scan: Path, tmp_path: Path) -> None:
    output, table = tmp_path / "result.nii.gz", tmp_path / "figures.csv"
    words = ("segment", scan, "-m", "tiny", "-o", output, "--statistics", table, "--device", "cpu")
    done = dropiris("dropgen", *words)
    assert done.exit_code == 0, done.stderr
    (labels,), volume = read_labels(output), read_volume(scan)
    rows = rows_of(table)
    assert [row["structure"] for row in rows] == [s.name for s in labels.structures]
    for row, structure in zip(rows, labels.structures, strict=True):
        mask = labels.mask(structure)
        assert row["scan"] == scan.name and int(row["voxels"]) == mask.sum()
        assert float(row["volume_mL"]) == pytest.approx(mask.sum() * 2.0 / 1000, rel=1e-4)
        if mask.any():
            assert float(row["mean"]) == pytest.approx(volume.array[mask].mean(), rel=1e-4)
            assert f"{structure.name} {mask.sum() * 2.0 / 1000:.1f} mL" in done.stdout


def test_scans_of_a_folder_share_one_table_even_when_one_fails(dropiris: Run, scan: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "a.nii.gz").write_bytes(b"no scan")
    for name in ("b", "c"):
        shutil.copy(scan, folder / f"{name}.nii.gz")
    table = tmp_path / "figures.csv"
    words = ("segment", folder, "-m", "tiny", "-o", tmp_path / "out", "--statistics", table, "--device", "cpu")
    done = dropiris("dropgen", *words)
    assert done.exit_code == 1 and "1 of 3" in done.stderr
    assert {row["scan"] for row in rows_of(table)} == {"b.nii.gz", "c.nii.gz"}


def test_iris_measures_too(dropiris: Run, scan: Path, labels: Path, tmp_path: Path) -> None:
    table = tmp_path / "figures.csv"
    words = ("segment", scan, "--reference", scan, labels, "-m", "tiny-iris", "-o", tmp_path / "out.seg.nrrd")
    done = dropiris("iris", *words, "--statistics", table, "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    assert len(rows_of(table)) == 2


def test_trust_stands_beside_the_figures(dropiris: Run, scan: Path, labels: Path, tmp_path: Path) -> None:
    table = tmp_path / "figures.csv"
    words = ("segment", scan, "-m", "tiny", "-o", tmp_path / "a.nii.gz", "--statistics", table, "--device", "cpu")
    done = dropiris("dropgen", *words, "--trust")
    assert done.exit_code == 0, done.stderr
    for row in rows_of(table):
        assert 0 <= float(row["trust"]) <= 1 and row["flag"] == ("" if int(row["voxels"]) else "not found")
        assert int(row["voxels"]) == 0 or f"(trust {float(row['trust']):.2f})" in done.stdout
    words = ("segment", scan, "-m", "tiny-iris", "-o", tmp_path / "b.seg.nrrd", "--device", "cpu", "--trust")
    done = dropiris("iris", *words, "--reference", scan, labels, "--statistics", table)
    assert done.exit_code == 0, done.stderr
    assert all(0 <= float(row["trust"]) <= 1 for row in rows_of(table))
    task = tmp_path / "task.safetensors"
    assert dropiris("iris", "encode", scan, labels, "-m", "tiny-iris", "-o", task, "--device", "cpu").exit_code == 0
    done = dropiris("iris", *words, "--task", task, "--statistics", table)
    assert done.exit_code == 0 and "saved task holds no image" in done.stderr
    assert {(row["trust"], row["flag"]) for row in rows_of(table)} == {("", "")}


def test_tables_that_cannot_be_written_are_refused_before_the_work(dropiris: Run, scan: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.nii.gz"
    for table, reason in (
        (scan, "cannot hold"),
        (output, "cannot hold"),
        (tmp_path / "no" / "f.csv", "does not exist"),
    ):
        done = dropiris("dropgen", "segment", scan, "-m", "tiny", "-o", output, "--statistics", table)
        assert done.exit_code == 1 and reason in done.stderr
    assert not output.exists()


def series(folder: Path) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for n in range(12):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, f"1.2.3.{n + 1}"
        file = FileDataset(str(folder / f"{n}.dcm"), {}, file_meta=meta, preamble=b"\0" * 128)
        file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, f"1.2.3.{n + 1}"
        file.SeriesInstanceUID, file.StudyInstanceUID, file.FrameOfReferenceUID = "1.2.3", "1.2", "1.2.4"
        file.Modality, file.PatientID, file.Rows, file.Columns = "CT", "P1", 36, 40
        file.ImagePositionPatient, file.ImageOrientationPatient = [0, 0, 3.0 * n], [1, 0, 0, 0, 1, 0]
        file.PixelSpacing, file.SliceThickness = [1.0, 1.0], 3.0
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
        file.PixelData = rng.integers(0, 1000, (36, 40), np.uint16).tobytes()
        file.save_as(folder / f"{n}.dcm", enforce_file_format=True)
    return folder


def test_a_dicom_series_makes_a_dicom_segmentation(dropiris: Run, tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom", reason="highdicom (dropiris[dicom]) is not installed")
    folder = series(tmp_path / "CT 1")
    plain, output = tmp_path / "out" / "result.nii.gz", tmp_path / "out" / "result.dcm"
    for path in (plain, output):
        done = dropiris("dropgen", "segment", folder, "-m", "tiny", "-o", path, "--device", "cpu")
        assert done.exit_code == 0, done.stderr
    (labels,) = read_labels(plain)
    segmentation = highdicom.seg.segread(output)
    found = [s for s in labels.structures if labels.mask(s).any()]
    assert [segment.SegmentLabel for segment in segmentation.SegmentSequence] == [s.name for s in found]
    (maker,) = segmentation.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence
    assert (maker.AlgorithmName, maker.AlgorithmVersion) == ("Tiny organs", "1.0.0")
    for number, structure in enumerate(found, start=1):
        volume = segmentation.get_volume(segment_numbers=[number], combine_segments=False)
        array = np.asarray(volume.array)
        assert array.sum() == labels.mask(structure).sum()
    assert pydicom.dcmread(output).PatientID == "P1"


def test_a_slice_of_the_series_is_never_overwritten(dropiris: Run, tmp_path: Path) -> None:
    folder = series(tmp_path / "CT 1")
    before = (folder / "3.dcm").read_bytes()
    done = dropiris("dropgen", "segment", folder, "-m", "tiny", "-o", folder / "3.dcm")
    assert done.exit_code == 1 and "would overwrite" in done.stderr
    assert (folder / "3.dcm").read_bytes() == before


def test_a_folder_of_results_can_be_dicom(dropiris: Run, tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="highdicom (dropiris[dicom]) is not installed")
    folder = series(tmp_path / "CT 1")
    words = ("segment", folder, "-m", "tiny", "-o", tmp_path / "out", "--ending", ".dcm", "--device", "cpu")
    done = dropiris("dropgen", *words)
    assert done.exit_code == 0, done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["CT 1.dcm"]


def test_what_was_no_dicom_becomes_none(dropiris: Run, scan: Path, tmp_path: Path) -> None:
    done = dropiris("dropgen", "segment", scan, "-m", "tiny", "-o", tmp_path / "result.dcm")
    assert done.exit_code == 1 and "is no DICOM series" in done.stderr
    assert not (tmp_path / "result.dcm").exists()
