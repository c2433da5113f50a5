"""One case: a prediction's structures against the label map's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dropiris.errors import InputError
from dropiris.evaluate.cases import CasePair, DatasetTable, plain_name
from dropiris.evaluate.metrics import score_masks
from dropiris.volume import LabelMap, Volume

_GENERIC = re.compile(r"label \d+")


@dataclass(frozen=True)
class CaseScore:
    """One row of the report: a structure of a case. Volumes in mL, distances in mm."""

    case: str
    structure: str
    dice: float
    nsd: float
    hd95: float
    label_ml: float
    prediction_ml: float
    note: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def score_case(
    pair: CasePair, table: DatasetTable, tolerance: float = 2.0, structures: Sequence[str] | None = None
) -> list[CaseScore]:
    """Score one case; only structures that were annotated in it are compared.

    Structures are matched by name (case, "_" and "-" do not matter); where one of the files has no names, by value.
    """
    from dropiris.files import read_labels

    truth = read_labels(pair.labels)
    # Slicer crops what it saves as .seg.nrrd to the segments: such a prediction is laid on the label map's grid.
    cropped = pair.prediction.name.lower().endswith(".seg.nrrd")
    ours = read_labels(pair.prediction, like=Volume(truth[0].array, truth[0].affine) if cropped else None)
    _check_grids(pair, truth[0], ours[0])
    wanted = _annotated(pair, table, truth, structures)
    by_value = not table.labels and _unnamed(truth)
    volume_ml = float(abs(np.linalg.det(truth[0].affine[:3, :3]))) / 1000.0
    rows = []
    for name, value in wanted.items():
        label = _mask(truth, name, value, bool(table.labels) or by_value)
        prediction = _mask(ours, name, value, by_value or _unnamed(ours))
        scores = score_masks(prediction, label, truth[0].spacing.tolist(), tolerance)
        sizes = [float(mask.sum()) * volume_ml for mask in (label, prediction)]
        rows.append(CaseScore(pair.case, name, scores.dice, scores.nsd, scores.hd95, sizes[0], sizes[1], scores.note))
    return rows


def _annotated(
    pair: CasePair, table: DatasetTable, truth: Sequence[LabelMap], structures: Sequence[str] | None
) -> dict[str, int]:
    """Structure name to label value: the table's (or the file's), less what was not annotated or not asked for."""
    known = table.labels or {s.name: s.label for layer in truth for s in layer.structures}
    if not known:
        raise InputError(f"{pair.labels} holds no structure; give a label map with labels.")
    partial = table.partially_labelled.get(pair.case)
    if structures is not None:
        asked = {plain_name(name) for name in structures}
        unknown = asked - {plain_name(name) for name in known}
        if unknown:
            raise InputError(f"{pair.labels} has no structure {min(unknown)!r}; choose among: {', '.join(known)}.")
        known = {name: value for name, value in known.items() if plain_name(name) in asked}
    return {name: value for name, value in known.items() if partial is None or name in partial}


def _unnamed(layers: Sequence[LabelMap]) -> bool:
    return all(_GENERIC.fullmatch(s.name) for layer in layers for s in layer.structures)


def _mask(layers: Sequence[LabelMap], name: str, value: int, by_value: bool) -> np.ndarray:
    if by_value:
        return layers[0].array == value
    for layer in layers:
        for structure in layer.structures:
            if plain_name(structure.name) == plain_name(name):
                return layer.mask(structure)
    return np.zeros(layers[0].shape, dtype=bool)


def _check_grids(pair: CasePair, truth: LabelMap, ours: LabelMap) -> None:
    same = truth.shape == ours.shape and np.allclose(truth.affine, ours.affine, atol=0.05 * float(truth.spacing.min()))
    if not same:
        raise InputError(
            f"{pair.prediction} lies on another grid than {pair.labels}; write predictions on the scan's own grid."
        )
