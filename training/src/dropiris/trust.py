"""How far a result can be trusted: a number per structure from a check of the model against itself, and a flag.

No torch: panels and tables read it inside Slicer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from dropiris.volume import LabelMap

# What is said of a structure. CHANGED: its segment is not what was checked.
GOOD, CHECK, NOT_FOUND, CHANGED = "good", "check this", "not found", "changed since"
SYMBOLS = {GOOD: "●", CHECK: "◐", NOT_FOUND: "○", CHANGED: "○"}
# The two checks; see dropiris.inference.reverse_check and view_agreement.
REVERSE, VIEWS = "reverse check", "view agreement"


@dataclass(frozen=True)
class TrustReport:
    """What a check of one result gave.

    Attributes
    ----------
    check : str
        ``REVERSE`` or ``VIEWS``.
    values : mapping of structure name to float or None
        0 to 1; 0 for a structure that was not found; None for one that could not be checked.
    voxels : mapping of structure name to int
        Of the result, on the scan's grid.
    why : str
        Why some or all could not be checked, one sentence; "" when all were.
    parts : mapping of structure name to mapping of str to float
        What each value was made of.
    """

    check: str
    values: Mapping[str, float | None]
    voxels: Mapping[str, int] = field(default_factory=dict)
    why: str = ""
    parts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrustReport:
        return cls(*(data[item.name] for item in fields(cls)))

    @classmethod
    def unavailable(cls, check: str, names: Iterable[str], why: str) -> TrustReport:
        """No structure could be checked."""
        return cls(check, dict.fromkeys(names), {}, why)


@dataclass(frozen=True)
class StructureTrust:
    """One structure's number and what is said of it.

    Attributes
    ----------
    value : float
        0 to 1; NaN where it could not be checked.
    flag : {"good", "check this", "not found", "changed since", ""}
        "" where nothing is said: not checked, or the model was never calibrated.
    check : str
        How it was checked.
    """

    value: float
    flag: str = ""
    check: str = ""

    @property
    def checked(self) -> bool:
        return not math.isnan(self.value)


def judge(report: TrustReport, card: Any) -> dict[str, StructureTrust]:
    """Compare each number with the threshold of the model's card; without one nothing is flagged.

    A structure that was not found has trust 0 and says so: whether it is in the scan, no check knows.
    """
    limit = threshold(card)
    found = {}
    for name, value in report.values.items():
        if report.voxels.get(name) == 0:
            found[name] = StructureTrust(0.0, NOT_FOUND, report.check)
        elif value is None:
            found[name] = StructureTrust(math.nan, "", report.check)
        else:
            flag = "" if limit is None else GOOD if value >= limit else CHECK
            found[name] = StructureTrust(float(value), flag, report.check)
    return found


def threshold(card: Any) -> float | None:
    """Below which a result of this model is flagged; None where it was never calibrated."""
    value = card.trust.get("threshold")
    return None if value is None else float(value)


def why_not(card: Any) -> str:
    """Why results of this model cannot be checked, whatever the scan; "" when they can."""
    if card.method == "dropgen" and card.extractor is None:
        return "This model has no stable features beside the image, so there are no views of a scan to compare."
    if card.method == "dropgen" and not dropout(card):
        return "This model was trained without dropping channels, so views of a scan mean nothing to it."
    return ""


def dropout(card: Any) -> float:
    """Probability with which a DropGen model's channels were dropped in training; 0.5, the paper's, if unsaid."""
    settings = card.training.get("settings")
    if not isinstance(settings, Mapping):
        return 0.5
    if settings.get("ablation") == "no-dropout":
        return 0.0
    given = settings.get("dropout")
    return float(given) if isinstance(given, int | float) and 0 <= given < 1 else 0.5


def voxels_of(labels: LabelMap) -> dict[str, int]:
    """Voxels of each structure of a result."""
    highest = max((s.label for s in labels.structures), default=0)
    counts = np.bincount(labels.array.ravel(order="K"), minlength=highest + 1)
    return {s.name: int(counts[s.label]) for s in labels.structures}
