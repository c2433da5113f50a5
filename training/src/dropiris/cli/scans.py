"""What a segmenting verb is given and where its results go: a scan, a DICOM folder, or a folder of scans."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import typer

from dropiris.cli.progress_bar import progress_bar
from dropiris.cli.sentences import CANCELLED, say, sentence_of
from dropiris.errors import Cancelled, InputError
from dropiris.progress import CancelToken, ProgressCallback
from dropiris.volume import LabelMap, Volume

ENDINGS = (".seg.nrrd", ".nii.gz", ".nrrd")
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


@dataclass(frozen=True)
class Job:
    """One scan and the file its result goes to."""

    scan: Path
    result: Path


def plan(scan: Path, output: Path, ending: Ending) -> list[Job]:
    """Pair every input scan with its result; refuse before any work what could not be written after it."""
    from dropiris.files import is_scan, list_scans

    if not scan.exists():
        raise InputError(f"{scan} does not exist; check the path.")
    if is_scan(scan):
        names_file = output.name.lower().endswith(ENDINGS)
        if not names_file and "." in output.name and not output.is_dir():
            raise InputError(f"{output} has no known ending; end it in .nii.gz, .nrrd or .seg.nrrd.")
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
    return jobs


def run(jobs: list[Job], segment: Callable[[Volume, ProgressCallback, CancelToken], LabelMap]) -> None:
    """Segment and write one after the other; a scan that fails does not stop the rest, but the exit code is 1."""
    from dropiris.files import read_volume, write_labels

    written, failed = 0, 0
    for job in jobs:
        try:
            with progress_bar(job.scan.name) as progress:
                labels = segment(read_volume(job.scan), progress, CancelToken())
                job.result.parent.mkdir(parents=True, exist_ok=True)
                write_labels(labels, job.result)
            written += 1
            typer.echo(f"{job.result}: {_found(labels)}")
        except (KeyboardInterrupt, Cancelled):
            raise Cancelled(
                f"Cancelled; {written} of {len(jobs)} results were written." if written else CANCELLED
            ) from None
        except InputError as problem:
            if len(jobs) == 1:
                raise
            failed += 1
            say(f"Error: {sentence_of(problem)}")
    if failed:
        raise InputError(f"{failed} of {len(jobs)} scans could not be segmented; see the lines above.")


def names_of(values: list[str] | None) -> list[str] | None:
    """Structures as typed, repeated or separated by commas; None means all."""
    names = [name.strip() for value in values or [] for name in value.split(",") if name.strip()]
    return names or None


def _found(labels: LabelMap) -> str:
    import numpy as np

    sizes = np.bincount(labels.array.ravel())
    voxel_ml = abs(float(np.linalg.det(labels.affine[:3, :3]))) / 1000.0
    volumes = {s.name: float(sizes[s.label]) * voxel_ml for s in labels.structures if s.label < sizes.size}
    found = [f"{name} {volume:.1f} mL" for name, volume in volumes.items() if volume > 0]
    return ", ".join(found) if found else "no structure was found"


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
