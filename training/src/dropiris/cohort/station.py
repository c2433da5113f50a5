"""A warm model that takes one scan after another: read, segment, write, read back, measure, check."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dropiris.cohort.case import DONE, FAILED, Case, CaseRecord
from dropiris.cohort.failure import is_disk_full, is_temporary, sentence_of
from dropiris.cohort.marks import mark_of
from dropiris.errors import Cancelled, DropIrisError, InputError
from dropiris.measure import StructureStatistics, segment_statistics
from dropiris.models.bundle import sha256_of
from dropiris.progress import CancelToken, ProgressCallback, ignore_progress
from dropiris.trust import judge
from dropiris.volume import LabelMap, Volume

if TYPE_CHECKING:
    from dropiris.models.card import ModelCard
    from dropiris.trust import TrustReport

Segment = Callable[[Volume, ProgressCallback, CancelToken], LabelMap]
Check = Callable[[Volume, LabelMap, ProgressCallback, CancelToken], "TrustReport"]


@dataclass(frozen=True)
class Station:
    """A model with its settings, ready to work.

    Attributes
    ----------
    segment : callable
        (volume, progress, cancel) to a label map on the scan's grid.
    card : ModelCard
        Whose title and version a DICOM segmentation names, and whose threshold judges trust.
    device : str
        Where it runs, in words.
    check : callable or None
        (volume, labels, progress, cancel) to a trust report.
    """

    segment: Segment
    card: ModelCard
    device: str
    check: Check | None = None

    def write(self, labels: LabelMap, case: Case) -> list[str]:
        """Write a result by its ending; returns remarks."""
        case.result.parent.mkdir(parents=True, exist_ok=True)
        if not case.result.name.lower().endswith(".dcm"):
            from dropiris.files import write_labels

            write_labels(labels, case.result)
            return []
        from dropiris.files.dicom_seg import write_dicom_seg

        uncoded = write_dicom_seg(labels, case.scan, case.result, self.card.title, self.card.version)
        return [f"no code is known for {', '.join(uncoded)}; written as tissue."] if uncoded else []

    def checked(
        self, volume: Volume, labels: LabelMap, rows: list[StructureStatistics], progress: ProgressCallback
    ) -> tuple[list[StructureStatistics], list[str]]:
        """The rows with their trust, and remarks; a check that fails costs the numbers, not the result."""
        if self.check is None:
            return rows, []
        try:
            report = self.check(volume, labels, progress, CancelToken())
        except Cancelled:
            raise
        except DropIrisError as problem:
            return rows, [f"the result could not be checked: {problem}"]
        trust = judge(report, self.card)
        return [replace(row, trust=trust.get(row.name)) for row in rows], [report.why] if report.why else []

    def attempt(self, case: Case, recipe: str, progress: ProgressCallback = ignore_progress) -> CaseRecord:
        """One case from scan to record; whatever goes wrong with it becomes the record's sentence."""
        start = time.monotonic()
        about: dict[str, Any] = {"worker": socket.gethostname(), "device": self.device, "recipe": recipe}
        try:
            about |= self._made(case, progress)
            record = CaseRecord.of(case, DONE, **about)
        except (Cancelled, KeyboardInterrupt):
            raise
        except Exception as problem:  # one scan's trouble must not end ten thousand others
            about |= {"error": sentence_of(problem), "temporary": is_temporary(problem)}
            record = CaseRecord.of(case, FAILED, **about, disk_full=is_disk_full(problem))
        return replace(record, seconds=time.monotonic() - start)

    def _made(self, case: Case, progress: ProgressCallback) -> dict[str, Any]:
        from dropiris.files import read_volume

        volume, mark = read_volume(case.scan), mark_of(case.scan)
        labels = self.segment(volume, progress, CancelToken())
        notes = self.write(labels, case)
        read_back(case, volume, labels)
        rows, more = self.checked(volume, labels, segment_statistics(volume, labels), progress)
        return {
            "trusted": self.check is not None,
            "scan_mark": mark,
            "result_sha256": sha256_of(case.result),
            "statistics": tuple(rows),
            "notes": tuple(notes + more),
        }


def read_back(case: Case, volume: Volume, labels: LabelMap) -> None:
    """A result that cannot be read again, or reads otherwise, was never written well (network disks)."""
    if case.result.name.lower().endswith(".dcm"):
        return
    from dropiris.files import read_labels

    found = sum(int(np.count_nonzero(layer.array)) for layer in read_labels(case.result, like=volume))
    if found != np.count_nonzero(labels.array):
        raise InputError(f"{case.result} does not hold what was written to it; check the disk.")
