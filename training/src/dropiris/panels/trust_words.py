"""What the panels say of trust: a symbol and a word beside every number, and what the number is."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from dropiris.mrml.trust import read_trust
from dropiris.trust import CHANGED, CHECK, GOOD, NOT_FOUND, REVERSE, SYMBOLS, VIEWS, StructureTrust


def in_words(trust: StructureTrust | None) -> str:
    """For a cell: "● good 0.93", "◐ check this 0.41", "○ not found", "0.85" for a model without a calibration."""
    if trust is None:
        return ""
    words = {GOOD: _("good"), CHECK: _("check this"), NOT_FOUND: _("not found"), CHANGED: _("changed since")}
    parts = [SYMBOLS[trust.flag], words[trust.flag]] if trust.flag in words else []
    if trust.checked and trust.flag != NOT_FOUND:
        parts.append(f"{trust.value:.2f}")
    return " ".join(parts) or _("not checked")


def in_full(trust: StructureTrust | None) -> str:
    """For the cell's tooltip."""
    if trust is None:
        return ""
    if trust.flag == CHANGED:
        return _("The segment is not what was checked any more.")
    if trust.flag == NOT_FOUND:
        return _("Nothing was found: look for it yourself, the model cannot tell whether it is there.")
    if not trust.checked:
        return _("A saved task holds no image to check against: add the reference itself.")
    if trust.check == REVERSE:
        meaning = _(
            "Reverse check: taken as the example, this result finds the structure in the reference and in the scan "
            "again; the lower of both Dice is {value:.3f}, where 1 is as well as the reference itself."
        )
    else:
        meaning = _("View agreement: Dice between this result and those of parts of what the model sees: {value:.3f}.")
    flags = {
        CHECK: _("Lower than nine in ten good results when the model was calibrated. It may still be right."),
        GOOD: _("As good results of this model are; wrong ones can reach it too. Check it all the same."),
    }
    said = flags.get(trust.flag, _("No threshold is known for this model: compare structures and scans yourself."))
    return f"{meaning.format(value=trust.value)} {said}"


def to_check(segmentation: Any) -> str:
    """Which structures of a result ask to be checked, one sentence or ""."""
    found = {key: about.trust for key, about in read_trust(segmentation).items() if about.trust.flag == CHECK}
    if not found:
        return ""
    names = ", ".join(segmentation.GetSegmentation().GetSegment(key).GetName() for key in found)
    views = next(iter(found.values())).check == VIEWS
    back = _("the result does not lead back to itself or to the reference")
    why = _("parts of what the model sees disagree") if views else back
    return _("Check {names} first: {why}.").format(names=names, why=why)


class TrustBox:
    """The check box that asks for a check.

    Parameters
    ----------
    ui : namespace
        With ``trustCheckBox``.
    cost : str
        What a check takes and how, for the tooltip.
    """

    def __init__(self, ui: Any, cost: str) -> None:
        self._box, self._cost = ui.trustCheckBox, cost

    def show(self, reason: str, enabled: bool) -> None:
        """``reason`` says why these results cannot be checked, "" when they can."""
        self._box.enabled = enabled and not reason
        self._box.toolTip = reason or self._cost
