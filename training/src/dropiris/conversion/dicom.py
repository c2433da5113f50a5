"""Folders of DICOM files: image series, and the SEG or RTSTRUCT objects that were drawn on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dropiris.conversion.dicom_seg import read_segments
from dropiris.conversion.rtstruct import read_contours
from dropiris.conversion.source import Drawn, ReadCase, Source, SourceCase, named_once, paint
from dropiris.errors import InputError
from dropiris.files import read_volume
from dropiris.files.dicom_slices import NOT_SCANS, is_dicom, read_header
from dropiris.references.finding import listed
from dropiris.volume import Volume


@dataclass
class Series:
    """Image files of one series, as far as needed to find it."""

    uid: str
    patient: str
    study: str
    frame_of_reference: str
    files: list[Path] = field(default_factory=list)
    instances: set[str] = field(default_factory=set)


@dataclass
class Drawing:
    """A SEG or RTSTRUCT object and what it says it was drawn on."""

    path: Path
    kind: str
    study: str
    frame_of_reference: str
    series: set[str]
    instances: set[str]


def holds_dicom_files(folder: Path) -> bool:
    return any(path.is_file() and is_dicom(path) for path in folder.rglob("*"))


def open_dicom(folder: Path) -> Source:
    """Read every header under ``folder`` and pair drawings with their series.

    A case is called after its PatientID: convert data that was de-identified.
    """
    series, drawings = _scan(folder)
    if not drawings:
        raise InputError(f"{folder} holds {len(series)} DICOM series but no SEG or RTSTRUCT object; add the labels.")
    paired: dict[str, list[Drawing]] = {}
    for drawing in drawings:
        paired.setdefault(_drawn_on(drawing, series), []).append(drawing)
    cases = [
        SourceCase(series[uid].patient or series[uid].files[0].parent.name, partial(_read, series[uid], found))
        for uid, found in paired.items()
    ]
    alone = len(series) - len(paired)
    notes = f"{alone} series without labels were left out." if alone else ""
    return Source("dicom", folder.resolve().name, (), named_once(cases), (), {"notes": notes})


def _scan(folder: Path) -> tuple[dict[str, Series], list[Drawing]]:
    series: dict[str, Series] = {}
    drawings: list[Drawing] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name.upper() != "DICOMDIR"):
        if not is_dicom(path):
            continue
        header = read_header(path)
        modality, study = str(header.get("Modality", "")), str(header.get("StudyInstanceUID", ""))
        space = str(header.get("FrameOfReferenceUID", ""))
        if modality in ("SEG", "RTSTRUCT"):
            uids = {str(element.value) for element in _walk(header, "SeriesInstanceUID")}
            instances = {str(element.value) for element in _walk(header, "ReferencedSOPInstanceUID")}
            if modality == "RTSTRUCT":
                spaces = [
                    item.get("FrameOfReferenceUID", "") for item in header.get("ReferencedFrameOfReferenceSequence", [])
                ]
                space = str(next((one for one in spaces if one), space))
            own = str(header.get("SeriesInstanceUID", ""))
            drawings.append(Drawing(path, modality, study, space, uids - {own}, instances))
        elif "Rows" in header and modality not in NOT_SCANS:
            uid = str(header.get("SeriesInstanceUID", ""))
            found = series.setdefault(uid, Series(uid, str(header.get("PatientID", "") or ""), study, space))
            found.files.append(path)
            found.instances.add(str(header.get("SOPInstanceUID", "")))
    return series, drawings


def _walk(dataset: Any, keyword: str) -> Iterator[Any]:
    """Every element of that name, also inside sequences."""
    return (element for element in dataset.iterall() if element.keyword == keyword)


def _drawn_on(drawing: Drawing, series: dict[str, Series]) -> str:
    """The series a drawing belongs to: the one it names, else the one of its slices, else the only one of its space."""
    named = [uid for uid in series if uid in drawing.series]
    if not named:
        named = [uid for uid, one in series.items() if one.instances & drawing.instances]
    if not named:
        spaces = [uid for uid, one in series.items() if one.frame_of_reference == drawing.frame_of_reference != ""]
        named = spaces if len(spaces) == 1 else []
    if len(named) != 1:
        count = f"{len(named)} series" if named else "no series that is here"
        raise InputError(
            f"{drawing.path.name} ({drawing.kind}) refers to {count}; put it beside the one series it was drawn on."
        )
    return named[0]


def _read(series: Series, drawings: Sequence[Drawing]) -> ReadCase:
    folders = {path.parent for path in series.files}
    if len(folders) > 1:
        raise InputError(
            f"The series lies in {len(folders)} folders ({listed([f.name for f in folders])}); put it into one."
        )
    volume = read_volume(series.files[0])
    scan = Volume(volume.array, volume.affine, series.files[0].parent.name, volume.modality)
    drawn: list[Drawn] = []
    for drawing in drawings:
        reader = read_segments if drawing.kind == "SEG" else read_contours
        for one in reader(drawing.path, scan):
            if any(one.structure.name == other.structure.name for other in drawn):
                raise InputError(
                    f"{one.structure.name!r} is drawn more than once ({drawing.path.name}); keep one of them."
                )
            drawn.append(one)
    labels, remark = paint(drawn, scan, drawings[0].path.name)
    return ReadCase((scan,), labels, remark)
