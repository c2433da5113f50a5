"""Scans and labels from and to disk: NIfTI, NRRD, Slicer segmentations, DICOM folders.

nibabel, pynrrd and pydicom are imported when the first file of their kind is opened.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from dropiris.errors import InputError
from dropiris.files.dicom_series import holds_dicom, read_series
from dropiris.files.dicom_slices import is_dicom
from dropiris.files.label_grid import on_grid_of
from dropiris.files.label_table import label_values, read_table, table_path, table_text
from dropiris.files.nifti import read_nifti, write_nifti
from dropiris.files.nrrd_files import read_nrrd, write_nrrd
from dropiris.files.segmentation_nrrd import read_segmentation, write_segmentation
from dropiris.files.writing import replacing
from dropiris.intensity import check_intensities
from dropiris.volume import LabelMap, Volume

__all__ = ["ending", "is_scan", "list_scans", "read_labels", "read_volume", "write_labels", "write_volume"]

_Path = str | os.PathLike[str]
# The longest first: a .seg.nrrd is also a .nrrd
ENDINGS = (".seg.nrrd", ".nii.gz", ".nrrd", ".nii")


def ending(path: _Path) -> str:
    """The part of a file's name that says what it is (".nii.gz", ".seg.nrrd", ...), or "" when it is unknown."""
    name = Path(path).name.lower()
    return next((e for e in ENDINGS if name.endswith(e) and len(name) > len(e)), "")


def read_volume(path: _Path) -> Volume:
    """Read a scan: a NIfTI or NRRD file, a folder with one DICOM series, or any file of a DICOM series.

    Raises
    ------
    InputError
        In one sentence that names the file: missing, damaged, 2D, 4D, colour, empty, constant or NaN voxels, an
        impossible geometry, uneven or several DICOM series.
    """
    path = _existing(path)
    kind = ending(path)
    if path.is_dir() or (kind == "" and is_dicom(path)):
        volume = read_series(path)
    elif kind in (".nii", ".nii.gz"):
        volume = Volume(*read_nifti(path), name=path.name)
    elif kind == ".nrrd":
        volume = Volume(*read_nrrd(path), name=path.name)
    elif kind == ".seg.nrrd":
        raise InputError(f"{path.name} is a segmentation; give a scan here.")
    else:
        raise InputError(f"{path.name} is of an unknown kind; give .nii, .nii.gz, .nrrd or a DICOM folder.")
    if min(volume.shape) < 2:
        raise InputError(f"{volume.name} is a single 2D slice; give a 3D scan.")
    check_intensities(volume)
    return volume


def read_labels(path: _Path, like: Volume | None = None) -> tuple[LabelMap, ...]:
    """Read labels: one map per layer (only ``.seg.nrrd`` can have several).

    Names come from the file, from a table beside it or from nnU-Net's ``dataset.json``; see
    :mod:`dropiris.files.label_table`. With ``like`` the labels are placed on that scan's grid: Slicer crops what it
    saves to the segments.
    """
    path = _existing(path)
    kind = ending(path)
    if kind == ".seg.nrrd":
        layers = read_segmentation(path)
    elif kind in (".nii", ".nii.gz", ".nrrd"):
        array, affine = read_nrrd(path) if kind == ".nrrd" else read_nifti(path)
        array = label_values(array, path.name)
        layers = (LabelMap(array, affine, read_table(path, array), path.name),)
    else:
        raise InputError(f"{path.name} is no label map; give .nii, .nii.gz, .nrrd or .seg.nrrd.")
    return layers if like is None else tuple(on_grid_of(like, layer) for layer in layers)


def write_labels(labels: LabelMap | Sequence[LabelMap], path: _Path) -> None:
    """Write labels by the path's ending; ``.nii.gz`` and ``.nrrd`` get a table of structures (``.json``) beside them.

    Several layers (on one grid) fit into ``.seg.nrrd`` only. Nothing is left behind when writing fails.
    """
    path = Path(path)
    layers = [labels] if isinstance(labels, LabelMap) else list(labels)
    kind = _writable(path, ENDINGS)
    if any(layer.shape != layers[0].shape for layer in layers):
        raise InputError(f"{path.name} cannot hold layers of different size; bring them to one grid.")
    if kind == ".seg.nrrd":
        with replacing(path, kind) as hidden:
            write_segmentation(layers, hidden)
        return
    if len(layers) != 1:
        raise InputError(f"{path.name} cannot hold overlapping structures; write a .seg.nrrd instead.")
    table = table_path(path)
    text = table_text(table, layers[0].structures)
    array = label_values(layers[0].array, path.name)
    with ExitStack() as stack:
        hidden = stack.enter_context(replacing(path, kind))
        hidden_table = stack.enter_context(replacing(table, ".json"))
        hidden_table.write_text(text, encoding="utf-8")
        if kind == ".nrrd":
            write_nrrd(array, layers[0].affine, hidden)
        else:
            write_nifti(array, layers[0].affine, hidden, path)


def write_volume(volume: Volume, path: _Path) -> None:
    """Write a scan as ``.nii.gz``, ``.nii`` or ``.nrrd``."""
    path = Path(path)
    kind = _writable(path, (".nii.gz", ".nrrd", ".nii"))
    with replacing(path, kind) as hidden:
        if kind == ".nrrd":
            write_nrrd(volume.array, volume.affine, hidden)
        else:
            write_nifti(volume.array, volume.affine, hidden, path)


def is_scan(path: _Path) -> bool:
    """Whether :func:`read_volume` would try: a NIfTI or NRRD file by its name, or a folder that holds DICOM files."""
    path = Path(path)
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return holds_dicom(path)
    return path.is_file() and (ending(path) in (".nii.gz", ".nii", ".nrrd") or (ending(path) == "" and is_dicom(path)))


def list_scans(folder: _Path) -> list[Path]:
    """Scans directly in a folder, by name; a folder of DICOM slices is one scan itself."""
    folder = _existing(folder)
    if not folder.is_dir():
        return [folder] if is_scan(folder) else []
    if holds_dicom(folder):
        return [folder]
    return [p for p in sorted(folder.iterdir()) if is_scan(p)]


def _existing(path: _Path) -> Path:
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; check its name.")
    return path


def _writable(path: Path, kinds: Sequence[str]) -> str:
    kind = ending(path)
    if kind not in kinds:
        raise InputError(f"{path.name} has an ending that cannot be written here; use one of {', '.join(kinds)}.")
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist; create it first.")
    return kind
