"""What a segmenting verb is given and where its results go: a scan, a DICOM folder, or a folder of scans."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dropiris.cli.progress_bar import progress_bar
from dropiris.cli.sentences import CANCELLED, say
from dropiris.cohort.case import Case
from dropiris.errors import Cancelled, InputError
from dropiris.progress import CancelToken

if TYPE_CHECKING:
    from dropiris.cohort.station import Station
    from dropiris.measure import StructureStatistics

ENDINGS = (".seg.nrrd", ".nii.gz", ".nrrd", ".dcm")
_INPUT_ENDINGS = (".seg.nrrd", ".nii.gz", ".nrrd", ".nhdr", ".nii")


class DeviceChoice(str, enum.Enum):
    """Where the network runs."""

    auto = "auto"
    cuda = "cuda"
    mps = "mps"
    cpu = "cpu"


class Ending(str, enum.Enum):
    """Format of the results of a folder."""

    seg = ".seg.nrrd"
    nifti = ".nii.gz"
    nrrd = ".nrrd"
    dicom = ".dcm"


def is_cohort(scan: Path) -> bool:
    """Whether an input is a folder of scans, not one scan."""
    from dropiris.files import is_scan

    return scan.is_dir() and not is_scan(scan)


def plan(scan: Path, output: Path, ending: Ending, statistics: Path | None = None) -> list[Case]:
    """Pair every input scan with its result; refuse before any work what could not be written after it."""
    from dropiris.files import is_scan, list_scans

    if not scan.exists():
        raise InputError(f"{scan} does not exist; check the path.")
    if is_scan(scan):
        names_file = output.name.lower().endswith(ENDINGS)
        if not names_file and "." in output.name and not output.is_dir():
            raise InputError(f"{output} has no known ending; end it in .nii.gz, .nrrd, .seg.nrrd or .dcm.")
        jobs = [Case(scan, output if names_file else output / f"{_stem(scan)}{ending.value}")]
    else:
        scans = list(list_scans(scan)) if scan.is_dir() else []
        if not scans:
            raise InputError(f"{scan} holds no scan that can be read; give NIfTI, NRRD or a DICOM folder.")
        if output.name.lower().endswith(ENDINGS) or output.is_file():
            raise InputError(f"{output} is one file, but {scan} is a folder of scans; give a folder.")
        names = _result_names(scans)
        jobs = [Case(path, output / f"{name}{ending.value}") for path, name in zip(scans, names, strict=True)]
    for job in jobs:
        if job.result.exists() and job.result.resolve() == job.scan.resolve():
            raise InputError(f"{job.result} would overwrite its own scan; choose another output.")
        if job.result.is_dir():
            raise InputError(f"{job.result} is a folder; choose another output.")
        if job.result.name.lower().endswith(".dcm"):
            _check_dicom(job)
    if statistics is not None:
        _check_table(statistics, jobs)
    return jobs


def run(case: Case, station: Station, statistics: Path | None = None) -> None:
    """Segment one scan and write its result, then its statistics.

    A check comes after the result was written, so that Ctrl-C during it keeps the result.
    """
    from dropiris.files import read_volume
    from dropiris.measure import segment_statistics, write_statistics_csv

    rows: list[StructureStatistics] = []
    written = False
    try:
        with progress_bar(case.scan.name) as progress:
            volume = read_volume(case.scan)
            labels = station.segment(volume, progress, CancelToken())
            notes = station.write(labels, case)
            written = True
            rows = segment_statistics(volume, labels)
            rows, more = station.checked(volume, labels, rows, progress)
        for note in notes + more:
            say(f"Note: {note}")
        typer.echo(f"{case.result}: {found(rows)}")
    except (KeyboardInterrupt, Cancelled):
        raise Cancelled("Cancelled; 1 of 1 results were written." if written else CANCELLED) from None
    finally:
        if statistics is not None and rows:
            write_statistics_csv(statistics, {case.scan.name: rows})


def names_of(values: list[str] | None) -> list[str] | None:
    """Structures as typed, repeated or separated by commas; None means all."""
    names = [name.strip() for value in values or [] for name in value.split(",") if name.strip()]
    return names or None


def found(rows: Sequence[StructureStatistics]) -> str:
    """What a line says of a result."""
    volumes = [f"{row.name} {row.volume_ml:.1f} mL{_trusted(row)}" for row in rows if not row.is_empty]
    return ", ".join(volumes) if volumes else "no structure was found"


def _trusted(row: StructureStatistics) -> str:
    if row.trust is None or not row.trust.checked:
        return ""
    return f" (trust {row.trust.value:.2f}{', ' + row.trust.flag if row.trust.flag else ''})"


def _check_dicom(job: Case) -> None:
    from dropiris.files.dicom_series import is_series
    from dropiris.files.dicom_slices import is_dicom, read_header
    from dropiris.files.reading import library

    if not is_series(job.scan):
        raise InputError(f"{job.scan} is no DICOM series, so its result cannot be one; end the output in .nii.gz.")
    if is_dicom(job.result) and read_header(job.result).get("Modality") != "SEG":
        raise InputError(f"{job.result} would overwrite a DICOM file that is no segmentation; choose another output.")
    library("highdicom", "dropiris[dicom]", "DICOM SEG")


def _check_table(table: Path, jobs: list[Case]) -> None:
    taken = {path.resolve() for job in jobs for path in (job.scan, job.result)}
    if table.is_dir() or table.resolve() in taken:
        raise InputError(f"{table} cannot hold the statistics; give the name of a new .csv file.")
    if not table.parent.is_dir():
        raise InputError(f"The folder {table.parent} does not exist; create it first.")


def _stem(path: Path) -> str:
    for ending in _INPUT_ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.name if path.is_dir() else path.stem


def _result_names(scans: list[Path]) -> list[str]:
    """nnU-Net's "_0000" is dropped, so results are named as labels are, unless two names would become one."""
    stems = [_stem(path) for path in scans]
    cases = [stem[:-5] if stem.endswith("_0000") else stem for stem in stems]
    names = cases if len(set(cases)) == len(cases) else stems
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"Two scans are named {twice[0]!r}; rename one, or their results would overwrite each other.")
    return names
