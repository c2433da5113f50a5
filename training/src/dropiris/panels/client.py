"""What the modules ask of the worker, and the one worker both of them share."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from dropiris.panels.requirements import in_words, requirements_missing
from dropiris.panels.run import Job
from dropiris.volume import LabelMap, Reference, Volume


class SegmentationClient(Protocol):
    """Starts jobs without blocking; :class:`dropiris.worker.client.WorkerClient`, or a stand-in without a worker."""

    def submit_segment_dropgen(
        self, volume: Volume, model_folder: Path, structures: Sequence[str] | None = None, device: str = "auto"
    ) -> Job: ...

    def submit_encode_iris(
        self,
        references: Sequence[Reference],
        model_folder: Path,
        task_file: Path,
        device: str = "auto",
        windows_file: Path | None = None,
    ) -> Job: ...

    def submit_segment_iris(
        self,
        volume: Volume,
        model_folder: Path,
        tasks: Sequence[Path],
        structures: Sequence[str] | None = None,
        device: str = "auto",
        strategy: str = "one-shot",
        references: Sequence[Reference] = (),
        windows: Sequence[Path] = (),
    ) -> Job: ...

    def submit_check_dropgen(
        self, volume: Volume, labels: LabelMap, model_folder: Path, device: str = "auto"
    ) -> Job: ...

    def submit_check_iris(
        self,
        volume: Volume,
        labels: LabelMap,
        model_folder: Path,
        tasks: Sequence[Path],
        windows: Sequence[Path],
        device: str = "auto",
    ) -> Job: ...


class ModelList(Protocol):
    """Where models are found by name; :class:`dropiris.models.catalogue.Catalogue`."""

    def list(self) -> Sequence[Any]: ...

    def find(self, name_or_path: str) -> Any: ...

    def default(self, method: str) -> Any: ...


_lock = threading.Lock()
_shared: list[SegmentationClient] = []


def shared_client() -> SegmentationClient:
    """The worker of this Slicer, made at the first request and ended with the process: models stay loaded once."""
    with _lock:
        if not _shared:
            from dropiris.worker.client import WorkerClient

            _shared.append(WorkerClient())
        return _shared[0]


def missing_dependency() -> str:
    """Why nothing can run in this Python yet, in one sentence, or ""; nothing is imported to find out."""
    return in_words(requirements_missing())
