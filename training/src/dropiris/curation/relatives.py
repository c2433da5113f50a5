"""Scans of one person under several names: neighbours in number that look more alike than chance allows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from dropiris.curation.case_check import CaseRecord
from dropiris.curation.finding import Finding
from dropiris.references.finding import listed

_FEWEST = 20
# How many times as often as by chance a case's likest case must be its neighbour in number, and in how many cases.
_TIMES, _SHARE = 8.0, 0.1


def check_relatives(records: Sequence[CaseRecord], dataset: str) -> list[Finding]:
    """Whether numbers that follow each other tend to be one person (two sides, two visits), and so cross splits.

    Compares the small pictures of :mod:`dropiris.curation.fingerprint`. Of 181 hippocampus crops of the Medical
    Segmentation Decathlon that have a neighbour, 57 look likest to it, where chance gives 1.
    """
    series: dict[str, dict[int, CaseRecord]] = {}
    for record in records:
        digits = re.search(r"(\d+)\D*$", record.files.name)
        if digits and 0 in record.prints and record.prints[0].picture is not None:
            series.setdefault(record.files.name[: digits.start()], {})[int(digits[1])] = record
    return [found for numbered in series.values() if (found := _among(numbered, dataset)) is not None]


def _among(numbered: Mapping[int, CaseRecord], dataset: str) -> Finding | None:
    """The finding about cases whose names differ by their number only."""
    numbers = sorted(numbered)
    if len(numbers) < _FEWEST:
        return None
    table = np.stack([numbered[n].prints[0].picture for n in numbers])  # type: ignore[misc]
    likeness = table @ table.T
    np.fill_diagonal(likeness, -1.0)
    likest = [numbers[int(n)] for n in likeness.argmax(axis=1)]
    asked = [n for n in numbers if n - 1 in numbered or n + 1 in numbered]
    alike = [n for n, other in zip(numbers, likest, strict=True) if abs(n - other) == 1]
    chance = sum((n - 1 in numbered) + (n + 1 in numbered) for n in asked) / (len(numbers) - 1)
    if not asked or len(alike) < max(_TIMES * chance, _SHARE * len(asked)):
        return None
    partner = dict(zip(numbers, likest, strict=True))
    across = [
        f"{numbered[n].name} and {numbered[partner[n]].name}"
        for n in alike
        if numbered[n].files.split != numbered[partner[n]].files.split and (partner[partner[n]] != n or n < partner[n])
    ]
    leak = f", {len(across)} of them across splits ({listed(across)})" if across else ""
    return Finding(
        "warning",
        "duplicates",
        f"{len(alike)} of {len(asked)} cases look likest to the case with the number before or after "
        f"(by chance {chance:.0f}){leak}: they may be one person; keep such pairs in one split.",
        dataset,
    )
