"""Which prediction belongs to which label map, and what the labels mean (nnU-Net's ``dataset.json``)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dropiris.errors import InputError

# Longest first: ".seg.nrrd" before ".nrrd".
ENDINGS = (".seg.nrrd", ".nii.gz", ".nrrd", ".nii")


@dataclass(frozen=True)
class CasePair:
    """A prediction and the label map it is compared with."""

    case: str
    prediction: Path
    labels: Path


@dataclass(frozen=True)
class DatasetTable:
    """What ``dataset.json`` says about the labels.

    Attributes
    ----------
    labels : dict
        Structure name to label value, background left out.
    partially_labelled : dict
        Case to the names that were annotated in it; a case that is not listed is annotated completely.
    """

    labels: dict[str, int] = field(default_factory=dict)
    partially_labelled: dict[str, tuple[str, ...]] = field(default_factory=dict)


def plain_name(name: str) -> str:
    """A structure's name for comparing: "Right_Kidney" and "right kidney" are one structure."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def case_name(path: Path) -> str:
    """The file name without its ending."""
    for ending in ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.stem


def find_pairs(predictions: Path, labels: Path, ignore_missing: bool = False) -> list[CasePair]:
    """Pair two files, or the files of two folders by case name.

    Raises
    ------
    InputError
        A path that does not exist, a case without prediction (unless ``ignore_missing``), or nothing in common.
    """
    for path in (predictions, labels):
        if not path.exists():
            raise InputError(f"{path} does not exist; check the path.")
    if predictions.is_file() and labels.is_file():
        return [CasePair(case_name(labels), predictions, labels)]
    if predictions.is_file() or labels.is_file():
        raise InputError(f"{predictions} and {labels} are a file and a folder; give two files or two folders.")
    predicted, labelled = _label_files(predictions), _label_files(labels)
    shared = sorted(predicted.keys() & labelled.keys())
    if not shared:
        raise InputError(f"No file of {predictions} has the name of a file in {labels}; name predictions as labels.")
    missing = sorted(labelled.keys() - predicted.keys())
    if missing and not ignore_missing:
        raise InputError(
            f"{predictions} has no prediction for {missing[0]} ({len(missing)} of {len(labelled)} cases are missing); "
            "add them or give --ignore-missing."
        )
    return [CasePair(case, predicted[case], labelled[case]) for case in shared]


def _label_files(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith(".") and path.name.lower().endswith(ENDINGS):
            case = case_name(path)
            if case in found:
                raise InputError(f"{folder} has both {found[case].name} and {path.name}; keep one file per case.")
            found[case] = path
    return found


def read_table(labels: Path) -> DatasetTable:
    """The ``dataset.json`` beside the label maps or one folder above them; empty when there is none."""
    folder = labels if labels.is_dir() else labels.parent
    for path in (folder / "dataset.json", folder.parent / "dataset.json"):
        if path.is_file():
            return _parse_table(path)
    return DatasetTable()


def _parse_table(path: Path) -> DatasetTable:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        labels, partial = data.get("labels", {}), data.get("partially_labelled", {})
        if not isinstance(labels, Mapping) or not isinstance(partial, Mapping):
            raise ValueError
        # nnU-Net v1 wrote value -> name, v2 writes name -> value.
        turned = {str(v): int(k) for k, v in labels.items()} if all(k.isdigit() for k in labels) else labels
        if any(not isinstance(value, int) for value in turned.values()):
            raise InputError(f"{path} defines regions of several labels; give plain labels to evaluate.")
        named = {plain_name(name): name for name in turned}
        listed = {}
        for case, names in partial.items():
            unknown = [name for name in names if plain_name(name) not in named]
            if unknown:
                raise InputError(f"{path} lists {unknown[0]!r} for {case}, which is none of its labels; correct it.")
            listed[case] = tuple(named[plain_name(name)] for name in names)
        return DatasetTable({name: value for name, value in turned.items() if value > 0}, listed)
    except (ValueError, AttributeError, TypeError, OSError):
        raise InputError(f"{path} cannot be read as an nnU-Net dataset.json; correct or remove it.") from None
