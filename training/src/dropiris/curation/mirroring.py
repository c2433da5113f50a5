"""Cases whose structures lie the other way round than in the other cases: mirrored scans, swapped labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dropiris.curation.case_check import CaseRecord
from dropiris.curation.finding import Finding

# Structures that are closer along right-left than this (mm) say nothing.
_CLEAR = 5.0
# Share of the cases that must agree on an order before the others are suspects, and the fewest that can.
_AGREED, _FEWEST = 0.9, 5
# Whatever the other cases show: the first lies to the right of the second in all but one person of ten thousand.
_KNOWN = (("liver", "spleen"), ("liver", "stomach"))


def check_mirroring(records: Sequence[CaseRecord]) -> list[Finding]:
    """Compare the right-left order of every two structures of a case with the other cases' and with known anatomy."""
    places = [(record, _places(record)) for record in records if record.extents]
    names = sorted({name for _, place in places for name in place})
    agreed = np.zeros((len(names), len(names)))
    counted = np.zeros_like(agreed)
    orders = []
    for _, place in places:
        order = _order(place, names)
        orders.append(order)
        agreed += np.sign(order)
        counted += order != 0
    usual = np.where(
        (np.abs(agreed) >= (2 * _AGREED - 1) * counted) & (counted >= _FEWEST) & (agreed != 0), np.sign(agreed), 0
    )
    for right, left in _KNOWN:
        if right in names and left in names:
            a, b = names.index(right), names.index(left)
            usual[a, b], usual[b, a] = 1, -1
    found = []
    for (record, _), order in zip(places, orders, strict=True):
        asked = (usual != 0) & (order != 0)
        against = asked & (np.sign(order) != usual)
        if asked.any() and against.sum() > 0.5 * asked.sum():
            clearest = int(np.abs(np.where(against, order, 0)).argmax())
            a, b = divmod(clearest, len(names))
            where = record.files
            found.append(
                Finding(
                    "warning",
                    "left and right",
                    f"{names[min(a, b)]} and {names[max(a, b)]} lie the other way round than usual, as do "
                    f"{against.sum() / asked.sum():.0%} of its pairs of structures: the scan is mirrored or its header "
                    "is wrong; compare it with its source.",
                    where.dataset,
                    where.split,
                    where.name,
                )
            )
    return found


def _places(record: CaseRecord) -> dict[str, float]:
    """Right-left place (mm, growing to the right) of each structure, by its name in lower case with blanks."""
    return {
        " ".join(extent.structure.name.lower().replace("_", " ").replace("-", " ").split()): extent.centre[0]
        for extent in record.extents
        if extent.centre is not None
    }


def _order(place: Mapping[str, float], names: Sequence[str]) -> np.ndarray:
    """How much further right the row's structure lies than the column's, mm; 0 where it cannot be said."""
    at = np.array([place.get(name, np.nan) for name in names])
    order = np.nan_to_num(at[:, None] - at[None, :])
    order[np.abs(order) < _CLEAR] = 0
    return order
