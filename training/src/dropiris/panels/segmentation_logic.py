"""What both modules' Logic share: who runs the networks, which models there are, and the way back from a result."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from dropiris.models.card import ModelCard
from dropiris.mrml.results import Mode, PreparedResult, prepare
from dropiris.mrml.undo import UndoHistory
from dropiris.mrml.volumes import moved_with_node
from dropiris.panels.background_job import BackgroundJob
from dropiris.panels.client import shared_client
from dropiris.panels.run import Step
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
    """

    def __init__(self, client: Any = None, models: Any = None):
        ScriptedLoadableModuleLogic.__init__(self)
        self._client, self._models = client, models
        self.history = UndoHistory()

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


def _algorithm(card: ModelCard) -> str:
    """A model's title and version, as short as DICOM asks of a Segment Algorithm Name."""
    title, version = card.title or card.name, f" {card.version}"
    return title[: _LONGEST_NAME - len(version)] + version
