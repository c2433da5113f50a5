"""``result.json`` of one run: whose it is, how long it took, and the Dice of every structure of every case."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dropiris.errors import InputError
from dropiris.files.writing import replacing

RESULT = "result.json"
Scores = dict[str, dict[str, float]]  # case -> structure -> Dice
ROLES = ("validation", "test")


@dataclass(frozen=True)
class DomainResult:
    """One contender with one seed on one shift.

    Attributes
    ----------
    dropout : float or None
        Of DropGen; None of other methods, and where an earlier version did not write it.
    validation, test : dict
        Case to structure to Dice, 0 to 1; {} where there were no such cases.
    """

    shift: str
    method: str
    seed: int
    steps: int
    extractor: str
    seconds: float
    dropout: float | None = None
    validation: Scores = field(default_factory=dict)
    test: Scores = field(default_factory=dict)

    def mean(self, role: str) -> float:
        return mean_dice(getattr(self, role))


def mean_dice(scores: Scores) -> float:
    """Mean over structures of the mean over the cases that show them; NaN of nothing.

    A structure counts once however many cases show it: in partially labelled data the liver would drown the others.
    """
    names = sorted({name for case in scores.values() for name in case})
    means = [np.mean([case[name] for case in scores.values() if name in case]) for name in names]
    return float(np.mean(means)) if means else float("nan")


def case_means(scores: Scores) -> dict[str, float]:
    """Mean over each case's structures."""
    return {case: float(np.mean(list(found.values()))) for case, found in scores.items() if found}


def write_result(folder: Path, result: DomainResult) -> None:
    path = folder / RESULT
    with replacing(path, ".json") as hidden:
        hidden.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")


def read_result(folder: Path, shift: str, datasets: Mapping[str, str]) -> DomainResult | None:
    """The result in a run's folder; None where there is none.

    ``datasets`` (role to dataset name) reads results of an earlier version, which wrote a dataset's name where now
    its role stands, and no shift.

    Raises
    ------
    InputError
        The file is damaged, or holds another shift's scores.
    """
    path = folder / RESULT
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if "shift" in found:
            return DomainResult(**found)
        known = {key: found[key] for key in ("method", "seed", "steps", "extractor", "seconds")}
        scores = {role: found[name] for role, name in datasets.items() if name in found}
        if not scores:
            raise KeyError(f"none of {', '.join(datasets.values())}")
        return DomainResult(shift=shift, **known, **scores)
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise InputError(f"{path} cannot be read ({problem.strerror}); check its permissions.") from None
    except (ValueError, KeyError, TypeError) as problem:
        raise InputError(
            f"{path} is no result of this benchmark ({problem}); remove it and the run is made again."
        ) from None
