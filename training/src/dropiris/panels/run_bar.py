"""Segment, Cancel, progress and status of a panel, driven by a timer so that Slicer never freezes. Uses Qt."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import qt  # type: ignore[import-not-found]

from dropiris.errors import Cancelled, DropIrisError
from dropiris.panels.run import Run
from dropiris.panels.stage import Stage, controls
from dropiris.progress import Progress

# Short enough to look live, long enough to cost nothing (ms).
INTERVAL = 100


class RunBar:
    """The controls of a run.

    Parameters
    ----------
    ui : namespace
        With ``segmentButton``, ``cancelButton``, ``progressBar`` and ``statusLabel``.
    inputs : list of widgets
        Disabled while a run is under way.
    start : callable
        Starts a :class:`~dropiris.panels.run.Run`; what it raises is shown.
    missing : callable
        Why the run cannot start ("Choose a scan"), or "".
    what : callable
        What the button will do ("Segment 3 structures").
    done : callable
        Told about the finished run; returns the status line.
    """

    def __init__(
        self,
        ui: Any,
        inputs: list[Any],
        start: Callable[[], Run],
        missing: Callable[[], str],
        what: Callable[[], str],
        done: Callable[[Run], str],
    ) -> None:
        self.ui, self._inputs = ui, inputs
        self._start, self._missing, self._what, self._done = start, missing, what, done
        self.run: Run | None = None
        self._cancelling = False
        self._timer = qt.QTimer()
        self._timer.setInterval(INTERVAL)
        self._timer.connect("timeout()", self.poll)
        ui.segmentButton.connect("clicked(bool)", self._on_segment)
        ui.cancelButton.connect("clicked(bool)", self.cancel)
        self.say("")
        self.update()

    @property
    def stage(self) -> Stage:
        if self.run is not None:
            return Stage.CANCELLING if self._cancelling else Stage.RUNNING
        return Stage.INCOMPLETE if self._missing() else Stage.READY

    def update(self, *_: Any) -> None:
        """Bring every control in line with the stage."""
        state = controls(self.stage, self._what(), self._missing())
        self.ui.segmentButton.enabled = state.segment_enabled
        self.ui.segmentButton.text = state.segment_text
        self.ui.segmentButton.toolTip = state.segment_tip
        self.ui.cancelButton.enabled = state.cancel_enabled
        self.ui.progressBar.visible = state.progress_visible
        for widget in self._inputs:
            widget.enabled = state.inputs_enabled

    def say(self, text: str) -> None:
        """Show a sentence in the status line."""
        self.ui.statusLabel.text = text
        self.ui.statusLabel.toolTip = text
        self.ui.statusLabel.visible = bool(text)

    def poll(self) -> None:
        """Called by the timer: show progress, and finish the run when it is done."""
        run = self.run
        if run is None:
            return
        for progress in run.poll():
            self._show(progress)
        if not run.done:
            return
        self._timer.stop()
        self.run = None
        self._cancelling = False
        if run.error is None:
            self.say(self._done(run))
        else:
            self.say(_in_words(run.error))
        self.update()

    def cancel(self, *_: Any) -> None:
        """Stop the run, if there is one; the scene stays as it is."""
        if self.run is not None:
            self._cancelling = True
            self.run.cancel()
            self.update()

    def close(self) -> None:
        """The panel goes away: stop the run and the timer."""
        self._timer.stop()
        if self.run is not None:
            self.run.cancel()
            self.run = None

    def _on_segment(self, *_: Any) -> None:
        if self.stage is not Stage.READY:
            return
        self.ui.progressBar.value = 0
        try:
            self.run = self._start()
        except Exception as error:
            self.say(_in_words(error))
            self.update()
            return
        self.say("Starting…")
        self.update()
        self._timer.start()

    def _show(self, progress: Progress) -> None:
        self.ui.progressBar.value = round(100 * progress.fraction)
        if not self._cancelling:
            tiles = f" · part {progress.tile} of {progress.tiles}" if progress.tiles else ""
            self.say(f"{progress.stage}{tiles}")
        if progress.message:
            logging.getLogger(__name__).info(progress.message)


def _in_words(error: BaseException) -> str:
    if isinstance(error, (DropIrisError, Cancelled)):
        return str(error)
    logging.getLogger(__name__).error("Unexpected error", exc_info=error)
    return f"Unexpected error: {error}. The scene was not changed; details are in the Python console."
