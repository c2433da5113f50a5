"""Write a dataset in nnU-Net v2's raw layout, complete or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from dropiris import __version__
from dropiris.conversion.source import ReadCase, Source, SourceCase
from dropiris.errors import InputError
from dropiris.files import write_volume
from dropiris.files.label_table import default_color
from dropiris.files.nifti import write_nifti
from dropiris.progress import Progress, ProgressCallback, ignore_progress
from dropiris.terminology_table import known_structure, with_codes
from dropiris.volume import LabelMap, Structure

ENDING = ".nii.gz"


@dataclass
class Converted:
    """What was written: cases by split, structures, and what a person should know."""

    cases: dict[str, int] = field(default_factory=dict)
    structures: list[Structure] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def write_dataset(
    source: Source,
    target: Path,
    *,
    about: dict[str, Any] | None = None,
    skip_broken: bool = False,
    progress: ProgressCallback = ignore_progress,
) -> Converted:
    """Convert one case after the other into a hidden folder, which takes its name when all went well.

    Parameters
    ----------
    target : Path
        Must not exist; its parent must.
    about : dict, optional
        Keys of ``dataset.json`` that replace the source's (licence, ...).
    skip_broken : bool
        Leave out cases that cannot be converted, and say so, instead of stopping at the first.

    Raises
    ------
    InputError
        The target exists or cannot be written, or a case cannot be converted: one sentence that names it.
    """
    if target.exists():
        raise InputError(f"{target} exists already; choose another folder or remove it.")
    if not target.absolute().parent.is_dir():
        raise InputError(f"The folder {target.absolute().parent} does not exist; create it first.")
    if not source.cases:
        raise InputError(f"{source.name} holds no case that can be converted; check the folder.")
    hidden = target.absolute().parent / f".{uuid4().hex[:8]}"
    done = Converted(structures=list(source.structures))
    channels = [list(source.channels)] if source.channels else []
    try:
        hidden.mkdir()
        for n, case in enumerate(source.cases):
            progress(Progress(case.name, n / len(source.cases)))
            try:
                read = case.read()
                names = list(source.channels) or [volume.modality or "scan" for volume in read.channels]
                if channels and len(channels[0]) != len(names):
                    raise InputError(f"It has {len(names)} channels, others {len(channels[0])}; give all the same.")
                _write_case(hidden, case, read, done)
            except InputError as problem:
                sentence = f"{case.name}: {problem}"
                if not skip_broken:
                    raise InputError(f"{sentence} (--skip-broken leaves such cases out)") from problem
                done.left_out.append(sentence)
                continue
            channels.append(names)
            done.cases[case.split] = done.cases.get(case.split, 0) + 1
            if read.remark:
                done.remarks.append(f"{case.name}: {read.remark}.")
        if not done.cases.get("Tr"):
            raise InputError(f"No labelled case of {source.name} could be converted; see what was left out.")
        text = json.dumps(_table(source, done, channels, about or {}), indent=2, ensure_ascii=False)
        (hidden / "dataset.json").write_text(text + "\n", encoding="utf-8")
        os.replace(hidden, target)
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise InputError(
            f"{target} cannot be written ({reason}); choose another place or free some space."
        ) from problem
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return done


def _write_case(root: Path, case: SourceCase, read: ReadCase, done: Converted) -> None:
    """Nothing of a case that cannot be written stays behind."""
    images, labels = root / f"images{case.split}", root / f"labels{case.split}"
    written: list[Path] = []
    try:
        images.mkdir(exist_ok=True)
        for n, volume in enumerate(read.channels):
            written.append(images / f"{case.name}_{n:04d}{ENDING}")
            write_volume(volume, written[-1])
        if read.labels is not None:
            labels.mkdir(exist_ok=True)
            written.append(labels / f"{case.name}{ENDING}")
            array = _renumbered(read.labels, done.structures)
            write_nifti(array, read.labels.affine, written[-1], written[-1])
    except InputError:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _renumbered(labels: LabelMap, structures: list[Structure]) -> np.ndarray:
    """The labels with the dataset's ids; structures that are new get the next ones."""
    ids = {structure.name: structure.label for structure in structures}
    values = sorted({int(v) for k in range(labels.shape[2]) for v in np.unique(labels.array[:, :, k])} - {0})
    by_value = {structure.label: structure for structure in labels.structures}
    lookup = np.zeros(max(values, default=0) + 1, np.uint16)
    for value in values:
        found = by_value.get(value) or Structure(value, f"label {value}", default_color(value))
        if found.name.strip().casefold() in ("background", "ignore", ""):
            raise InputError(f"The value {value} is called {found.name!r}; give it the name of a structure.")
        if found.name not in ids:
            ids[found.name] = max(ids.values(), default=0) + 1
            structures.append(replace(found, label=ids[found.name]))
        lookup[value] = ids[found.name]
    largest = max(ids.values(), default=0)
    return lookup.astype(np.uint8 if largest <= 255 else np.uint16)[labels.array]


def _table(source: Source, done: Converted, channels: Sequence[list[str]], about: dict[str, Any]) -> dict[str, Any]:
    names = [sorted({row[n] for row in channels}) for n in range(len(channels[0]))]
    notes = [source.about.get("notes", ""), f"Converted from {source.layout} by dropiris {__version__}."]
    return {
        "channel_names": {str(n): " or ".join(row) for n, row in enumerate(names)},
        "labels": {"background": 0, **{structure.name: structure.label for structure in done.structures}},
        "numTraining": done.cases.get("Tr", 0),
        "file_ending": ENDING,
        "name": source.name,
        "modality": "; ".join(" or ".join(row) for row in names),
        **{"licence": "", "source": "", **source.about, **about},
        "notes": " ".join(note for note in (*notes, *done.remarks, *_left_out(done)) if note),
        "structures": [
            {"label": s.label, "name": s.name, "color": list(s.color), "terminology": s.terminology}
            for s in with_codes(done.structures)
        ],
    }


def _left_out(done: Converted) -> list[str]:
    return [f"Left out: {'; '.join(done.left_out)}"] if done.left_out else []


def coloured(label: int, name: str) -> Structure:
    """A structure of a source that knows no colours: the terminology table's, else one that differs from its
    neighbours'."""
    known = known_structure(name)
    return Structure(label, name, known.color if known else default_color(label), known.entry if known else "")
