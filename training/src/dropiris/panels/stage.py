"""The stages a panel goes through; each decides the state and the text of every control of a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Stage(Enum):
    """Where a panel stands."""

    INCOMPLETE = auto()
    READY = auto()
    RUNNING = auto()
    CANCELLING = auto()


@dataclass(frozen=True)
class Controls:
    """State of the controls in one stage."""

    segment_enabled: bool
    segment_text: str
    segment_tip: str
    cancel_enabled: bool
    inputs_enabled: bool
    progress_visible: bool


def controls(stage: Stage, what: str, missing: str = "") -> Controls:
    """Return the controls of a stage.

    Parameters
    ----------
    what : str
        What the button will do: "Segment 3 structures".
    missing : str
        Why it can't yet: "Choose a scan". The button says it, and so does its tooltip.
    """
    if stage is Stage.INCOMPLETE:
        return Controls(False, missing, missing, False, True, False)
    if stage is Stage.READY:
        return Controls(True, what, f"{what}; nothing you have is changed unless you ask for it", False, True, False)
    if stage is Stage.RUNNING:
        return Controls(False, "Working…", "Cancel stops at once and changes nothing", True, False, True)
    return Controls(False, "Cancelling…", "Waiting for the worker to stop", False, False, True)
