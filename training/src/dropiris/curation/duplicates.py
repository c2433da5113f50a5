"""Scans and label maps that occur more than once, within a split, across splits and across datasets."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from dropiris.curation.case_check import CaseRecord
from dropiris.curation.finding import Finding
from dropiris.curation.fingerprint import likest

# Correlation of two small pictures from which they are told: skull-stripped brains of five people reach 0.976, averages
# of neighbouring weeks that share fetuses 0.995, a copy with other intensities or noise 0.999.
NEARLY = 0.99
# Scans brought into one space look alike anyway: where more pairs than this per case do, only copies count.
_CROWD, _COPY = 0.5, 0.999


def check_duplicates(records: Sequence[CaseRecord]) -> list[Finding]:
    """Compare all cases of all datasets that were given together."""
    found: list[Finding] = []
    told: set[frozenset[int]] = set()
    channels = sorted({channel for record in records for channel in record.prints})
    for channel in channels:
        have = [n for n, record in enumerate(records) if channel in record.prints]
        for key in ("stored", "turned"):
            groups: dict[Hashable, list[int]] = {}
            for n in have:
                groups.setdefault(getattr(records[n].prints[channel], key), []).append(n)
            for first, other in _repeats(groups):
                how = _same(records[first], records[other])
                _tell(found, told, records[first], records[other], (first, other), how)
        pictured = [n for n in have if records[n].prints[channel].picture is not None]
        pictures = [p for n in pictured if (p := records[n].prints[channel].picture) is not None]
        alike = likest(pictures, NEARLY)
        if len(alike) > max(3, _CROWD * len(pictures)):
            alike = [pair for pair in alike if pair[2] >= _COPY]
        for a, b, likeness in alike:
            first, other = pictured[a], pictured[b]
            how = f"looks nearly the same as {{}} (correlation {likeness:.4f} at low resolution)"
            _tell(found, told, records[first], records[other], (first, other), how)
    maps: dict[Hashable, list[int]] = {}
    for n, record in enumerate(records):
        if record.labels_print is not None and record.counts:
            maps.setdefault(record.labels_print.turned, []).append(n)
    for first, other in _repeats(maps):
        _tell(found, told, records[first], records[other], (first, other), "has the very labels of {}")
    return found


def _repeats(groups: dict[Hashable, list[int]]) -> list[tuple[int, int]]:
    """The first of each group with each of its others."""
    return [(group[0], other) for group in groups.values() for other in group[1:]]


def _same(first: CaseRecord, other: CaseRecord) -> str:
    one, two = first.grid, other.grid
    if one and two and one.shape == two.shape and np.allclose(one.affine, two.affine, atol=1e-3):
        return "has the very voxels of {}"
    return "has the very voxels of {}, under another header"


def _tell(
    found: list[Finding],
    told: set[frozenset[int]],
    first: CaseRecord,
    other: CaseRecord,
    pair: tuple[int, int],
    how: str,
) -> None:
    if frozenset(pair) in told:
        return
    told.add(frozenset(pair))
    here, there = other.files, first.files
    if here.dataset != there.dataset:
        severity, name = "warning", f"{there.dataset} {first.name}"
        advice = "do not train on one and score on the other"
    elif here.split != there.split:
        severity, name = "error", first.name
        advice = f"it leaks from {there.split} into {here.split}: remove one"
    else:
        severity, name, advice = "warning", first.name, "remove one"
    if "nearly" in how and severity == "error":
        severity = "warning"
        advice = f"look at both; if they show one person, keep them out of {there.split} or {here.split}"
    sentence = f"It {how.format(name)}; {advice}."
    found.append(Finding(severity, "duplicates", sentence, here.dataset, here.split, here.name))
