"""How sure a mean is: bootstrap intervals over cases, and Wilson's interval of a rate. All at 95 %."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

RULE = (
    "95 % intervals: BCa bootstrap over cases (2000 resamples, fixed seed; percentiles where BCa is undefined), which "
    "takes cases as independent and is too narrow for fewer than about ten; rates: Wilson."
)
_RESAMPLES = 2000
_BATCH = 200  # resamples at a time: bounds memory
# SciPy 1.15 renamed the argument.
_SEED_NAME = "rng" if "rng" in inspect.signature(stats.bootstrap).parameters else "random_state"

Interval = tuple[float, float]


def mean_interval(values: np.ndarray) -> Interval | None:
    """Of the mean of finite values (n,); None for fewer than two."""
    return _bootstrap(np.asarray(values, dtype=float), lambda drawn: drawn.mean(-1))


def structures_interval(table: np.ndarray) -> Interval | None:
    """Of the mean of the structures' means of a table (cases, structures) with NaN where nothing was scored.

    Cases are drawn, not single scores: structures of one person are not independent.
    """
    known = table[np.isfinite(table).any(1)]
    known = known[:, np.isfinite(known).any(0)]
    return _bootstrap(np.arange(len(known)), lambda drawn: structures_mean(known[drawn]))


def structures_mean(table: np.ndarray) -> Any:
    """Mean over structures of the mean over cases of tables (..., cases, structures); NaN is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a structure that no drawn case has
        return np.nanmean(np.nanmean(table, axis=-2), axis=-1)


def rate_interval(count: int, total: int) -> Interval | None:
    """Of ``count`` out of ``total``; None of nothing."""
    if not total:
        return None
    found = stats.binomtest(count, total).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def _bootstrap(sample: np.ndarray, statistic: Callable[[np.ndarray], Any]) -> Interval | None:
    if len(sample) < 2:
        return None
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # cases that do not differ
            found = stats.bootstrap(
                (sample,),
                lambda drawn, axis=-1: statistic(drawn),
                n_resamples=_RESAMPLES,
                batch=_BATCH,
                vectorized=True,
                axis=-1,
                method=method,
                **{_SEED_NAME: np.random.default_rng(0)},
            ).confidence_interval
        low, high = float(found.low), float(found.high)
        if np.isfinite([low, high]).all():
            return low, high
    return None
