"""The segments of a DICOM SEG object on the grid of the series they belong to, with their names, colours and codes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dropiris.conversion.nnunet_writer import coloured
from dropiris.conversion.source import Drawn
from dropiris.errors import InputError
from dropiris.files.dicom_slices import Slice, slices_of
from dropiris.files.reading import library, reading
from dropiris.terminology import ANATOMICAL_STRUCTURE, Code, Terminology, terminology_entry
from dropiris.terminology_table import CONTEXT
from dropiris.volume import Structure, Volume

# Of a voxel: what a frame's corner may be off the scan's voxel centres. Positions are rounded to 1e-4 mm.
_OFF = 0.05
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_segments(path: Path, scan: Volume) -> list[Drawn]:
    """Every segment of a binary, fractional (from one half on) or label map object.

    Frames are placed one by one by their own position: a SEG has frames only where something was drawn, and those of
    a leaning series (gantry tilt) make no volume of their own, which highdicom asks for.

    Raises
    ------
    InputError
        highdicom is missing, the file is damaged, or its frames do not lie on the scan's voxels.
    """
    highdicom = library("highdicom", "dropiris[dicom]", "DICOM SEG")
    problems = (AttributeError, TypeError, NotImplementedError, RuntimeError)
    with reading(path, "a DICOM segmentation", *problems):
        segmentation = highdicom.seg.segread(path, lazy_frame_retrieval=True)
        kind = str(segmentation.SegmentationType)
        structures = {
            int(number): _structure(segmentation.get_segment_description(number))
            for number in segmentation.segment_numbers
        }
        half = float(segmentation.get("MaximumFractionalValue", 1)) / 2 if kind == "FRACTIONAL" else 0.5
        header = _as_grey(segmentation)
        found: dict[int, list[np.ndarray]] = {number: [] for number in structures}
        for place in slices_of(path, header):
            frame = segmentation.get_stored_frame(place.frame + 1)
            if kind == "LABELMAP":
                for number in np.unique(frame[frame > 0]).tolist():
                    found.setdefault(int(number), []).append(voxels_of(frame == number, place, scan, path.name))
            else:
                mask = frame >= half
                if mask.any():
                    found[_segment_of(segmentation, place.frame)].append(voxels_of(mask, place, scan, path.name))
    return [
        Drawn(structures[number], np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64))
        for number, parts in found.items()
        if number in structures
    ]


def voxels_of(mask: np.ndarray, place: Slice, scan: Volume, name: str) -> np.ndarray:
    """Flat indices into the scan of a slice's True pixels (rows, columns)."""
    to_index = np.linalg.inv(scan.affine) @ _LPS
    start = to_index @ [*place.position, 1.0]
    right, down = to_index[:3, :3] @ place.columns, to_index[:3, :3] @ place.rows
    rows, columns = np.nonzero(mask)
    at = start[:3] + columns[:, None] * right + rows[:, None] * down
    whole = np.rint(at).astype(np.int64)
    far = np.abs(start[:3] + (mask.shape[1] - 1) * right + (mask.shape[0] - 1) * down)
    steps = np.abs([right - np.rint(right), down - np.rint(down)]).max() * max(mask.shape)
    off = max(float(np.abs(at - whole).max()) if len(at) else 0.0, float(steps))
    if off > _OFF * max(1.0, far.max() / 100):
        raise InputError(
            f"{name} lies on another voxel grid than its series (off by {off:.2f} voxels); export it anew."
        )
    if len(whole) and ((whole < 0).any() or (whole >= scan.shape).any()):
        raise InputError(f"{name} reaches outside its series; choose the series it was drawn on.")
    return np.ravel_multi_index(tuple(whole.T), scan.shape)


def _segment_of(segmentation: Any, frame: int) -> int:
    groups = [
        segmentation.PerFrameFunctionalGroupsSequence[frame],
        *(segmentation.get("SharedFunctionalGroupsSequence") or []),
    ]
    for group in groups:
        if "SegmentIdentificationSequence" in group:
            return int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
    raise ValueError("a frame names no segment")


def _as_grey(segmentation: Any) -> Any:
    """The header with what every segmentation is, even if its file leaves it out."""
    pydicom = library("pydicom", "pydicom", "DICOM")
    header = pydicom.Dataset()
    for key in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", "NumberOfFrames"):
        if key in segmentation:
            header[key] = segmentation[key]
    header.Rows, header.Columns = segmentation.Rows, segmentation.Columns
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    return header


def _structure(description: Any) -> Structure:
    name = str(description.get("SegmentLabel", "") or "").strip() or f"segment {description.SegmentNumber}"
    found = coloured(int(description.SegmentNumber), name)
    color = found.color
    if "RecommendedDisplayCIELabValue" in description:
        lab = library("highdicom.color", "dropiris[dicom]", "DICOM SEG").CIELabColor
        red, green, blue = lab.from_dicom_value(list(description.RecommendedDisplayCIELabValue)).to_rgb(clip=True)
        color = (round(red / 255, 3), round(green / 255, 3), round(blue / 255, 3))
    return replace(found, color=color, terminology=terminology_of(description) or found.terminology)


def terminology_of(item: Any) -> str:
    """Slicer's terminology entry for the codes of a segment or of an RT observation; "" where there are none.

    "Tissue" is what programs write for a segment nobody coded; it counts as none.
    """
    kinds = item.get("SegmentedPropertyTypeCodeSequence") or item.get("RTROIIdentificationCodeSequence")
    if not kinds or str(kinds[0].get("CodeValue", "")) in ("", "85756007"):
        return ""
    categories = item.get("SegmentedPropertyCategoryCodeSequence")
    regions = item.get("AnatomicRegionSequence")
    sides = kinds[0].get("SegmentedPropertyTypeModifierCodeSequence")
    region_sides = regions[0].get("AnatomicRegionModifierSequence") if regions else None
    what = Terminology(
        type=_code(kinds[0]),
        modifier=_code(sides[0]) if sides else None,
        category=_code(categories[0]) if categories else ANATOMICAL_STRUCTURE,
        region=_code(regions[0]) if regions else None,
        region_modifier=_code(region_sides[0]) if region_sides else None,
    )
    return terminology_entry(what, context=CONTEXT)


def _code(item: Any) -> Code:
    scheme = str(item.get("CodingSchemeDesignator", ""))
    # "^" and "~" separate the parts of an entry
    meaning = str(item.get("CodeMeaning", "")).replace("^", " ").replace("~", " ")
    return Code(
        "SCT" if scheme in ("SRT", "SCT") and str(item.CodeValue).isdigit() else scheme, str(item.CodeValue), meaning
    )
