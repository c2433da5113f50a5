"""``--trust``: what is said of a check at the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dropiris.cli.sentences import say
from dropiris.trust import why_not

if TYPE_CHECKING:
    from dropiris.models.bundle import Bundle


def can_be_checked(bundle: Bundle) -> bool:
    """Whether results of a model can be checked; says why not."""
    why = why_not(bundle.card)
    if why:
        say(f"Note: no trust. {why}")
    return not why


def calibration_in_words(trust: Mapping[str, Any]) -> str:
    """What a model's card says of its trust, "" where it was never calibrated."""
    if trust.get("threshold") is None:
        return ""
    said = [f"below {trust['threshold']:g} asks to be checked"]
    for key, words in (("caught", "of bad results are caught"), ("false_alarms", "of good ones are flagged too")):
        if trust.get(key) is not None:
            said.append(f"{trust[key]:.0%} {words}")
    if trust.get("rank_correlation") is not None:
        said.append(f"rank correlation with Dice {trust['rank_correlation']:.2f} ({trust.get('results', 0)} results)")
    return ", ".join(said)
