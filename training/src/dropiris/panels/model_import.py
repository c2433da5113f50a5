"""Importing a model from this computer, as the steps of a run that holds no panel up."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from slicer.i18n import tr as _

from dropiris.errors import Cancelled
from dropiris.models.dropgen_checkpoint import ENDINGS, name_of_checkpoint
from dropiris.panels.background_job import BackgroundJob
from dropiris.panels.run import Job, Step, Work


class CheckpointReader(Protocol):
    """Reads PyTorch's files where PyTorch is: :class:`dropiris.worker.client.WorkerClient`."""

    def submit_import_dropgen(self, path: Path, folder: Path, name: str) -> Job: ...


def import_model(path: str | os.PathLike[str], models: Any, reader: Callable[[], CheckpointReader]) -> Work:
    """Install a bundle (folder or .zip), or a checkpoint of the authors' DropGen code; returns the bundle.

    Parameters
    ----------
    models : dropiris.models.catalogue.Catalogue
    reader : callable
        Gives who reads a checkpoint; asked for only where there is one.

    Raises
    ------
    DropIrisError
        One sentence; nothing is installed then.
    """
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        return (yield from installation(_("Importing the model"), lambda *_: models.import_bundle(path)))
    with tempfile.TemporaryDirectory(prefix="model-") as folder:
        bundle = yield Step(reader().submit_import_dropgen(path, Path(folder) / "model", name_of_checkpoint(path)))
        return (yield from installation(_("Importing the model"), lambda *_: models.import_bundle(bundle)))


def installation(stage: str, work: Callable[[Any, Any], Any]) -> Work:
    """One job in a thread that installs a model; a cancel that comes too late does not hide that it is there."""
    job = BackgroundJob(work, stage)
    try:
        return (yield Step(job))
    except Cancelled:
        if job.succeeded:
            return job.result()
        raise
