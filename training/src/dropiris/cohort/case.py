"""One scan of a cohort, the file its result goes to, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dropiris.measure import StructureStatistics
from dropiris.trust import CHECK, StructureTrust

DONE, FAILED, WAITING, CHANGED = "done", "failed", "waiting", "changed by hand"
RESULT_ENDINGS = (".seg.nrrd", ".nii.gz", ".nrrd", ".dcm")


@dataclass(frozen=True)
class Case:
    """A scan and the file its result goes to."""

    scan: Path
    result: Path

    @property
    def name(self) -> str:
        """The result's file name without its ending: unique in a folder of results."""
        ending = next((e for e in RESULT_ENDINGS if self.result.name.lower().endswith(e)), self.result.suffix)
        return self.result.name[: len(self.result.name) - len(ending)]


@dataclass(frozen=True)
class CaseRecord:
    """What is known of a case after an attempt; one line of the journal, one row of the table.

    Attributes
    ----------
    status : {"done", "failed", "waiting", "changed by hand"}
    seconds : float
        Of the last attempt, from opening the scan to the checked result.
    attempts : int
        In the run that made the record.
    recipe : str
        Digest of the model and the settings.
    trusted : bool
        Whether the result was checked (``--trust``).
    scan_mark : mapping
        See :func:`dropiris.cohort.marks.mark_of`.
    result_sha256 : str
        Of the result's file as it was written and read back.
    temporary, disk_full : bool
        Whether a failure may be over at the next attempt, and whether it was a full disk. Not kept.
    """

    case: str
    scan: str
    result: str
    status: str
    seconds: float = 0.0
    attempts: int = 1
    worker: str = ""
    device: str = ""
    recipe: str = ""
    trusted: bool = False
    scan_mark: Mapping[str, Any] | None = None
    result_sha256: str = ""
    statistics: tuple[StructureStatistics, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""
    temporary: bool = False
    disk_full: bool = False

    @classmethod
    def of(cls, case: Case, status: str, **more: Any) -> CaseRecord:
        return cls(case.name, str(case.scan), case.result.name, status, **more)

    def with_note(self, note: str) -> CaseRecord:
        return replace(self, notes=(*self.notes, note))

    @property
    def flags(self) -> list[str]:
        """What a person should look at: structures not found or not to be trusted, a result that was changed."""
        found = [f"not found: {row.name}" for row in self.statistics if row.is_empty]
        found += [f"check this: {row.name}" for row in self.statistics if row.trust and row.trust.flag == CHECK]
        return found + ([CHANGED] if self.status == CHANGED else [])

    def to_json(self) -> dict[str, Any]:
        data = asdict(self)
        del data["temporary"], data["disk_full"]
        data["statistics"] = [_without_nan(asdict(row)) for row in self.statistics]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CaseRecord:
        """Raises KeyError, TypeError or ValueError where the line is none of ours."""
        rows = tuple(_statistics(item) for item in data["statistics"])
        return cls(**{**data, "statistics": rows, "notes": tuple(data["notes"])})


def _without_nan(value: Any) -> Any:
    """JSON has no NaN; null stands for it."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _statistics(item: Mapping[str, Any]) -> StructureStatistics:
    trust = item["trust"]
    number = {key: math.nan if item[key] is None else item[key] for key in ("mean", "sd")}
    x, y, z = (math.nan if value is None else value for value in item["centre_ras"])
    given = trust and StructureTrust(
        math.nan if trust["value"] is None else trust["value"], trust["flag"], trust["check"]
    )
    return StructureStatistics(
        item["name"], item["voxels"], item["volume_ml"], **number, centre_ras=(x, y, z), trust=given
    )
