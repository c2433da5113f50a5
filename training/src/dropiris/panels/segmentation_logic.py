"""What both modules' Logic share: who runs the networks, which models there are, and the way back from a result."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from dropiris.errors import Cancelled, DropIrisError
from dropiris.models.card import ModelCard
from dropiris.mrml.results import Mode, PreparedResult, prepare
from dropiris.mrml.trust import SegmentTrust, write_trust
from dropiris.mrml.undo import UndoHistory
from dropiris.mrml.volumes import moved_with_node
from dropiris.panels.background_job import BackgroundJob
from dropiris.panels.client import shared_client
from dropiris.panels.run import Job, Step
from dropiris.trust import TrustReport, judge
from dropiris.volume import LabelMap, Volume

# Characters of DICOM's LO, which Segment Algorithm Name (0062,0009) is.
_LONGEST_NAME = 64


class SegmentationLogic(ScriptedLoadableModuleLogic):  # type: ignore[misc]
    """Base of a module's Logic; usable without a panel.

    Parameters
    ----------
    client : dropiris.panels.client.SegmentationClient, optional
        Runs the networks; by default the worker that both modules share, started at the first run.
    models : dropiris.panels.client.ModelList, optional
        By default the catalogue of shipped and installed models.

    Attributes
    ----------
    history : dropiris.mrml.undo.UndoHistory
        Results are written through it, so each can be taken back.
    remark : str
        Why the last run's result, or part of it, could not be checked; "".
    """

    def __init__(self, client: Any = None, models: Any = None):
        ScriptedLoadableModuleLogic.__init__(self)
        self._client, self._models = client, models
        self.history = UndoHistory()
        self.remark = ""

    @property
    def client(self) -> Any:
        return self._client if self._client is not None else shared_client()

    @property
    def usesWorker(self) -> bool:
        """Whether runs go to the worker, which needs PyTorch."""
        return self._client is None

    @property
    def models(self) -> Any:
        if self._models is None:
            from dropiris.models.catalogue import Catalogue

            self._models = Catalogue()
        return self._models

    def written(
        self,
        labels: LabelMap,
        volume: Volume,
        volumeNode: Any,
        segmentationNode: Any,
        mode: str,
        card: ModelCard,
        share: float = 1.0,
        prefix: str = "",
    ) -> Generator[Step, Any, Any]:
        """The end of a run: ``node = yield from self.written(...)``, with a way back.

        What takes time is done in a thread; the scene is touched on this one. ``share`` of the whole run is done
        by then, and ``prefix`` stands before the stage's name. Each segment says which model made it.
        """
        job = BackgroundJob(lambda progress, cancel: prepare(labels), _("Writing the segments"))
        prepared: PreparedResult = yield Step(job, share, share, prefix)
        prepared = replace(prepared, labels=moved_with_node(prepared.labels, volume, volumeNode))
        how: Mode = "new" if segmentationNode is None else "replace" if mode == "replace" else "add"
        return self.history.write(prepared, segmentationNode, volumeNode, how, algorithm=_algorithm(card))

    def checked(
        self,
        node: Any,
        labels: LabelMap,
        card: ModelCard,
        submit: Callable[[], Job],
        share: tuple[float, float],
        prefix: str = "",
    ) -> Generator[Step, Any, None]:
        """After :meth:`written`, at once: ``yield from self.checked(...)`` keeps with each segment how far to trust it.

        Whatever ends the check, a cancel too, leaves the result as it is; :attr:`remark` then says why nothing was
        found out.

        Parameters
        ----------
        labels : LabelMap
            What was written.
        card : ModelCard
            Its calibration decides what is flagged.
        submit : callable
            Starts the job, whose result is a :class:`dropiris.trust.TrustReport`.
        """
        written = self.history.segments()
        ids = {s.name: written[place] for place, s in enumerate(labels.structures, start=1) if place in written}
        try:
            report: TrustReport = yield Step(submit(), *share, prefix)
        except Cancelled:
            self.remark = _("The check was cancelled; the result stays.")
            return
        except DropIrisError as problem:
            self.remark = _("The result could not be checked: {problem}").format(problem=problem)
            return
        self.remark = report.why
        found = judge(report, card)
        write_trust(
            node, {ids[n]: SegmentTrust(found[n], report.voxels[n]) for n in found if n in ids and n in report.voxels}
        )


def _algorithm(card: ModelCard) -> str:
    """A model's title and version, as short as DICOM asks of a Segment Algorithm Name."""
    title, version = card.title or card.name, f" {card.version}"
    return title[: _LONGEST_NAME - len(version)] + version
