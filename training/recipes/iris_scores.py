"""Dice of one method on one task, pair by pair, kept in a file so that a call that was stopped goes on."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from iris_tasks import IrisTask

from dropiris.data.nnunet import Case, Dataset
from dropiris.errors import InputError
from dropiris.evaluate.intervals import Interval, structures_interval, structures_mean
from dropiris.evaluate.report import write_all
from dropiris.inference import IrisSegmenter
from dropiris.models.bundle import Bundle
from dropiris.train.validate import Scores, as_card_scores, as_reference, dice_per_structure
from dropiris.volume import LabelMap, Reference, Volume


class NotInstalled(InputError):
    """A method needs a package that is no dependency of this program."""


class Method(Protocol):
    """A column of the table.

    Attributes
    ----------
    name, title : str
        For files, and as the table's head.
    settings : str
        What results depend on; pairs that were measured with others are measured again.
    """

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def settings(self) -> str: ...

    def learn(self, reference: Reference) -> Callable[[Volume], LabelMap]:
        """What segments scans as this reference shows."""
        ...


class IrisModel:
    """An Iris bundle as a column; its weights are read when the first pair is measured.

    ``align``: as everybody uses it, with the reference aligned; else what the network does alone.
    """

    def __init__(self, bundle: Bundle, device: str = "auto", align: bool = True):
        self.bundle, self.device, self.align = bundle, device, align
        self.name = f"{bundle.card.name}-{bundle.card.version}" + ("" if align else "-alone")
        self.title = f"{bundle.card.name} {bundle.card.version}" + ("" if align else ", not aligned")
        shared = ((bundle.card.extractor or {}).get("bundle") or {}).get("sha256", "")
        digests = [bundle.card.sha256.get("weights.safetensors", ""), shared]
        self.settings = "weights " + ", features ".join(digest[:16] for digest in digests if digest)
        if align:
            self.settings += ", reference aligned"
        self._segmenter: IrisSegmenter | None = None

    def learn(self, reference: Reference) -> Callable[[Volume], LabelMap]:
        self._segmenter = segmenter = self._segmenter or IrisSegmenter(self.bundle, self.device)
        task = segmenter.encode([reference])
        atlases = [segmenter.atlas(reference)] if self.align else []
        return lambda scan: segmenter.segment(scan, task, atlases=atlases)


@dataclass(frozen=True)
class PairScore:
    """One query segmented with one reference.

    Attributes
    ----------
    dice : dict
        Of every structure that is annotated in both; one that was not found has 0.
    seconds, processor_seconds : float
        Learning from the reference and segmenting, by the clock and of processor time; files are read before.
    """

    reference: str
    query: str
    dice: dict[str, float]
    seconds: float
    processor_seconds: float


def measure(
    method: Method, task: IrisTask, data: Path, folder: Path, say: Callable[[str], None] = print, stored: bool = False
) -> list[PairScore]:
    """Every pair of a task, those measured before read from ``folder / TASK / METHOD.json``; ``stored``: only those.

    Raises
    ------
    InputError
        Data that cannot be read, or a folder that cannot be written; :class:`NotInstalled` by the method.
    """
    sources, references, targets, queries = task.open(data)
    path = folder / task.name / f"{method.name}.json"
    done = {(pair.reference, pair.query): pair for pair in read_pairs(path, method.settings)}
    wanted = [(reference, query) for reference in references for query in queries]
    for reference, query in wanted:
        key = (reference.name, query.name)
        if key not in done and not stored:
            done[key] = _pair(method, sources, reference, targets, query)
            _write(path, method, task, [done[k] for k in sorted(done)])
            say(f"{task.name}, {method.name}: {reference.name} -> {query.name}: {_mean(done[key].dice):.3f}")
    keys = [(reference.name, query.name) for reference, query in wanted]
    return [done[key] for key in keys if key in done]


def read_pairs(path: Path, settings: str) -> list[PairScore]:
    """What was measured with these settings; a damaged file counts as none."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return [PairScore(**pair) for pair in stored["pairs"]] if stored["settings"] == settings else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _pair(method: Method, sources: Dataset, reference: Case, targets: Dataset, query: Case) -> PairScore:
    example = as_reference(sources, reference)
    taken = [0.0, 0.0]

    def predict(scan: Volume) -> LabelMap:
        clock, processor = time.perf_counter(), time.process_time()
        result = method.learn(example)(scan)
        taken[:] = time.perf_counter() - clock, time.process_time() - processor
        return result

    shown = {structure.name for structure in example.structures}
    dice = dice_per_structure(targets, query, predict)
    kept = {name: value for name, value in dice.items() if name in shown}
    return PairScore(reference.name, query.name, kept, *(round(seconds, 2) for seconds in taken))


def _write(path: Path, method: Method, task: IrisTask, pairs: Sequence[PairScore]) -> None:
    content: dict[str, Any] = {"task": task.name, "method": method.name, "settings": method.settings}
    content["pairs"] = [vars(pair) for pair in pairs]
    write_all(path.parent, {path.name: json.dumps(content, indent=1) + "\n"})


def score(pairs: Sequence[PairScore], structures: Sequence[str] | None = None) -> tuple[float, Interval | None]:
    """Mean of the structures' means, as on model cards, and its interval.

    The interval draws queries, each with the mean over its references: scans are what generalises.
    """
    rows = [pair for pair in pairs if structures is None or set(structures) & set(pair.dice)]
    names = sorted({name for pair in rows for name in pair.dice if structures is None or name in structures})
    table = np.array([[pair.dice.get(name, np.nan) for name in names] for pair in rows])
    if not table.size:
        return float("nan"), None
    queries = sorted({pair.query for pair in rows})
    whose = np.array([queries.index(pair.query) for pair in rows])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a structure that a query does not have
        by_query = np.array([np.nanmean(table[whose == n], axis=0) for n in range(len(queries))])
    # drawing the one query that lacks a structure would compare other structures, not other scans
    sure = len(queries) > 2 or np.isfinite(by_query).all()
    return float(structures_mean(table)), structures_interval(by_query) if sure else None


def card_rows(task: IrisTask, pairs: Sequence[PairScore], data: Path) -> list[dict[str, Any]]:
    """Rows of a model card, of a model's pairs with the reference aligned."""
    scores = Scores()
    for pair in pairs:
        scores.add(pair.query, pair.dice)
    count = len({pair.reference for pair in pairs})
    note = f"one reference of {task.references[0]}, aligned; mean over {count} references"
    return as_card_scores(Dataset.open(data / task.queries[0]), task.queries[1], scores, note)


def _mean(dice: dict[str, float]) -> float:
    return float(np.mean(list(dice.values()))) if dice else float("nan")
