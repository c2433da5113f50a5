"""Checks of a result without a network, for the modules' self-tests; see :mod:`dropiris.panels.threshold_client`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dropiris.trust import REVERSE, VIEWS, TrustReport, voxels_of
from dropiris.volume import LabelMap, Reference, Volume

# A view in place of partial ones: every intensity four tenths lower.
VIEW = 0.6


def compare_views(volume: Volume, labels: LabelMap, step: float) -> TrustReport:
    """Dice between a result and that of a darker scan; structure n covers intensities from n * step up."""
    values: dict[str, float | None] = {}
    for structure in labels.structures:
        seen = volume.array * VIEW >= structure.label * step
        for other in labels.structures:
            if other.label > structure.label:
                seen &= volume.array * VIEW < other.label * step
        values[structure.name] = _dice(seen, labels.mask(structure))
    return TrustReport(VIEWS, values, voxels_of(labels))


def keep_reference(reference: Reference, path: Path) -> None:
    """What :func:`segment_back` needs of a reference."""
    masks: dict[str, Any] = {f"mask {s.name}": reference.mask(s.name) for s in reference.structures}
    with path.open("wb") as file:
        np.savez(file, image=reference.volume.array, **masks)


def segment_back(volume: Volume, labels: LabelMap, windows: Sequence[Path]) -> TrustReport:
    """Find the intensity range of each structure of a result in the references; the best match counts."""
    voxels = voxels_of(labels)
    values: dict[str, float | None] = {name: None if voxels[name] else 0.0 for name in voxels}
    for path in windows:
        with np.load(path, allow_pickle=False) as kept:
            for structure in labels.structures:
                key = f"mask {structure.name}"
                if voxels[structure.name] and key in kept:
                    own = volume.array[labels.mask(structure)]
                    found = (kept["image"] >= own.min()) & (kept["image"] <= own.max())
                    values[structure.name] = max(_dice(found, kept[key]), values[structure.name] or 0.0)
    unknown = [name for name, value in values.items() if value is None]
    why = f"{', '.join(unknown)} cannot be checked: no reference shows it." if unknown else ""
    return TrustReport(REVERSE, values, voxels, why)


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / max(1, one.sum() + other.sum()))
