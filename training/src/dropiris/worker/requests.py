"""The requests people make, typed: each as a job to poll (``submit_*``) and as a call that waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from dropiris.errors import WorkerError
from dropiris.progress import CancelToken, Progress, ProgressCallback, ignore_progress
from dropiris.trust import TrustReport
from dropiris.volume import LabelMap, Reference, Volume
from dropiris.worker.arrays import Carried
from dropiris.worker.job import Job

T = TypeVar("T")
AnyPath = str | PathLike[str]


class SegmentationRequests:
    """The verbs of :class:`~dropiris.worker.client.WorkerClient`, over its :meth:`submit`."""

    def submit(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        volumes: Mapping[str, Carried] | None = None,
        convert: Callable[[dict[str, Any]], T] | None = None,
    ) -> Job[T]:
        raise NotImplementedError

    def submit_doctor(self, device: str = "auto") -> Job[dict[str, Any]]:
        """What runs here: versions, device, a real 3D convolution."""
        return self.submit("doctor", {"device": device}, convert=dict)

    def submit_import_dropgen(self, path: AnyPath, folder: AnyPath, name: str) -> Job[Path]:
        """Write the bundle ``name`` into ``folder`` from a checkpoint of the authors' DropGen code."""
        params = {"path": _absolute(path), "folder": _absolute(folder), "name": name}
        return self.submit("import_dropgen", params, convert=lambda answer: Path(answer["folder"]))

    def submit_segment_dropgen(
        self,
        volume: Volume,
        model_folder: AnyPath,
        structures: Sequence[str] | None = None,
        device: str = "auto",
    ) -> Job[LabelMap]:
        """Segment ``volume`` with the DropGen bundle in ``model_folder``; labels on the volume's own grid."""
        params = {"model": _absolute(model_folder), "structures": _names(structures), "device": device}
        return self.submit("segment_dropgen", params, {"volume": volume}, _labels)

    def submit_encode_iris(
        self,
        references: Sequence[Reference],
        model_folder: AnyPath,
        task_file: AnyPath,
        device: str = "auto",
        windows_file: AnyPath | None = None,
    ) -> Job[Path]:
        """Encode ``references`` into one task embedding, saved as ``task_file`` (.safetensors).

        ``windows_file`` keeps what is seen of a single reference, for :meth:`submit_check_iris`.
        """
        params = {"model": _absolute(model_folder), "task_file": _absolute(task_file), "device": device}
        if windows_file is not None:
            params["windows_file"] = _absolute(windows_file)
        volumes = {f"reference {n}": reference for n, reference in enumerate(references)}
        return self.submit("encode_iris", params, volumes, lambda answer: Path(answer["task_file"]))

    def submit_segment_iris(
        self,
        volume: Volume,
        model_folder: AnyPath,
        tasks: Sequence[AnyPath],
        structures: Sequence[str] | None = None,
        device: str = "auto",
        strategy: str = "one-shot",
        references: Sequence[Reference] = (),
        windows: Sequence[AnyPath] = (),
    ) -> Job[LabelMap]:
        """Segment ``volume`` with saved task embeddings.

        ``references`` only for strategies that look at them again; ``windows``, what :meth:`submit_encode_iris` kept of
        references, to align them with the scan.
        """
        params = {
            "model": _absolute(model_folder),
            "tasks": [_absolute(task) for task in tasks],
            "structures": _names(structures),
            "device": device,
            "strategy": strategy,
            "windows": [_absolute(file) for file in windows],
        }
        volumes: dict[str, Carried] = {"volume": volume}
        volumes.update({f"reference {n}": reference for n, reference in enumerate(references)})
        return self.submit("segment_iris", params, volumes, _labels)

    def submit_check_dropgen(
        self, volume: Volume, labels: LabelMap, model_folder: AnyPath, device: str = "auto"
    ) -> Job[TrustReport]:
        """How far partial views of ``volume`` agree with its result ``labels``."""
        params = {"model": _absolute(model_folder), "device": device}
        return self.submit("check_dropgen", params, {"volume": volume, "labels": labels}, TrustReport.from_json)

    def submit_check_iris(
        self,
        volume: Volume,
        labels: LabelMap,
        model_folder: AnyPath,
        tasks: Sequence[AnyPath],
        windows: Sequence[AnyPath],
        device: str = "auto",
    ) -> Job[TrustReport]:
        """Segment references back from a result.

        ``tasks`` are those the result was made with, ``windows`` what :meth:`submit_encode_iris` kept of references.
        """
        params = {
            "model": _absolute(model_folder),
            "tasks": [_absolute(task) for task in tasks],
            "windows": [_absolute(file) for file in windows],
            "device": device,
        }
        return self.submit("check_iris", params, {"volume": volume, "labels": labels}, TrustReport.from_json)

    def doctor(self, device: str = "auto", cancel: CancelToken | None = None) -> dict[str, Any]:
        """:meth:`submit_doctor`, waiting."""
        return wait_for(self.submit_doctor(device), ignore_progress, cancel)

    def segment_dropgen(
        self,
        volume: Volume,
        model_folder: AnyPath,
        structures: Sequence[str] | None = None,
        device: str = "auto",
        progress: ProgressCallback = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> LabelMap:
        """:meth:`submit_segment_dropgen`, waiting; ``progress`` is called on this thread."""
        return wait_for(self.submit_segment_dropgen(volume, model_folder, structures, device), progress, cancel)

    def encode_iris(
        self,
        references: Sequence[Reference],
        model_folder: AnyPath,
        task_file: AnyPath,
        device: str = "auto",
        progress: ProgressCallback = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> Path:
        """:meth:`submit_encode_iris`, waiting; ``progress`` is called on this thread."""
        return wait_for(self.submit_encode_iris(references, model_folder, task_file, device), progress, cancel)

    def segment_iris(
        self,
        volume: Volume,
        model_folder: AnyPath,
        tasks: Sequence[AnyPath],
        structures: Sequence[str] | None = None,
        device: str = "auto",
        strategy: str = "one-shot",
        references: Sequence[Reference] = (),
        progress: ProgressCallback = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> LabelMap:
        """:meth:`submit_segment_iris`, waiting; ``progress`` is called on this thread."""
        job = self.submit_segment_iris(volume, model_folder, tasks, structures, device, strategy, references)
        return wait_for(job, progress, cancel)


def wait_for(job: Job[T], progress: Callable[[Progress], None], cancel: CancelToken | None = None) -> T:
    """Wait for ``job`` on this thread, passing progress on; the job is cancelled when the wait ends early."""
    try:
        while True:
            done = job.done
            for step in job.poll(0.0 if done else 0.1):
                progress(step)
            if done:
                return job.result()
            if cancel is not None and cancel.cancelled:
                job.cancel()
    finally:
        job.cancel()


def _labels(answer: dict[str, Any]) -> LabelMap:
    labels = answer.get("labels")
    if not isinstance(labels, LabelMap):
        raise WorkerError("The worker's answer holds no label map; install the same version of dropiris for both.")
    return labels


def _absolute(path: AnyPath) -> str:
    return str(Path(path).absolute())


def _names(structures: Sequence[str] | None) -> list[str] | None:
    return None if structures is None else [str(name) for name in structures]
