"""The one loop of every cohort: hand out cases, remember what came back, try again what may succeed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from dropiris.cohort.case import CHANGED, DONE, FAILED, WAITING, Case, CaseRecord
from dropiris.cohort.journal import Journal
from dropiris.cohort.recipe import Recipe
from dropiris.cohort.resume import standing
from dropiris.errors import InputError

RETRIES = 2


class Crew(Protocol):
    """Those who segment: one process, or workers on many machines."""

    @property
    def size(self) -> int:
        """Cases that can be under way at once."""

    @property
    def busy(self) -> int:
        """Cases that are under way."""

    def start(self, case: Case) -> None:
        """Hand a case to someone idle; only while ``busy < size``."""

    def next(self) -> tuple[Case, CaseRecord]:
        """Wait until a case that is under way ends, well or badly.

        A worker that dies gives a failed record that is ``temporary``; DropIrisError means nobody can work at all.
        """

    def close(self) -> None:
        """Stop at once; nothing half-written takes a result's name."""


@dataclass(frozen=True)
class Summary:
    """Cases of a run: segmented now, already valid, corrected by hand and kept, failed."""

    done: int
    skipped: int
    changed: int
    failed: int


def run_cohort(
    cases: Sequence[Case],
    recipe: Recipe,
    hire: Callable[[int], Crew],
    journal: Journal,
    retries: int = RETRIES,
    tell: Callable[[CaseRecord, int, int], None] = lambda record, ended, total: None,
) -> Summary:
    """Segment what is not done yet.

    Parameters
    ----------
    hire : callable
        Number of cases to the crew; not called when everything is done.
    journal : Journal
        Open.
    retries : int
        Further attempts after a failure that may pass (a worker that died, a full disk), at the end of the queue.
    tell : callable
        (record, cases ended, cases of this run); also for an attempt that will be repeated (``record.temporary``).

    Raises
    ------
    InputError
        The disk stays full. Everything written stays; the same run goes on.
    """
    state = {case.name: standing(case, journal.records.get(case.name), recipe) for case in cases}
    for case in cases:
        if state[case.name] == CHANGED and journal.records[case.name].status != CHANGED:
            journal.add(replace(journal.records[case.name], status=CHANGED))
    journal.forget(name for name, status in state.items() if status == WAITING)
    waiting = deque(case for case in cases if state[case.name] == WAITING)
    counts = {status: list(state.values()).count(status) for status in (DONE, CHANGED)}
    made = _work(waiting, hire, journal, retries, tell) if waiting else []
    failed = sum(record.status == FAILED for record in made)
    return Summary(len(made) - failed, counts[DONE], counts[CHANGED], failed)


def _work(
    waiting: deque[Case], hire: Callable[[int], Crew], journal: Journal, retries: int,
    tell: Callable[[CaseRecord, int, int], None],
) -> list[CaseRecord]:  # fmt: skip
    made: list[CaseRecord] = []
    before: dict[str, list[CaseRecord]] = {}
    total, full_in_a_row = len(waiting), 0
    crew = hire(total)
    try:
        while waiting or crew.busy:
            while waiting and crew.busy < crew.size:
                crew.start(waiting.popleft())
            case, record = crew.next()
            earlier = before.setdefault(case.name, [])
            for attempt in earlier:
                record = record.with_note(f"tried again: {attempt.error}")
            record = replace(record, attempts=len(earlier) + 1)
            if record.disk_full or record.status == DONE:
                full_in_a_row = full_in_a_row + 1 if record.disk_full else 0
            again = record.status == FAILED and record.temporary and len(earlier) < retries
            stuck = full_in_a_row > 2 * crew.size
            if again and not stuck:
                earlier.append(record)
                waiting.append(case)
                tell(record, len(made), total)
                continue
            record = replace(record, temporary=False)
            journal.add(record)
            made.append(record)
            tell(record, len(made), total)
            if stuck:
                raise InputError(
                    f"The disk of {journal.folder} is full; free some space and run the same command: it goes on."
                )
    finally:
        crew.close()
    return made
