"""The stages a panel goes through; each decides the state and the text of every control."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Stage(Enum):
    """Where a panel stands.

    FAILED and DONE are READY again with the last run's sentence kept: the next click starts a new run.
    """

    INCOMPLETE = auto()
    READY = auto()
    RUNNING = auto()
    CANCELLING = auto()
    FAILED = auto()
    DONE = auto()

    @property
    def busy(self) -> bool:
        """A run is under way."""
        return self in (Stage.RUNNING, Stage.CANCELLING)


@dataclass(frozen=True)
class Controls:
    """State of the controls in one stage.

    ``inputs_enabled`` is for what is chosen before a run, ``results_enabled`` for what is done with its result.
    """

    segment_enabled: bool
    segment_text: str
    segment_tip: str
    cancel_enabled: bool
    inputs_enabled: bool
    results_enabled: bool
    progress_active: bool


def controls(stage: Stage, what: str, missing: str = "") -> Controls:
    """Return the controls of a stage.

    Parameters
    ----------
    what : str
        What the button will do: "Segment 3 structures".
    missing : str
        Why it can't yet: "Choose a scan". The button says it, and so does its tooltip.
    """
    from slicer.i18n import tr as _  # here: the stages are also used where there is no Slicer

    if stage is Stage.INCOMPLETE:
        return Controls(False, missing, missing, False, True, True, False)
    if stage is Stage.RUNNING:
        tip = _("Cancel stops at once; only a result that is there already stays")
        return Controls(False, _("Working…"), tip, True, False, False, True)
    if stage is Stage.CANCELLING:
        return Controls(False, _("Cancelling…"), _("Waiting for the worker to stop"), False, False, False, True)
    tip = _("{what}; nothing you have is changed unless you ask for it").format(what=what)
    return Controls(True, what, tip, False, True, True, False)
