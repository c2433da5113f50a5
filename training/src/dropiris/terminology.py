"""SNOMED CT codes of structures, in the form Slicer writes on its segments."""

from __future__ import annotations

from dataclasses import dataclass

_CONTEXT = "Segmentation category and type - 3D Slicer General Anatomy list"
_REGION_CONTEXT = "Anatomic codes - DICOM master list"
_NOTHING = "^^"


@dataclass(frozen=True)
class Code:
    """A coded term (DICOM PS3.3 8.8): scheme "SCT" is SNOMED CT."""

    scheme: str
    value: str
    meaning: str

    def __str__(self) -> str:
        return f"{self.scheme}^{self.value}^{self.meaning}"


ANATOMICAL_STRUCTURE = Code("SCT", "123037004", "Anatomical Structure")
RIGHT = Code("SCT", "24028007", "Right")
LEFT = Code("SCT", "7771000", "Left")


def terminology_entry(structure: Code, modifier: Code | None = None, category: Code = ANATOMICAL_STRUCTURE) -> str:
    """Serialise to Slicer's segment tag: context~category~type~modifier~region context~region~modifier."""
    side = str(modifier) if modifier else _NOTHING
    return "~".join([_CONTEXT, str(category), str(structure), side, _REGION_CONTEXT, _NOTHING, _NOTHING])


def parse_terminology_entry(entry: str) -> tuple[Code, Code | None] | None:
    """Return (type, modifier) of a serialised entry, or None when it names no type."""
    parts = entry.split("~")
    if len(parts) < 4:
        return None
    codes = [Code(*p.split("^")) if p.count("^") == 2 and p != _NOTHING else None for p in parts[2:4]]
    return (codes[0], codes[1]) if codes[0] is not None else None
