"""The measured structures of a result; go to one in the slices, show all in 3D. Uses Qt."""

from __future__ import annotations

from typing import Any

import qt  # type: ignore[import-not-found]
import slicer
from slicer.i18n import tr as _

from dropiris.measure import StructureStatistics
from dropiris.mrml.statistics import detached_result, segment_centre
from dropiris.mrml.trust import read_trust
from dropiris.panels import trust_words
from dropiris.panels.background_job import BackgroundJob
from dropiris.panels.colour_icon import colour_icon

INTERVAL = 50  # ms
NAME, VOLUME, VOXELS, MEAN, TRUST = range(5)
LINE = 24
LINES_SHOWN = 8


class ResultsTable:
    """Shows one segmentation, measured on its scan in a thread of its own.

    Parameters
    ----------
    ui : namespace
        With the widgets of ``UI/Results.ui``.
    """

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        self.segmentation: Any = None
        self.volume: Any = None
        self.rows: list[StructureStatistics] = []
        self._ids: list[str] = []
        self._observed: list[tuple[Any, int]] = []
        self._job: BackgroundJob | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(INTERVAL)
        self._timer.connect("timeout()", self.poll)
        # Writing 100 segments tells of each one; the table is made anew once, when that is over.
        self._later = qt.QTimer()
        self._later.setSingleShot(True)
        self._later.setInterval(INTERVAL)
        self._later.connect("timeout()", self._list)
        ui.resultsTable.setColumnHidden(TRUST, True)
        # "hippocampus, anterior" and "hippocampus, posterior" differ at the end, "left kidney" and "right kidney" not.
        ui.resultsTable.textElideMode = qt.Qt.ElideMiddle
        ui.resultsTable.verticalHeader().hide()
        ui.resultsTable.verticalHeader().setDefaultSectionSize(LINE)
        header = ui.resultsTable.horizontalHeader()
        # The other columns are fitted when all rows are there: fitted at each cell, 33 structures took 60 ms.
        header.setSectionResizeMode(NAME, qt.QHeaderView.Stretch)
        ui.resultsTable.connect("cellDoubleClicked(int,int)", self._go_to_row)
        ui.resultsTable.connect("itemSelectionChanged()", self._on_selection)
        ui.goToButton.connect("clicked(bool)", self._on_go_to)
        ui.measureButton.connect("clicked(bool)", self.measure)
        ui.show3DButton.connect("clicked(bool)", self._on_3d)

    def show(self, segmentation: Any, volume: Any) -> None:
        """Show a result (None: nothing), and measure it when it is another one than before."""
        if segmentation is self.segmentation and volume is self.volume:
            return
        self._stop()
        self.segmentation, self.volume = segmentation, volume
        self._observe()
        if segmentation is not None:
            self.ui.resultsCollapsibleButton.collapsed = False
        self.measure()

    def measure(self, *unused: Any) -> None:
        """Measure the segments as they are now."""
        self._stop()
        self.rows = []
        self._list()
        if self.segmentation is None or self.volume is None:
            return
        try:
            measure = detached_result(self.segmentation, self.volume)
        except Exception as problem:
            self._say(str(problem))
            return
        self._job = BackgroundJob(lambda progress, cancel: measure(), _("Measuring"))
        self._timer.start()

    def selected(self) -> str:
        """ID of the chosen segment, or ""."""
        row = self.ui.resultsTable.currentRow()
        return self._ids[row] if 0 <= row < len(self._ids) else ""

    @property
    def measuring(self) -> bool:
        return self._job is not None

    def poll(self) -> None:
        """Called by the timer until the figures are there."""
        job = self._job
        if job is None:
            return
        job.poll()
        if not job.done:
            return
        self._stop()
        try:
            self.rows = job.result()
        except Exception as problem:
            self._say(str(problem))
        self._list()

    def close(self) -> None:
        self._stop()
        self.segmentation = self.volume = None
        self._observe()

    # What the user does

    def go_to(self, segment_id: str) -> None:
        """Move all slices to a structure."""
        centre = segment_centre(self.segmentation, segment_id)
        if centre is None:
            self._say(_("This structure is empty; there is nowhere to go."))
            return
        slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *centre, slicer.vtkMRMLSliceNode.CenteredJumpSlice)

    def _go_to_row(self, row: int, column: int = 0) -> None:
        if 0 <= row < len(self._ids):
            self.go_to(self._ids[row])

    def _on_go_to(self, *unused: Any) -> None:
        self._go_to_row(self.ui.resultsTable.currentRow())

    def _on_selection(self) -> None:
        self.ui.goToButton.enabled = self.selected() != "" and self.ui.show3DButton.enabled

    def _on_3d(self, checked: bool) -> None:
        if self.segmentation is None:
            return
        if checked:
            self.segmentation.CreateClosedSurfaceRepresentation()
        self.segmentation.CreateDefaultDisplayNodes()
        self.segmentation.GetDisplayNode().SetVisibility3D(checked)

    # The table

    def _list(self) -> None:
        segmentation: Any = self.segmentation.GetSegmentation() if self.segmentation is not None else None
        self._ids = list(segmentation.GetSegmentIDs()) if segmentation is not None else []
        if len(self.rows) != len(self._ids):
            self.rows = []
        table = self.ui.resultsTable
        trust = read_trust(self.segmentation)
        table.setColumnHidden(TRUST, not trust)
        table.setColumnHidden(VOXELS, bool(trust))  # there is no room for both in a panel of usual width
        table.setRowCount(len(self._ids))
        table.setFixedHeight(LINE * (1 + min(max(len(self._ids), 2), LINES_SHOWN)) + 6)
        for row, segment_id in enumerate(self._ids):
            segment = segmentation.GetSegment(segment_id)
            cells = _in_words(self.rows[row]) if self.rows else ["…"] * 3 if self.volume is not None else [""] * 3
            about = trust.get(segment_id)
            # Measured, it is known whether the segment still is what was checked.
            said = self.rows[row].trust if self.rows else about.trust if about is not None else None
            for column, text in enumerate([segment.GetName(), *cells, trust_words.in_words(said)]):
                item = qt.QTableWidgetItem(text)
                item.setTextAlignment(qt.Qt.AlignVCenter | (qt.Qt.AlignLeft if column == NAME else qt.Qt.AlignRight))
                if column == NAME:
                    item.setIcon(colour_icon(segment.GetColor()))
                    item.setToolTip(segment.GetName())
                if column == VOLUME:
                    item.setToolTip(_("{count} voxels").format(count=cells[VOXELS - 1]))
                if column == TRUST:
                    item.setToolTip(trust_words.in_full(said))
                table.setItem(row, column, item)
        for column in (VOLUME, VOXELS, MEAN, TRUST):
            table.resizeColumnToContents(column)
        table.resizeRowsToContents()  # names beside Trust stand on two lines rather than lose their end
        self._on_selection()
        self._show_3d_state()
        self._show_title()

    def _show_3d_state(self) -> None:
        display: Any = self.segmentation.GetDisplayNode() if self.segmentation is not None else None
        surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
        made = display is not None and self.segmentation.GetSegmentation().ContainsRepresentation(surface)
        self.ui.show3DButton.checked = bool(made and display.GetVisibility3D())

    def _show_title(self) -> None:
        if self.segmentation is None:
            self._say(_("No result yet: it appears here."))
        elif self.volume is None:
            self._say(
                _("{name}: its scan is not in the scene, so it cannot be measured.").format(
                    name=self.segmentation.GetName()
                )
            )
        else:
            result, scan = self.segmentation.GetName(), self.volume.GetName()
            # "CT chest segmentation" says already what it lies on.
            named = str(result).startswith(str(scan))
            self._say(result if named else _("{result} on {scan}").format(result=result, scan=scan))

    def _say(self, sentence: str) -> None:
        self.ui.resultsLabel.text = sentence

    def _observe(self) -> None:
        for caller, tag in self._observed:
            caller.RemoveObserver(tag)
        self._observed = []
        if self.segmentation is None:
            return
        segmentation = self.segmentation.GetSegmentation()
        for event in (segmentation.SegmentAdded, segmentation.SegmentRemoved, segmentation.SegmentModified):
            self._observed.append((segmentation, segmentation.AddObserver(event, lambda *unused: self._later.start())))
        changed = segmentation.SourceRepresentationModified
        self._observed.append((segmentation, segmentation.AddObserver(changed, lambda *unused: self._outdated())))

    def _outdated(self) -> None:
        if self.rows:
            self._say(_("The segments were changed since they were measured: Measure again."))

    def _stop(self) -> None:
        self._timer.stop()
        self._later.stop()
        self._job = None


def _in_words(row: StructureStatistics) -> list[str]:
    if row.is_empty:
        return [_("not found"), "0", ""]
    return [
        f"{row.volume_ml:,.2f}".replace(",", " "),
        f"{row.voxels:,}".replace(",", " "),
        f"{row.mean:.4g} ± {row.sd:.3g}",
    ]
