"""What the numbers of a plain label map mean: names, colours and codes from a table beside it.

``case.nii.gz`` has ``case.json`` with ``{"structures": [{"label", "name", "color", "terminology"}]}``; a label map in
an nnU-Net dataset has ``dataset.json`` beside its folder, which may hold the same list. Other keys of these files are
left alone, so that the ``case.json`` some converters write beside a scan stays what it was.
"""

from __future__ import annotations

import colorsys
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dropiris.errors import InputError
from dropiris.volume import Structure

_MOST = np.iinfo(np.uint16).max


def label_values(array: np.ndarray, name: str) -> np.ndarray:
    """Return whole numbers as uint8, or uint16 where needed; float files are fine when nothing is lost."""
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array != np.rint(array)).any():
            raise InputError(f"{name} holds fractions, so it is a scan or a probability map; give a label map.")
    low, high = array.min(), array.max()
    if low < 0 or high > _MOST:
        raise InputError(f"{name} holds the label {low if low < 0 else high:g}; labels go from 0 to {_MOST}.")
    return array.astype(np.uint8 if high <= 255 else np.uint16, copy=False)


def present(array: np.ndarray) -> list[int]:
    """Labels above 0 that occur, in order."""
    counts = np.zeros(_MOST + 1, np.int64)
    for k in range(array.shape[2]):  # plane by plane: bincount makes int64 of everything it is given
        plane = np.bincount(array[:, :, k].ravel(order="K"))
        counts[: len(plane)] += plane
    return [int(n) for n in np.flatnonzero(counts) if n > 0]


def default_color(label: int) -> tuple[float, float, float]:
    """A colour that differs from those of the labels around it: hues a golden angle apart, three strengths."""
    hue = (label * 0.61803398875) % 1.0
    saturation, value = ((0.75, 0.95), (0.5, 0.9), (0.85, 0.7))[label % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red, 3), round(green, 3), round(blue, 3)


def table_path(path: Path) -> Path:
    """``case.nii.gz`` -> ``case.json``"""
    name = path.name
    for ending in (".nii.gz", ".nii", ".nrrd"):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
            break
    return path.with_name(name + ".json")


def read_table(path: Path, array: np.ndarray) -> tuple[Structure, ...]:
    """Structures of the label map at ``path``: all of its own table, and every label that occurs in it."""
    found = {s.label: s for s in _own_structures(table_path(path))}
    labels = present(array)
    known = {} if found else _dataset_structures(path)
    for label in labels:
        if label not in found:
            found[label] = known.get(label) or Structure(label, f"label {label}", default_color(label))
    return tuple(found[label] for label in sorted(found))


def table_text(path: Path, structures: Sequence[Structure]) -> str:
    """JSON of the table at ``path``: what is there already keeps its other keys."""
    try:
        table = _json(path) if path.exists() else {}
    except ValueError:
        table = None
    if not isinstance(table, dict):
        raise InputError(
            f"{path.name} is in the way of the structure names and is no table; move it or rename the output."
        )
    table["structures"] = [
        {"label": s.label, "name": s.name, "color": list(s.color), "terminology": s.terminology} for s in structures
    ]
    return json.dumps(table, indent=1, ensure_ascii=False) + "\n"


def _own_structures(path: Path) -> list[Structure]:
    try:
        table = _json(path)
    except (OSError, ValueError):
        return []  # no table, or a file that is none
    if not isinstance(table, dict) or "structures" not in table:
        return []
    try:
        return [
            Structure(
                int(item["label"]),
                str(item["name"]),
                _color(item["color"]) if item.get("color") else default_color(int(item["label"])),
                str(item.get("terminology", "")),
            )
            for item in table["structures"]
        ]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path.name} has a structure without a label number or a name; correct or remove it."
        ) from error


def _color(values: Any) -> tuple[float, float, float]:
    red, green, blue = (min(1.0, max(0.0, float(v))) for v in values)
    return red, green, blue


def _dataset_structures(path: Path) -> dict[int, Structure]:
    """Structures of an nnU-Net ``dataset.json`` in the folder of the label map, or the one above it."""
    for folder in list(path.resolve().parents)[:2]:
        try:
            labels = _json(folder / "dataset.json")["labels"].items()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        names = {}
        for key, value in labels:
            # {"liver": 1} since version 2, {"1": "liver"} before; regions ({"whole tumour": [1, 2]}) name no label.
            label, name = (key, value) if str(key).isdigit() and isinstance(value, str) else (value, key)
            if isinstance(label, int) or (isinstance(label, str) and label.isdigit()):
                names[int(label)] = str(name)
        # A dataset that was converted also has colours and codes.
        listed = {s.label: s for s in _own_structures(folder / "dataset.json")}
        return {
            label: listed[label]
            if label in listed and listed[label].name == name
            else Structure(label, name, default_color(label))
            for label, name in names.items()
            if label > 0
        }
    return {}


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
