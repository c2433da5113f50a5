"""Which prediction belongs to which label map, and what the labels mean (nnU-Net's ``dataset.json``)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dropiris.errors import InputError

# Longest first: ".seg.nrrd" before ".nrrd".
ENDINGS = (".seg.nrrd", ".nii.gz", ".nrrd", ".nii")


@dataclass(frozen=True)
class CasePair:
    """A prediction and the label map it is compared with; None is a case for which there is no prediction."""

    case: str
    prediction: Path | None
    labels: Path


@dataclass(frozen=True)
class DatasetTable:
    """What ``dataset.json`` says about the labels.

    Attributes
    ----------
    labels : dict
        Structure name to its label values, background left out; a region of nnU-Net has several.
    partially_labelled : dict
        Case to the names that were annotated in it; a case that is not listed is annotated completely.
    ignore : int, optional
        nnU-Net's label of voxels that nobody annotated.
    """

    labels: dict[str, tuple[int, ...]] = field(default_factory=dict)
    partially_labelled: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ignore: int | None = None


def plain_name(name: str) -> str:
    """A structure's name for comparing: "Right_Kidney" and "right kidney" are one structure."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def case_name(path: Path) -> str:
    """The file name without its ending."""
    for ending in ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.stem


def find_pairs(
    predictions: Path, labels: Path, missing: Literal["refuse", "skip", "empty"] = "refuse"
) -> list[CasePair]:
    """Pair two files, or the files of two folders by case name.

    A label map without prediction is refused, skipped, or compared with an empty prediction.

    Raises
    ------
    InputError
        A path that does not exist, a case without prediction that is refused, or nothing in common.
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
    absent = sorted(labelled.keys() - predicted.keys())
    if absent and missing == "refuse":
        raise InputError(
            f"{predictions} has no prediction for {absent[0]} ({len(absent)} of {len(labelled)} cases are missing); "
            "add them, or give --ignore-missing or --missing-fails."
        )
    cases = sorted(labelled) if missing == "empty" else shared
    return [CasePair(case, predicted.get(case), labelled[case]) for case in cases]


def _label_files(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith(".") and path.name.lower().endswith(ENDINGS):
            case = case_name(path)
            if case in found:
                raise InputError(f"{folder} has both {found[case].name} and {path.name}; keep one file per case.")
            found[case] = path
    return found


def read_table(labels: Path, dataset: Path | None = None) -> DatasetTable:
    """The ``dataset.json`` that is named, or lies beside the label maps or one folder above; empty when there is none.

    Raises
    ------
    InputError
        The file is not nnU-Net's, or the one that is named does not exist.
    """
    if dataset is not None:
        path = dataset / "dataset.json" if dataset.is_dir() else dataset
        if not path.is_file():
            raise InputError(f"{path} does not exist; check the path.")
        return _parse_table(path)
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
        # nnU-Net v1 wrote value -> name, v2 writes name -> value, or the values of a region.
        turned = {str(v): int(k) for k, v in labels.items()} if all(k.isdigit() for k in labels) else labels
        values = {name: _values(value) for name, value in turned.items()}
        ignored = values.pop("ignore", None)
        named = {plain_name(name): name for name in turned}
        listed = {}
        for case, names in partial.items():
            unknown = [name for name in names if plain_name(name) not in named]
            if unknown:
                raise InputError(f"{path} lists {unknown[0]!r} for {case}, which is none of its labels; correct it.")
            listed[case] = tuple(named[plain_name(name)] for name in names)
        kept = {name: value for name, value in values.items() if any(value)}
        return DatasetTable(kept, listed, ignored[0] if ignored else None)
    except (ValueError, AttributeError, TypeError, OSError):
        raise InputError(f"{path} cannot be read as an nnU-Net dataset.json; correct or remove it.") from None


def _values(value: object) -> tuple[int, ...]:
    """A label's value, or those of a region."""
    several = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not several or not all(isinstance(one, int) and not isinstance(one, bool) for one in several):
        raise TypeError
    return several
