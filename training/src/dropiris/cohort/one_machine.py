"""The crew of one: this process, one scan after another."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from dropiris.cohort.case import Case, CaseRecord
from dropiris.cohort.recipe import Recipe
from dropiris.progress import ProgressCallback, ignore_progress


class OneMachine:
    """Segments in this process; the model is opened with the first case and stays warm.

    Parameters
    ----------
    watched : callable
        Title to a context that gives a progress callback.
    """

    size = 1

    def __init__(
        self,
        recipe: Recipe,
        watched: Callable[[str], AbstractContextManager[ProgressCallback]] = lambda title: nullcontext(ignore_progress),
    ):
        self._watched = watched
        self._case: Case | None = None
        self._digest = recipe.digest
        with watched("Model") as progress:
            self._station = recipe.open(progress)

    @property
    def busy(self) -> int:
        return int(self._case is not None)

    def start(self, case: Case) -> None:
        self._case = case

    def next(self) -> tuple[Case, CaseRecord]:
        case = self._case
        assert case is not None
        try:
            with self._watched(case.scan.name) as progress:
                return case, self._station.attempt(case, self._digest, progress)
        finally:
            self._case = None

    def close(self) -> None:
        self._case = None
