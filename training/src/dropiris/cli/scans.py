"""What a segmenting verb is given and where its results go: a scan, a DICOM folder, or a folder of scans."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dropiris.cli.progress_bar import progress_bar
from dropiris.cli.sentences import CANCELLED, say, sentence_of
from dropiris.errors import Cancelled, DropIrisError, InputError
from dropiris.progress import CancelToken, ProgressCallback
from dropiris.volume import LabelMap, Volume

if TYPE_CHECKING:
    from dropiris.measure import StructureStatistics
    from dropiris.trust import StructureTrust

Trusted = Mapping[str, "StructureTrust"]

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


@dataclass(frozen=True)
class Job:
    """One scan and the file its result goes to."""

    scan: Path
    result: Path


@dataclass(frozen=True)
class Algorithm:
    """What a DICOM segmentation says made it."""

    name: str
    version: str


def plan(scan: Path, output: Path, ending: Ending, statistics: Path | None = None) -> list[Job]:
    """Pair every input scan with its result; refuse before any work what could not be written after it."""
    from dropiris.files import is_scan, list_scans

    if not scan.exists():
        raise InputError(f"{scan} does not exist; check the path.")
    if is_scan(scan):
        names_file = output.name.lower().endswith(ENDINGS)
        if not names_file and "." in output.name and not output.is_dir():
            raise InputError(f"{output} has no known ending; end it in .nii.gz, .nrrd, .seg.nrrd or .dcm.")
        jobs = [Job(scan, output if names_file else output / f"{_stem(scan)}{ending.value}")]
    else:
        scans = list(list_scans(scan)) if scan.is_dir() else []
        if not scans:
            raise InputError(f"{scan} holds no scan that can be read; give NIfTI, NRRD or a DICOM folder.")
        if output.name.lower().endswith(ENDINGS) or output.is_file():
            raise InputError(f"{output} is one file, but {scan} is a folder of scans; give a folder.")
        names = _result_names(scans)
        jobs = [Job(path, output / f"{name}{ending.value}") for path, name in zip(scans, names, strict=True)]
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


def run(
    jobs: list[Job],
    segment: Callable[[Volume, ProgressCallback, CancelToken], LabelMap],
    algorithm: Algorithm,
    statistics: Path | None = None,
    check: Callable[[Volume, LabelMap, ProgressCallback, CancelToken], Trusted] | None = None,
) -> None:
    """Segment and write one after the other; a scan that fails does not stop the rest, but the exit code is 1.

    The statistics of all scans that were done go into one table, whatever ends the run. ``check`` comes after a result
    was written, so that Ctrl-C during it keeps the result.
    """
    from dropiris.files import read_volume
    from dropiris.measure import segment_statistics, write_statistics_csv

    written, failed = 0, 0
    measured: dict[str, list[StructureStatistics]] = {}
    try:
        for job in jobs:
            try:
                with progress_bar(job.scan.name) as progress:
                    volume = read_volume(job.scan)
                    labels = segment(volume, progress, CancelToken())
                    job.result.parent.mkdir(parents=True, exist_ok=True)
                    _write(labels, job, algorithm)
                    written += 1
                    rows = measured[job.scan.name] = segment_statistics(volume, labels)
                    if check is not None:
                        trust = _checked(partial(check, volume, labels, progress, CancelToken()))
                        rows = measured[job.scan.name] = [replace(row, trust=trust.get(row.name)) for row in rows]
                typer.echo(f"{job.result}: {_found(rows)}")
            except (KeyboardInterrupt, Cancelled):
                raise Cancelled(
                    f"Cancelled; {written} of {len(jobs)} results were written." if written else CANCELLED
                ) from None
            except InputError as problem:
                if len(jobs) == 1:
                    raise
                failed += 1
                say(f"Error: {sentence_of(problem)}")
    finally:
        if statistics is not None and measured:
            write_statistics_csv(statistics, measured)
    if failed:
        raise InputError(f"{failed} of {len(jobs)} scans could not be segmented; see the lines above.")


def names_of(values: list[str] | None) -> list[str] | None:
    """Structures as typed, repeated or separated by commas; None means all."""
    names = [name.strip() for value in values or [] for name in value.split(",") if name.strip()]
    return names or None


def _found(rows: Sequence[StructureStatistics]) -> str:
    found = [f"{row.name} {row.volume_ml:.1f} mL{_trusted(row)}" for row in rows if not row.is_empty]
    return ", ".join(found) if found else "no structure was found"


def _checked(check: Callable[[], Trusted]) -> Trusted:
    """What a check says; one that fails costs the numbers, not the result."""
    try:
        return check()
    except Cancelled:
        raise
    except DropIrisError as problem:
        say(f"Note: the result could not be checked: {sentence_of(problem)}")
        return {}


def _trusted(row: StructureStatistics) -> str:
    if row.trust is None or not row.trust.checked:
        return ""
    return f" (trust {row.trust.value:.2f}{', ' + row.trust.flag if row.trust.flag else ''})"


def _check_dicom(job: Job) -> None:
    from dropiris.files.dicom_series import is_series
    from dropiris.files.dicom_slices import is_dicom, read_header
    from dropiris.files.reading import library

    if not is_series(job.scan):
        raise InputError(f"{job.scan} is no DICOM series, so its result cannot be one; end the output in .nii.gz.")
    if is_dicom(job.result) and read_header(job.result).get("Modality") != "SEG":
        raise InputError(f"{job.result} would overwrite a DICOM file that is no segmentation; choose another output.")
    library("highdicom", "dropiris[dicom]", "DICOM SEG")


def _check_table(table: Path, jobs: list[Job]) -> None:
    taken = {path.resolve() for job in jobs for path in (job.scan, job.result)}
    if table.is_dir() or table.resolve() in taken:
        raise InputError(f"{table} cannot hold the statistics; give the name of a new .csv file.")
    if not table.parent.is_dir():
        raise InputError(f"The folder {table.parent} does not exist; create it first.")


def _write(labels: LabelMap, job: Job, algorithm: Algorithm) -> None:
    if not job.result.name.lower().endswith(".dcm"):
        from dropiris.files import write_labels

        write_labels(labels, job.result)
        return
    from dropiris.files.dicom_seg import write_dicom_seg

    uncoded = write_dicom_seg(labels, job.scan, job.result, algorithm.name, algorithm.version)
    if uncoded:
        say(f"Note: no code is known for {', '.join(uncoded)}; written as tissue.")


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
