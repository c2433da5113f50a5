"""The Results section: the measured table, 3D, export, and the way back. Uses Qt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from dropiris.errors import DropIrisError
from dropiris.panels.export_section import ExportSection
from dropiris.panels.results_table import ResultsTable
from dropiris.panels.stage import Controls


class ResultsSection:
    """What is done with a result.

    Parameters
    ----------
    ui : namespace
        With the widgets of ``UI/Results.ui``.
    history : dropiris.mrml.undo.UndoHistory
        Of the module's Logic.
    told : callable
        Takes the sentence of an undo, for the status line.
    log : callable
        Takes the sentence of an export, which has a line of its own.
    undone : callable
        Called when a result was taken back.

    Attributes
    ----------
    table : ResultsTable
    export : ExportSection
    confirm : callable
        Asks before something is lost; replaced in tests, where nobody answers.
    """

    def __init__(
        self,
        ui: Any,
        history: Any,
        told: Callable[[str], None],
        log: Callable[[str], None],
        undone: Callable[[], None],
    ) -> None:
        self.ui, self._history, self._told, self._undone = ui, history, told, undone
        self.table = ResultsTable(ui)
        self.export = ExportSection(ui, lambda: (self.table.segmentation, self.table.volume), log)
        buttons = (ui.exportButton, ui.statisticsButton, ui.show3DButton, ui.measureButton, ui.goToButton)
        self._tips = [(button, button.toolTip) for button in buttons]
        self.confirm: Callable[[str], bool] = _confirm
        ui.undoButton.connect("clicked(bool)", self._on_undo)

    def show(self, segmentation: Any, volume: Any) -> None:
        """Show a result in the table, None for none."""
        if segmentation is not self.table.segmentation:
            self.export.say_nothing()
        self.table.show(segmentation, volume)

    def control(self, state: Controls) -> None:
        """Bring the buttons in line with the stage, and with what there is."""
        there = state.results_enabled and self.table.segmentation is not None
        resting = _("A run is under way") if not state.results_enabled else _("Segment a scan first")
        for button, tip in self._tips:
            button.enabled = there
            button.toolTip = tip if there else resting
        self.ui.goToButton.enabled = there and self.table.selected() != ""
        reason = self._history.why_not()
        self.ui.undoButton.enabled = state.results_enabled and not reason
        self.ui.undoButton.toolTip = reason or self._history.what()

    def close(self) -> None:
        self.table.close()

    def _on_undo(self, *unused: Any) -> None:
        lost = self._history.lost()
        if lost and not self.confirm(lost):
            return
        try:
            self._told(self._history.undo())
        except DropIrisError as problem:
            self._told(str(problem))
        self._undone()
        if self.table.segmentation is not None:  # its old segments are back
            self.table.measure()


def _confirm(what: str) -> bool:
    return bool(slicer.util.confirmOkCancelDisplay(what))
