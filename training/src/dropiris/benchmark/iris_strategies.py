"""Figure 4: strategies by number of references.

Ensemble and tuning use references drawn at random; image-level and object-level retrieval search the whole pool and use
the most similar ones. Of one reference the ensemble is one-shot inference.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from dropiris.benchmark.dg_config import folder_name
from dropiris.benchmark.dg_result import Scores
from dropiris.benchmark.iris_config import Strategy, StrategyTrial
from dropiris.benchmark.iris_data import Chosen, Model, Pool, mean_feature, read_scan, score_query, told, whole_scan
from dropiris.benchmark.units import Unit
from dropiris.data.nnunet import Case
from dropiris.errors import InputError
from dropiris.inference.task_embedding import TaskEmbedding, average


def strategy_units(model: Model, trial: StrategyTrial, pool: Chosen, queries: Chosen) -> Iterator[Unit]:
    """A unit per strategy, number of references and draw; image-level retrieval draws nothing, so once."""
    too_many = [count for count in trial.references if count > len(pool.cases)]
    if too_many:
        raise InputError(f"{trial.name}: {too_many[0]} references are asked for, but the pool has {len(pool.cases)}.")
    encoded = Pool(model, pool)
    for repeat in range(trial.repeats):
        for count in sorted(trial.references):
            for strategy in trial.strategies:
                if strategy == "image-retrieval" and repeat:
                    continue
                folder = model.folder / "strategies" / folder_name(trial.name)
                yield Unit(
                    f"{model.name}, {trial.name}, {strategy} of {count}, draw {repeat}",
                    folder / f"{strategy}-{count}-{repeat}.json",
                    {
                        **model.settings,
                        "pool": encoded.key,
                        "queries": [queries.dataset.name, *(case.name for case in queries.cases)],
                    },
                    partial(_run, encoded, queries, strategy, count, repeat),
                )


def _run(pool: Pool, queries: Chosen, strategy: Strategy, count: int, repeat: int) -> dict[str, Any]:
    order = np.random.default_rng(repeat).permutation(len(pool.tasks))
    fixed: TaskEmbedding | None = None
    started = time.perf_counter()
    if strategy in ("ensemble", "tune"):
        fixed = average([pool.tasks[n] for n in order[:count]])
    if strategy == "tune":
        from dropiris.inference.tuning import tune

        drawn = [pool.chosen.reference(pool.chosen.cases[n]) for n in order[:count]]
        fixed = tune(pool.model.segmenter, fixed, drawn)  # type: ignore[arg-type]
    elif strategy == "image-retrieval":
        _ = pool.scans  # encoded before the queries' clock runs, as the pool's tasks are
    prepared = time.perf_counter() - started
    scores: Scores = {}
    started = time.perf_counter()
    for case in queries.cases:
        if fixed is not None:
            task = fixed
        elif strategy == "retrieval":
            task = _by_object(pool, case, pool.tasks[order[0]], count)
        else:
            task = _by_image(pool, case, count)
        scores[case.name] = score_query(queries.dataset, case, task, pool.model.segmenter)
    seconds = time.perf_counter() - started
    return {
        "strategy": strategy, "references": count, "repeat": repeat, "scores": scores,
        "prepare_seconds": round(prepared, 3), "query_seconds": round(seconds / len(queries.cases), 3),
        "told": told(scores),
    }  # fmt: skip


def _by_object(pool: Pool, case: Case, drawn: TaskEmbedding, count: int) -> TaskEmbedding:
    """Each structure's ``count`` most similar references (Sec. 3.4), by the scan's own first mask."""
    from dropiris.inference.strategies import nearest, own_embedding

    everyone = average(pool.tasks)
    own = own_embedding(pool.model.segmenter, read_scan(case), drawn, everyone.names)
    compared = pool.model.segmenter.scorer.iris.own_tokens
    return everyone if own is None else nearest(own, pool.tasks, everyone, count, compared)


def _by_image(pool: Pool, case: Case, count: int) -> TaskEmbedding:
    """The ``count`` scans whose mean feature is most similar to the query's."""
    likeness = pool.scans @ mean_feature(whole_scan(case, pool.model.segmenter))
    return average([pool.tasks[n] for n in np.argsort(likeness)[::-1][:count]])
