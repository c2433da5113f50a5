"""A MONAI Label studies folder: scans, and what people submitted in ``labels/final``."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from dropiris.conversion.nnunet_writer import coloured
from dropiris.conversion.source import ReadCase, Source, SourceCase, flattened, named_once, place_labels
from dropiris.curation.grid import read_voxels
from dropiris.errors import InputError
from dropiris.files import ending, read_labels
from dropiris.files.label_table import table_path
from dropiris.references.finding import listed
from dropiris.volume import LabelMap, Structure, Volume

_SCANS = (".nii.gz", ".nii", ".nrrd")


def is_monailabel(folder: Path) -> bool:
    return (folder / "labels" / "final").is_dir()


def open_monailabel(folder: Path) -> Source:
    """Pair every label of ``labels/final`` with the scan of its name; ``labels/original`` is a model's and is left.

    Names come from the labels themselves (``.seg.nrrd``) or from what the client sent along (``label_info`` in
    ``datastore_v2.json``).
    """
    finals = {_stem(path): path for path in sorted((folder / "labels" / "final").iterdir()) if ending(path)}
    scans = {_stem(path): path for path in sorted(folder.iterdir()) if path.is_file() and ending(path) in _SCANS}
    if not finals:
        raise InputError(f"{folder / 'labels' / 'final'} holds no label map; submit labels in MONAI Label first.")
    lost = sorted(finals.keys() - scans.keys())
    if lost:
        raise InputError(f"The scan of {listed(lost)} is missing beside its labels; add it or remove the label.")
    told = _label_info(folder)
    cases = [SourceCase(name, partial(_read, scans[name], path, told.get(name, ()))) for name, path in finals.items()]
    waiting = len(scans.keys() - finals.keys())
    notes = f"{waiting} scans without final labels were left out." if waiting else ""
    return Source("monailabel", folder.resolve().name, ("scan",), named_once(cases), (), {"notes": notes})


def _stem(path: Path) -> str:
    return path.name[: -len(ending(path))]


def _label_info(folder: Path) -> dict[str, tuple[Structure, ...]]:
    """Case to its structures, where the datastore knows them."""
    try:
        objects: Any = json.loads((folder / "datastore_v2.json").read_text(encoding="utf-8"))["objects"]
        found = {}
        for name, item in objects.items():
            info = item.get("labels", {}).get("final", {}).get("info", {})
            rows = info.get("params", {}).get("label_info") or info.get("label_info") or []
            found[str(name)] = tuple(coloured(int(row["idx"]), str(row["name"])) for row in rows)
        return found
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise InputError(
            f"{folder / 'datastore_v2.json'} is no MONAI Label datastore; correct or remove it."
        ) from problem


def _read(image: Path, labels: Path, structures: tuple[Structure, ...]) -> ReadCase:
    array, grid = read_voxels(image)
    scan = Volume(array, grid.affine, image.name)
    layers = [place_labels(scan, layer) for layer in read_labels(labels)]
    if structures and len(layers) == 1 and ending(labels) != ".seg.nrrd" and not table_path(labels).exists():
        named = {structure.label: structure for structure in (*layers[0].structures, *structures)}
        layers = [LabelMap(layers[0].array, scan.affine, tuple(named.values()), labels.name)]
    found, remark = flattened(layers, scan, labels.name)
    return ReadCase((scan,), found, remark)
