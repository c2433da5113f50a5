"""Whether the scores on a model's card come out again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dropiris.models.bundle import Bundle
from dropiris.train.dropgen_config import DropGenConfig
from dropiris.train.dropgen_export import DropGenExport
from dropiris.train.iris_config import IrisConfig
from dropiris.train.iris_export import IrisExport
from dropiris.train.methods import build_method

# Other processors and versions of libraries round differently: a few voxels at the edge of a structure.
TOLERANCE = 0.005


def unlisted(stated: Sequence[dict[str, Any]], measured: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Measured rows of what a card has no row of."""
    known = {key_of(row) for row in stated}
    return [row for row in measured if key_of(row) not in known]


def rows_again(bundle: Bundle, config: IrisConfig | DropGenConfig, device: str = "auto") -> list[dict[str, Any]]:
    """The rows that training would write on the card of these weights; nothing is written."""
    if isinstance(config, IrisConfig):
        return IrisExport(config, Path(), device=device).rows(bundle)
    export = DropGenExport(config, Path(), build_method(config), None, device)
    rows = export.rows(bundle, config.validation, config.validation_cases)
    return rows + (export.rows(bundle, config.test) if config.test is not None else [])


def differences(stated: Sequence[dict[str, Any]], measured: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence for every row of a card that was measured otherwise, or not at all; none where all is well."""
    again = {key_of(row): row["value"] for row in measured}
    found = []
    for row in stated:
        value, what = again.get(key_of(row)), ", ".join(part for part in key_of(row) if part)
        if value is None:
            found.append(f"{what}: the card says {row['value']:.4f}; nothing here measures it")
        elif abs(value - row["value"]) > TOLERANCE:
            found.append(f"{what}: the card says {row['value']:.4f}, measured {value:.4f}")
    return found


def key_of(row: dict[str, Any]) -> tuple[str, ...]:
    """What a score is of."""
    return tuple(str(row.get(name, "")) for name in ("dataset", "structure", "metric", "note"))
