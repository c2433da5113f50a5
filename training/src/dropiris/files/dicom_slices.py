"""One DICOM file -> its slices: where each lies and how its pixels become intensities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dropiris.errors import InputError
from dropiris.files.reading import library, reading

# Objects with pixels that are no scans: segmentations, doses, presentation states, documents.
NOT_SCANS = {"SEG", "RTDOSE", "RTSTRUCT", "RTPLAN", "PR", "KO", "SR", "DOC"}


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice in DICOM's own coordinates (LPS, mm).

    Attributes
    ----------
    path, frame : Path, int
        Where its pixels are.
    position : ndarray (3,)
        Centre of the first pixel.
    columns, rows : ndarray (3,)
        Step from one column to the next, and from one row to the next, mm.
    shape : (rows, columns)
    slope, intercept : float
        Stored value to intensity.
    """

    path: Path
    frame: int
    position: np.ndarray
    columns: np.ndarray
    rows: np.ndarray
    shape: tuple[int, int]
    slope: float
    intercept: float


def is_dicom(path: Path) -> bool:
    """Whether a file starts as DICOM files do (128 bytes, then ``DICM``)."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_header(path: Path) -> Any:
    """Everything but the pixels."""
    pydicom = library("pydicom", "pydicom", "DICOM")
    with reading(path, "a DICOM file", pydicom.errors.InvalidDicomError, AttributeError, NotImplementedError):
        return pydicom.dcmread(path, stop_before_pixels=True)


def slices_of(path: Path, header: Any) -> list[Slice]:
    """The slices of one file: one of a classic image, many of an enhanced multi-frame one."""
    if header.get("SamplesPerPixel", 1) != 1 or "MONOCHROME" not in str(header.get("PhotometricInterpretation", "")):
        raise InputError(f"{path.name} is a colour picture or a screen capture; choose the scan itself.")
    frames = header.get("PerFrameFunctionalGroupsSequence")
    if frames is None and int(header.get("NumberOfFrames", 1) or 1) > 1:
        raise InputError(f"{path.name} is a film without slice positions; choose a series of 3D slices.")
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    groups = [[header]] if frames is None else [[frame, *([shared] if shared else []), header] for frame in frames]
    return [_slice(path, header, n, group) for n, group in enumerate(groups)]


def _slice(path: Path, header: Any, frame: int, groups: list[Any]) -> Slice:
    position = _value(groups, "PlanePositionSequence", "ImagePositionPatient")
    orientation = _value(groups, "PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = _value(groups, "PixelMeasuresSequence", "PixelSpacing")
    if position is None or orientation is None or spacing is None:
        raise InputError(
            f"{path.name} has no position in the patient (a projection or a screen capture); choose a scan."
        )
    slope = _value(groups, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _value(groups, "PixelValueTransformationSequence", "RescaleIntercept")
    with reading(path, "a DICOM scan", AttributeError, TypeError):
        along = np.array(orientation, dtype=float).reshape(2, 3)
        between_rows, between_columns = (float(s) for s in spacing)
        return Slice(
            path=path,
            frame=frame,
            position=np.array(position, dtype=float).reshape(3),
            columns=along[0] * between_columns,
            rows=along[1] * between_rows,
            shape=(int(header.Rows), int(header.Columns)),
            slope=1.0 if slope is None else float(slope),
            intercept=0.0 if intercept is None else float(intercept),
        )


def _value(groups: list[Any], sequence: str, key: str) -> Any:
    """A value from the first group that has it: of the frame, of all frames, or of the file."""
    for group in groups:
        items = group.get(sequence)
        found = (items[0] if items else group).get(key)
        if found is not None:
            return found
    return None


def pixels_of(slices: list[Slice]) -> Iterator[np.ndarray]:
    """Stored pixels (rows, columns) of each slice in turn; a file with many frames is decoded once."""
    decoded: tuple[Path, np.ndarray] | None = None
    for piece in slices:
        if decoded is None or decoded[0] != piece.path:
            decoded = (piece.path, _decode(piece.path).reshape(-1, *piece.shape))
        yield decoded[1][piece.frame]


def _decode(path: Path) -> np.ndarray:
    pydicom = library("pydicom", "pydicom", "DICOM")
    with reading(path, "a DICOM file", pydicom.errors.InvalidDicomError, AttributeError):
        dataset = pydicom.dcmread(path)
        syntax = dataset.file_meta.get("TransferSyntaxUID")
    with reading(path, "a DICOM file", AttributeError, NotImplementedError, RuntimeError):
        try:
            return dataset.pixel_array
        except (RuntimeError, NotImplementedError, AttributeError) as error:
            if syntax is not None and syntax.is_compressed:
                raise InputError(
                    f"{path.name} is compressed ({syntax.name}) and could not be decoded; install "
                    "pylibjpeg[all] with pip, or export the scan uncompressed."
                ) from error
            raise
