"""A segmenter without a network, for the modules' self-tests: it needs no torch, no worker and no model file.

DropGen's place is taken by fixed intensity steps, Iris' by the intensity range each structure has in the references.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dropiris.errors import Cancelled, InputError, ModelError
from dropiris.models.card import ModelCard
from dropiris.models.catalogue import CatalogueEntry
from dropiris.models.weights_header import read_weights_header
from dropiris.panels.threshold_check import compare_views, keep_reference, segment_back
from dropiris.progress import Progress
from dropiris.volume import LabelMap, Reference, Structure, Volume
from dropiris.worker.log import Log

# Structure n of a model covers intensities from n * STEP up to the next one's.
STEP = 100.0
# Of the model that takes the place of a network.
VERSION = "1.0"


class ThresholdJob:
    """Does its work in the calling thread, one tile a poll."""

    def __init__(self, work: Callable[[], Any], stage: str, tiles: int) -> None:
        self._work, self._cancelled, self._result = work, False, None
        self._error: BaseException | None = None
        self._steps = self._progress(stage, tiles)
        self.done = False

    def _progress(self, stage: str, tiles: int) -> Iterator[Progress]:
        for tile in range(1, tiles + 1):
            yield Progress(stage, tile / tiles, tile, tiles)

    def poll(self, timeout: float = 0.0) -> list[Progress]:
        if self.done:
            return []
        step = next(self._steps, None)
        if step is not None and not self._cancelled:
            return [step]
        try:
            if self._cancelled:
                raise Cancelled()
            self._result = self._work()
        except Exception as error:
            self._error = error
        self.done = True
        return []

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._result

    def cancel(self) -> None:
        self._cancelled = True


class ThresholdClient:
    """Takes the place of the worker's client.

    Parameters
    ----------
    structures : sequence of Structure
        Of the model.
    failure : exception, optional
        Every job ends with it.
    """

    def __init__(self, structures: Sequence[Structure], failure: Exception | None = None) -> None:
        self.structures, self.failure, self.devices = tuple(structures), failure, list[str]()
        self.log = Log()

    def submit_doctor(self, device: str = "auto") -> ThresholdJob:
        """Answers as the worker would on a processor."""
        found = {"device": "cpu", "device_name": "Processor", "precision": "float32", "why": "no network is run"}
        return ThresholdJob(lambda: found, "Trying a convolution", 1)

    def submit_segment_dropgen(
        self, volume: Volume, model_folder: Path, structures: Sequence[str] | None = None, device: str = "auto"
    ) -> ThresholdJob:
        def work() -> LabelMap:
            self._fail()
            labels = np.zeros(volume.shape, np.uint8)
            for structure in self.structures:
                labels[volume.array >= structure.label * STEP] = structure.label
            result = LabelMap(labels, volume.affine, self.structures)
            return result if structures is None else result.keep(structures)

        self.devices.append(device)
        return ThresholdJob(work, "Segmenting", 4)

    def submit_encode_iris(
        self,
        references: Sequence[Reference],
        model_folder: Path,
        task_file: Path,
        device: str = "auto",
        windows_file: Path | None = None,
    ) -> ThresholdJob:
        def work() -> Path:
            self._fail()
            ranges: dict[str, list[float]] = {}
            for reference in references:
                for structure in reference.structures:
                    values = reference.volume.array[reference.mask(structure.name)]
                    _widen(ranges, {structure.name: [float(values.min()), float(values.max())]})
            found = [structure for reference in references for structure in reference.structures]
            sources = [reference.volume.name for reference in references]
            _write_task(Path(task_file), Path(model_folder).name, ranges, found, sources)
            if windows_file is not None:
                keep_reference(references[0], windows_file)
            return Path(task_file)

        self.devices.append(device)
        return ThresholdJob(work, "Encoding references", 2)

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
    ) -> ThresholdJob:
        def work() -> LabelMap:
            self._fail()
            labels = np.zeros(volume.shape, np.uint8)
            ranges: dict[str, list[float]] = {}
            for task in tasks:
                _widen(ranges, json.loads(read_weights_header(Path(task))[1]["ranges"]))
            named = [Structure(label, name) for label, name in enumerate(ranges, start=1)]
            for structure in named:
                low, high = ranges[structure.name]
                labels[(volume.array >= low) & (volume.array <= high)] = structure.label
            result = LabelMap(labels, volume.affine, tuple(named))
            return result if structures is None else result.keep(structures)

        self.devices.append(device)
        return ThresholdJob(work, "Segmenting", 4)

    def submit_check_dropgen(
        self, volume: Volume, labels: LabelMap, model_folder: Path, device: str = "auto"
    ) -> ThresholdJob:
        return ThresholdJob(lambda: compare_views(volume, labels, STEP), "Checking the result", 2)

    def submit_check_iris(
        self,
        volume: Volume,
        labels: LabelMap,
        model_folder: Path,
        tasks: Sequence[Path],
        windows: Sequence[Path],
        device: str = "auto",
    ) -> ThresholdJob:
        return ThresholdJob(lambda: segment_back(volume, labels, windows), "Checking the result", 2)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


def _widen(ranges: dict[str, list[float]], more: dict[str, list[float]]) -> None:
    for name, (low, high) in more.items():
        lowest, highest = ranges.get(name, [low, high])
        ranges[name] = [min(lowest, low), max(highest, high)]


def _write_task(
    path: Path, model: str, ranges: dict[str, list[float]], found: Sequence[Structure], sources: Sequence[str]
) -> None:
    """A task file as the real ones are (a header that names everything, then numbers), with ranges for tokens."""
    first = {structure.name: structure for structure in reversed(found)}
    structures = [
        {"label": n, "name": name, "color": first[name].color, "terminology": first[name].terminology}
        for n, name in enumerate(ranges, start=1)
    ]
    about = {
        "dropiris_task": "1",
        "model": model,
        "version": VERSION,
        "structures": json.dumps(structures),
        "sources": json.dumps(list(sources)),
        "ranges": json.dumps(ranges),
    }
    tokens = np.array(list(ranges.values()), "<f4").tobytes()
    entry = {"dtype": "F32", "shape": [len(ranges), 2], "data_offsets": [0, len(tokens)]}
    header = json.dumps({"__metadata__": about, "tokens": entry}).encode()
    try:
        path.write_bytes(len(header).to_bytes(8, "little") + header + tokens)
    except OSError as problem:
        raise InputError(f"The task cannot be saved as {path} ({problem.strerror}); choose another place.") from None


class ThresholdModels:
    """Takes the place of the catalogue: one model that names structures and holds no weights."""

    def __init__(self, name: str, method: str, structures: Sequence[Structure] = ()) -> None:
        card = ModelCard(
            name,
            VERSION,
            method,
            (32, 32, 32),
            {"name": "intensity steps"},
            title="Intensity steps",
            description="No network: fixed intensity ranges, for tests.",
            spacing=(1.0, 1.0, 1.0) if method == "dropgen" else None,
            structures=tuple(structures),
        )
        self._entry, self._method = CatalogueEntry(name, card, Path(name), "shipped"), method
        self.installed = Path(name)

    def list(self) -> Sequence[Any]:
        return [self._entry]

    def find(self, name_or_path: str) -> Any:
        if name_or_path != self._entry.name:
            raise ModelError(f"There is no model {name_or_path!r}; did you mean {self._entry.name!r}?")
        return self._entry

    def default(self, method: str) -> Any:
        if method != self._method:
            raise InputError(f"There is no {method} model here.")
        return self._entry
