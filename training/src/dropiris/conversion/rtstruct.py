"""The contours of a DICOM RTSTRUCT as voxels of the series they were drawn on.

Voxels are filled whose centre lies inside, by matplotlib. rt-utils was looked at and not used: it takes the spacing of
rows for that of columns, rounds every vertex to a pixel and fills the border with it, which makes thin structures
fatter by half a pixel all round.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dropiris.conversion.dicom_seg import terminology_of
from dropiris.conversion.nnunet_writer import coloured
from dropiris.conversion.source import Drawn
from dropiris.errors import InputError
from dropiris.files.dicom_slices import read_header
from dropiris.files.reading import library, reading
from dropiris.volume import Structure, Volume

# How far from a slice's middle (in slices) a contour may lie: planning systems round positions to 0.1 mm.
_OFF = 0.25
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_contours(path: Path, scan: Volume) -> list[Drawn]:
    """Every closed structure of the set; points and open lines have no inside and are left out.

    A contour inside another one of its slice is a hole (even-odd), as is the inside of a keyhole.

    Raises
    ------
    InputError
        The file is damaged, or a contour does not lie in a slice of the scan.
    """
    header = read_header(path)
    with reading(path, "a DICOM structure set", AttributeError, TypeError):
        names = {
            int(item.ROINumber): str(item.get("ROIName", "")) for item in header.get("StructureSetROISequence", [])
        }
        codes = {
            int(item.ReferencedROINumber): terminology_of(item) for item in header.get("RTROIObservationsSequence", [])
        }
        drawn = []
        for item in header.get("ROIContourSequence", []):
            number = int(item.ReferencedROINumber)
            structure = _structure(number, names.get(number, ""), item, codes.get(number, ""))
            contours = [
                np.asarray(contour.ContourData, float).reshape(-1, 3)
                for contour in item.get("ContourSequence", [])
                if str(contour.get("ContourGeometricType", "")).startswith("CLOSED") and len(contour.ContourData) >= 9
            ]
            if contours:
                drawn.append(Drawn(structure, fill(contours, scan, f"{structure.name} of {path.name}")))
    return drawn


def fill(contours: Sequence[np.ndarray], scan: Volume, name: str) -> np.ndarray:
    """Flat indices of the voxels whose centre lies inside closed contours, each (N, 3) in LPS mm."""
    closed = library("matplotlib.path", "dropiris[train]", "RTSTRUCT").Path
    to_index = np.linalg.inv(scan.affine) @ _LPS
    inside: dict[int, np.ndarray] = {}
    for contour in contours:
        at = contour @ to_index[:3, :3].T + to_index[:3, 3]
        k = float(np.median(at[:, 2]))
        if np.abs(at[:, 2] - round(k)).max() > _OFF:
            raise InputError(
                f"A contour of {name} does not lie in a slice of its series; choose the series it was drawn on."
            )
        if not 0 <= round(k) < scan.shape[2]:
            raise InputError(f"A contour of {name} lies outside its series; choose the series it was drawn on.")
        low = np.maximum(np.ceil(at[:, :2].min(axis=0)).astype(int), 0)
        high = np.minimum(np.floor(at[:, :2].max(axis=0)).astype(int) + 1, scan.shape[:2])
        if (low >= high).any():
            continue
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        centres = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), -1)
        mask = closed(at[:, :2]).contains_points(centres.reshape(-1, 2)).reshape(centres.shape[:2])
        plane = inside.setdefault(round(k), np.zeros(scan.shape[:2], bool))
        plane[box] ^= mask
    parts = [np.ravel_multi_index((*np.nonzero(plane), np.int64(k)), scan.shape) for k, plane in inside.items()]
    return np.sort(np.concatenate(parts)) if parts else np.zeros(0, np.int64)


def _structure(number: int, name: str, item: Any, terminology: str) -> Structure:
    found = coloured(max(number, 1), name.strip() or f"structure {number}")
    rgb = item.get("ROIDisplayColor")
    color = tuple(round(float(part) / 255, 3) for part in rgb) if rgb and len(rgb) == 3 else found.color
    return Structure(found.label, found.name, color, terminology or found.terminology)  # type: ignore[arg-type]
