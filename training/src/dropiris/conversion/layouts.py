"""Which layout a folder has, and the source it is."""

from __future__ import annotations

import json
from pathlib import Path

from dropiris.conversion.bids import is_bids, open_bids
from dropiris.conversion.dicom import holds_dicom_files, open_dicom
from dropiris.conversion.monailabel import is_monailabel, open_monailabel
from dropiris.conversion.msd import is_msd, open_msd
from dropiris.conversion.source import Source
from dropiris.errors import InputError

LAYOUTS = ("msd", "bids", "dicom", "monailabel")


def open_source(folder: Path, layout: str = "", kind: str = "") -> Source:
    """Open a dataset to convert.

    Parameters
    ----------
    layout : str
        One of :data:`LAYOUTS`; "" looks what the folder holds.
    kind : str
        For BIDS with several segmentations of one scan: which ("desc-aseg").
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the folder of a dataset.")
    layout = layout or layout_of(folder)
    if kind and layout != "bids":
        raise InputError("--desc belongs to BIDS derivatives; leave it out.")
    if layout == "bids":
        return open_bids(folder, kind)
    return {"msd": open_msd, "dicom": open_dicom, "monailabel": open_monailabel}[layout](folder)


def layout_of(folder: Path) -> str:
    """What a folder looks like; the sure signs first, since DICOM files are looked for in every file."""
    if is_msd(folder):
        return "msd"
    if _is_nnunet(folder):
        raise InputError(f"{folder} is in nnU-Net's layout already; check it with: dropiris data check {folder}")
    if is_monailabel(folder):
        return "monailabel"
    if is_bids(folder):
        return "bids"
    if holds_dicom_files(folder):
        return "dicom"
    raise InputError(
        f"{folder} is none of MSD (dataset.json with training), BIDS (*_dseg.nii.gz), DICOM, MONAI Label "
        "(labels/final); say which with --from."
    )


def _is_nnunet(folder: Path) -> bool:
    try:
        return "channel_names" in json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False
