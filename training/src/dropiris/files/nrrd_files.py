"""NRRD: ``.nrrd``. The header is read and written here as UTF-8, because pynrrd drops every non-ASCII letter."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dropiris.errors import InputError
from dropiris.files.reading import in_native_order, library, reading

# Signs that take a space's axes to RAS.
_SPACES = {
    "left-posterior-superior": (-1.0, -1.0, 1.0),
    "lps": (-1.0, -1.0, 1.0),
    "right-anterior-superior": (1.0, 1.0, 1.0),
    "ras": (1.0, 1.0, 1.0),
    "left-anterior-superior": (-1.0, 1.0, 1.0),
    "las": (-1.0, 1.0, 1.0),
}
_TYPES = {
    "int8": "signed char", "uint8": "unsigned char", "int16": "short", "uint16": "unsigned short", "int32": "int",
    "uint32": "unsigned int", "int64": "int64", "uint64": "uint64", "float32": "float", "float64": "double",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class NrrdImage:
    """``array`` (L, I, J, K): a list axis first, of length 1 where the file has none; ``fields`` as in the header."""

    array: np.ndarray
    affine: np.ndarray
    fields: Mapping[str, Any]


def read_nrrd(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return (I, J, K) voxels as stored and the affine to RAS, mm."""
    image = read_nrrd_list(path)
    if len(image.array) > 1:
        raise InputError(f"{path.name} holds {len(image.array)} values per voxel (4D or colour); export one 3D volume.")
    return image.array[0], image.affine


def read_nrrd_list(path: Path) -> NrrdImage:
    """Read an attached NRRD with three axes in space and at most one list axis."""
    nrrd = library("nrrd", "pynrrd", "NRRD")
    with reading(path, "a NRRD file", nrrd.NRRDError), open(path, "rb") as file:
        lines = []
        while (line := file.readline().decode("utf-8", "replace").rstrip()) != "":
            lines.append(line)
        fields = nrrd.read_header([*lines, ""])
        if "data file" in fields or "datafile" in fields:
            raise InputError(f"{path.name} keeps its voxels in another file; save it again as one .nrrd file.")
        if np.prod(fields["sizes"]) == 0:
            raise InputError(f"{path.name} is empty (sizes {tuple(fields['sizes'])}); check the file.")
        if len(fields["sizes"]) < 3:
            raise InputError(f"{path.name} is a {len(fields['sizes'])}D image; give a 3D volume.")
        array = nrrd.read_data(fields, file, str(path))
    signs = _SPACES.get(str(fields.get("space", "")).lower())
    if signs is None or "space directions" not in fields:
        raise InputError(f"{path.name} does not say where left and right are; save it again with its orientation.")
    # One row per axis of the array; a list axis has none.
    rows = [np.full(3, np.nan) if row is None else np.asarray(row, float) for row in fields["space directions"]]
    in_space = [n for n, row in enumerate(rows) if not np.isnan(row).all()]
    lists = [n for n in range(array.ndim) if n not in in_space]
    if len(in_space) != 3 or len(rows) != array.ndim or len(lists) > 1:
        raise InputError(f"{path.name} has {len(in_space)} axes in space; give a single 3D volume.")
    affine = np.eye(4)
    affine[:3, :3] = np.stack([rows[n] for n in in_space], axis=1)
    affine[:3, 3] = fields.get("space origin", np.zeros(3))
    affine[:3] *= np.array(signs)[:, None]
    array = np.moveaxis(array, lists[0], 0) if lists else array[None]
    return NrrdImage(in_native_order(array), affine, fields)


def write_nrrd(array: np.ndarray, affine: np.ndarray, path: Path, fields: Mapping[str, str] | None = None) -> None:
    """Write (I, J, K), or (L, I, J, K) with a list axis first, gzip-compressed, in LPS as Slicer does."""
    array = array.astype({"bool": np.uint8, "float16": np.float32}.get(array.dtype.name, array.dtype), copy=False)
    has_list = array.ndim == 4
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    directions = ["none"] * has_list + [_vector(lps[:3, n]) for n in range(3)]
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "# http://teem.sourceforge.net/nrrd/format.html",
        f"type: {_TYPES[array.dtype.name]}",
        f"dimension: {array.ndim}",
        "space: left-posterior-superior",
        "sizes: " + " ".join(map(str, array.shape)),
        "space directions: " + " ".join(directions),
        "kinds: " + " ".join(["list"] * has_list + ["domain"] * 3),
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(lps[:3, 3])}",
        *(f"{key}:={escape(value)}" for key, value in (fields or {}).items()),
    ]
    with open(path, "wb") as file:
        file.write("\n".join([*lines, "", ""]).encode("utf-8"))
        # Level 1: a 512 x 512 x 400 label map takes seconds instead of a minute, for a few per cent more bytes.
        with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0, filename="") as packed:
            for k in range(array.shape[-1]):
                packed.write(array[..., k].astype(array.dtype.newbyteorder("<")).tobytes(order="F"))


def escape(text: str) -> str:
    """One line of text, as NRRD's key/value pairs ask for."""
    return text.replace("\\", "\\\\").replace("\r", "").replace("\n", "\\n")


def unescape(text: str) -> str:
    """The inverse of :func:`escape`."""
    return text.replace("\\\\", "\0").replace("\\n", "\n").replace("\0", "\\")


def _vector(values: np.ndarray) -> str:
    # repr keeps every bit; + 0.0 turns -0.0 into 0.0
    return "(" + ",".join(repr(float(v) + 0.0) for v in values) + ")"
