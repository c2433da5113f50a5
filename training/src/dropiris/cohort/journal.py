"""The memory of a cohort: ``cohort.jsonl`` grows by a line per case, ``cohort.csv`` is its newest state as a table.

One process writes both, whoever segments. A line is on the disk before the next case is counted, so a run that is cut
off anywhere forgets at most the cases that were under way.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dropiris.cohort.case import FAILED, WAITING, Case, CaseRecord
from dropiris.cohort.table import write_table
from dropiris.errors import InputError

LINES, TABLE, LOCK = "cohort.jsonl", "cohort.csv", ".cohort.lock"
# The table is rewritten whole: 10,000 cases are 2 MB, too much for each of them.
TABLE_EVERY = 5.0
# Names that `replacing` writes under; a worker that was killed leaves them.
_HALF_WRITTEN = re.compile(r"\.[0-9a-f]{8}\.(seg\.nrrd|nii\.gz|nrrd|dcm|json|csv)")


class Journal:
    """What is known of every case of a folder of results; open it with ``with``.

    Attributes
    ----------
    records : dict of case name to CaseRecord
        The newest of each.

    Raises
    ------
    InputError
        The folder cannot be written, or another run writes to it.
    """

    def __init__(self, folder: Path, cases: Sequence[Case] = ()):
        self.folder = Path(folder)
        self.records: dict[str, CaseRecord] = {}
        self._order = [case.name for case in cases]
        self._waiting = {case.name: CaseRecord.of(case, WAITING) for case in cases}
        self._unsaved: list[str] = []
        self._table_at = 0.0
        self._lock: Any = None

    def __enter__(self) -> Journal:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            self._remove_half_written()
            self._read()
        except OSError as problem:
            raise InputError(f"{self.folder} cannot be used ({problem.strerror}); choose another folder.") from None
        return self

    def __exit__(self, *problem: Any) -> None:
        self._remove_half_written()
        try:
            self._save()
            write_table(self.folder / TABLE, self.rows())
        finally:
            if self._lock is not None:
                self._lock.release()

    def add(self, record: CaseRecord) -> None:
        """Remember a case. A full disk keeps the line in memory until there is room, or until the end says so."""
        self.records[record.case] = record
        self._unsaved.append(json.dumps(record.to_json(), ensure_ascii=False, allow_nan=False))
        try:
            self._save()
            if time.monotonic() - self._table_at > TABLE_EVERY:
                write_table(self.folder / TABLE, self.rows())
                self._table_at = time.monotonic()
        except InputError:
            pass  # tried again with the next case; __exit__ raises what still fails

    def forget(self, names: Iterable[str]) -> None:
        """Results that no longer count are waiting again; failures stand until the next attempt ends."""
        for name in names:
            if name in self.records and self.records[name].status != FAILED:
                del self.records[name]

    def rows(self) -> list[CaseRecord]:
        """Every case of this run in its order, then those of earlier runs that are no longer among them."""
        rows = [self.records.get(name, self._waiting[name]) for name in self._order]
        return rows + [record for name, record in self.records.items() if name not in self._waiting]

    def _save(self) -> None:
        if not self._unsaved:
            return
        path = self.folder / LINES
        try:
            with path.open("ab") as file:
                end = file.tell()
                try:
                    file.write("".join(f"{line}\n" for line in self._unsaved).encode())
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    os.truncate(path, end)  # half a line would spoil the next
                    raise
        except OSError as problem:
            reason = problem.strerror or str(problem)
            raise InputError(
                f"{path} cannot be written ({reason}); free some space and run the same command: it goes on."
            ) from problem
        self._unsaved.clear()

    def _read(self) -> None:
        path = self.folder / LINES
        if not path.exists():
            return
        data = path.read_bytes()
        for record in _records(data.decode("utf-8", "replace").splitlines()):
            self.records[record.case] = record
        if data and not data.endswith(b"\n"):  # cut off by a crash
            with path.open("ab") as file:
                file.write(b"\n")

    def _take_lock(self) -> None:
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire(timeout=0)
            self._lock = lock
        except Timeout:
            raise InputError(
                f"Another run writes to {self.folder}; wait for its end or choose another folder."
            ) from None
        except NotImplementedError:
            pass  # a disk without locks: as safe as two runs of one user are

    def _remove_half_written(self) -> None:
        """Only who holds the lock may: nobody else's half is among them."""
        for path in self.folder.iterdir() if self._lock is not None else ():
            if _HALF_WRITTEN.fullmatch(path.name):
                path.unlink(missing_ok=True)


def _records(lines: Iterable[str]) -> Iterable[CaseRecord]:
    for line in lines:
        try:
            yield CaseRecord.from_json(json.loads(line))
        except (ValueError, KeyError, TypeError):
            continue  # a line that was cut off: its case is segmented again
