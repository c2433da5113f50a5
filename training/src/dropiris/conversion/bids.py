"""BIDS derivatives: ``*_dseg.nii.gz`` with a lookup ``.tsv``, beside the raw images of the same subject."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dropiris.conversion.nnunet_writer import coloured
from dropiris.conversion.source import ReadCase, Source, SourceCase, integer_labels, named_once, place_labels
from dropiris.curation.grid import Grid, disagreement, read_voxels
from dropiris.errors import InputError
from dropiris.files.nifti import read_nifti_grid
from dropiris.references.finding import listed
from dropiris.volume import LabelMap, Structure, Volume

_ENDINGS = (".nii.gz", ".nii")
# Files of a subject that are no scans to segment.
_NO_SCANS = {"dseg", "probseg", "mask", "bold", "boldref", "sbref", "dwi", "epi", "magnitude", "fieldmap", "xfm"}
_ORDER = ("T1w", "T2w", "FLAIR", "PDw", "ct", "CT")
# What tells two segmentations of one scan apart rather than two scans.
_KIND = ("desc", "seg", "atlas", "label", "res", "den")


@dataclass(frozen=True)
class BidsFile:
    """A file by the entities of its name: ``sub-01_ses-2_desc-aseg_dseg.nii.gz``."""

    path: Path
    entities: Mapping[str, str]
    suffix: str

    @property
    def subject(self) -> tuple[str, str]:
        """Subject and session."""
        return self.entities.get("sub", ""), self.entities.get("ses", "")

    @property
    def kind(self) -> str:
        """ "desc-aseg", or "" """
        return "_".join(f"{key}-{self.entities[key]}" for key in _KIND if key in self.entities)

    @property
    def case(self) -> str:
        return "_".join(f"{key}-{value}" for key, value in self.entities.items() if key not in (*_KIND, "space"))


def is_bids(folder: Path) -> bool:
    return next(_segmentations(folder), None) is not None


def open_bids(folder: Path, kind: str = "") -> Source:
    """Find every discrete segmentation under ``folder`` (a BIDS dataset, or one of its derivatives).

    Parameters
    ----------
    kind : str
        Which segmentations, where there are several of one scan: "desc-aseg" or "aseg".
    """
    found = list(_segmentations(folder))
    kinds = Counter(file.kind for file in found)
    if kind:
        found = [
            file for file in found if kind in (file.kind, *(part.partition("-")[2] for part in file.kind.split("_")))
        ]
        if not found:
            raise InputError(f"{folder} holds no segmentation {kind!r}; choose among {listed(sorted(kinds), 9)}.")
    repeated = Counter((file.case, file.entities.get("space", "")) for file in found)
    if repeated and max(repeated.values()) > 1:
        case = repeated.most_common(1)[0][0][0]
        names = listed([name or "without desc" for name in sorted(kinds)], 9)
        raise InputError(f"{case} has several segmentations ({names}); choose one kind with --desc.")
    root = _root(folder)
    scans = [file for file in _files(root) if file.suffix not in _NO_SCANS]
    matched = {file.path: _scans_of(file, scans) for file in found}
    channels = _shared_channels(found, matched)
    spaces = Counter(file.case for file in found)
    cases = [
        SourceCase(
            file.case if spaces[file.case] == 1 else f"{file.case}_space-{file.entities.get('space', 'orig')}",
            partial(_read, file, [matched[file.path][name] for name in channels], folder),
        )
        for file in found
    ]
    return Source("bids", _description(root).get("Name") or root.name, channels, named_once(cases), (), _about(root))


def _files(folder: Path) -> list[BidsFile]:
    parsed = []
    for path in sorted(folder.rglob("sub-*")):
        name = path.name
        ending = next((e for e in _ENDINGS if name.endswith(e)), "")
        if ending and path.is_file():
            *pairs, suffix = name[: -len(ending)].split("_")
            parsed.append(BidsFile(path, dict(pair.partition("-")[::2] for pair in pairs if "-" in pair), suffix))
    return parsed


def _segmentations(folder: Path) -> Any:
    return (file for file in _files(folder) if file.suffix == "dseg")


def _root(folder: Path) -> Path:
    """The dataset that a folder of derivatives belongs to."""
    parts = folder.resolve().parts
    if "derivatives" in parts:
        return Path(*parts[: len(parts) - 1 - parts[::-1].index("derivatives")])
    return folder.resolve()


def _scans_of(dseg: BidsFile, scans: Sequence[BidsFile]) -> dict[str, Path]:
    """Scans of the same subject on the very grid of the segmentation, one for every suffix."""
    grid = Grid(*read_nifti_grid(dseg.path))  # type: ignore[arg-type]
    found: dict[str, BidsFile] = {}

    def likeness(scan: BidsFile) -> tuple[int, int, str]:
        shared = sum(scan.entities.get(key) == value for key, value in dseg.entities.items())
        # The fewest processing steps first: a raw scan before its bias-corrected copy.
        return -shared, len(scan.entities), str(scan.path)

    for scan in sorted((scan for scan in scans if scan.subject == dseg.subject), key=likeness):
        if scan.suffix not in found:
            here = Grid(*read_nifti_grid(scan.path))  # type: ignore[arg-type]
            if disagreement(here, grid, "") is None:
                found[scan.suffix] = scan
    return {suffix: scan.path for suffix, scan in found.items()}


def _shared_channels(found: Sequence[BidsFile], matched: Mapping[Path, Mapping[str, Path]]) -> tuple[str, ...]:
    for file in found:
        if not matched[file.path]:
            raise InputError(f"No scan of {file.case} lies on the grid of {file.path.name}; add it or its raw dataset.")
    shared = set.intersection(*(set(matched[file.path]) for file in found))
    if not shared:
        kinds = sorted({suffix for scans in matched.values() for suffix in scans})
        raise InputError(f"No kind of scan ({listed(kinds, 9)}) is there for every segmentation; remove odd subjects.")
    return tuple(sorted(shared, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)))


def _read(dseg: BidsFile, scans: Sequence[Path], top: Path) -> ReadCase:
    volumes = []
    for path in scans:
        array, grid = read_voxels(path)
        volumes.append(Volume(array, grid.affine, path.name, "CT" if "_ct." in path.name.lower() else "MR"))
    array, grid = read_voxels(dseg.path)
    labels = LabelMap(integer_labels(array, dseg.path.name), grid.affine, _lookup(dseg, top), dseg.path.name)
    return ReadCase(tuple(volumes), place_labels(volumes[0], labels))


def _lookup(dseg: BidsFile, top: Path) -> tuple[Structure, ...]:
    """The table that says what the values mean: the nearest one whose entities the file has (BIDS' inheritance)."""
    folder, best = dseg.path.parent, None
    stop = {top.resolve(), _root(top)}
    while best is None:
        fitting = []
        for path in sorted(folder.glob("*dseg.tsv")):
            pairs = dict(pair.partition("-")[::2] for pair in path.stem.split("_")[:-1])
            if all(dseg.entities.get(key) == value for key, value in pairs.items()):
                fitting.append((len(pairs), path))
        if fitting:
            best = max(fitting)[1]
        elif folder.resolve() in stop or folder.parent == folder:
            return ()
        folder = folder.parent
    try:
        with best.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        named = {int(float(row["index"])): row for row in rows}
        return tuple(_structure(value, row) for value, row in named.items() if value > 0)
    except (KeyError, ValueError, TypeError, OSError) as problem:
        raise InputError(f"{best.name} is no table with the columns index and name; correct it.") from problem


def _structure(value: int, row: Mapping[str, str]) -> Structure:
    found = coloured(value, row["name"].strip() or f"label {value}")
    text = (row.get("color") or "").strip().lstrip("#")
    if len(text) == 6 and set(text.lower()) <= set("0123456789abcdef"):
        red, green, blue = (round(int(text[n : n + 2], 16) / 255, 3) for n in (0, 2, 4))
        return Structure(value, found.name, (red, green, blue), found.terminology)
    return found


def _description(root: Path) -> dict[str, Any]:
    try:
        data = json.loads((root / "dataset_description.json").read_text(encoding="utf-8"))
        return data if isinstance(data, dict) else {}
    except (OSError, ValueError):
        return {}


def _about(root: Path) -> dict[str, Any]:
    data = _description(root)
    references = [data.get("DatasetDOI"), data.get("HowToAcknowledge"), *(data.get("ReferencesAndLinks") or [])]
    return {"licence": str(data.get("License", "")), "source": "; ".join(str(one) for one in references if one)}
