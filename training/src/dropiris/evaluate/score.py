"""One case: a prediction's structures against the label map's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dropiris.errors import InputError
from dropiris.evaluate.cases import CasePair, DatasetTable, plain_name
from dropiris.evaluate.metrics import TOLERANCES, score_masks
from dropiris.volume import LabelMap, Volume

_GENERIC = re.compile(r"label \d+")


@dataclass(frozen=True)
class CaseScore:
    """One row of the report: a structure of a case.

    Attributes
    ----------
    values : dict
        By metric, NaN where undefined; see :class:`~dropiris.evaluate.metrics.MaskScores`.
    label_ml, prediction_ml : float
        Volumes, mL.
    """

    case: str
    structure: str
    values: dict[str, float]
    label_ml: float
    prediction_ml: float
    note: str

    @property
    def scored(self) -> bool:
        """Whether the structure occurs in label or prediction."""
        return self.note != "absent"


@dataclass(frozen=True)
class ComparedMasks:
    """A structure of a case on the label map's grid, boolean (I, J, K)."""

    structure: str
    prediction: np.ndarray
    label: np.ndarray
    affine: np.ndarray


def score_case(
    pair: CasePair,
    table: DatasetTable,
    tolerances: Sequence[float] = TOLERANCES,
    structures: Sequence[str] | None = None,
    by_value: bool = False,
) -> list[CaseScore]:
    """Score one case as :func:`compared_masks` finds its structures."""
    rows = []
    for masks in compared_masks(pair, table, structures, by_value):
        voxel_ml = float(abs(np.linalg.det(masks.affine[:3, :3]))) / 1000.0
        spacing = np.linalg.norm(masks.affine[:3, :3], axis=0).tolist()
        scores = score_masks(masks.prediction, masks.label, spacing, tolerances, voxel_ml)
        sizes = [float(mask.sum()) * voxel_ml for mask in (masks.label, masks.prediction)]
        rows.append(CaseScore(pair.case, masks.structure, scores.values, sizes[0], sizes[1], scores.note))
    return rows


def compared_masks(
    pair: CasePair, table: DatasetTable, structures: Sequence[str] | None = None, by_value: bool = False
) -> Iterator[ComparedMasks]:
    """Masks of every structure that was annotated in a case.

    Structures are matched by name (case, "_" and "-" do not matter); where one of the files has no names, or with
    ``by_value``, by value. A case without prediction is an empty one. Where the label map holds nnU-Net's ``ignore``
    nothing is compared.

    Raises
    ------
    InputError
        A file that cannot be read, two different grids, or names of which none is in both files.
    """
    from dropiris.files import read_labels

    truth = read_labels(pair.labels)
    ours: Sequence[LabelMap] = ()
    if pair.prediction is not None:
        # Slicer crops what it saves as .seg.nrrd to the segments: such a prediction is laid on the label map's grid.
        cropped = pair.prediction.name.lower().endswith(".seg.nrrd")
        ours = read_labels(pair.prediction, like=Volume(truth[0].array, truth[0].affine) if cropped else None)
        _check_grids(pair, truth[0], ours[0])
    wanted = _annotated(pair, table, truth, structures)
    values_only = by_value or (not table.labels and _unnamed(truth))
    if ours and not values_only:
        _check_names(pair, table, truth, ours)
    ignored = None if table.ignore is None else truth[0].array == table.ignore
    for name, values in wanted.items():
        label = _mask(truth, name, values, bool(table.labels) or values_only)
        prediction = _mask(ours, name, values, values_only or _unnamed(ours)) if ours else np.zeros_like(label)
        if ignored is not None:
            prediction &= ~ignored
        yield ComparedMasks(name, prediction, label, truth[0].affine)


def _annotated(
    pair: CasePair, table: DatasetTable, truth: Sequence[LabelMap], structures: Sequence[str] | None
) -> dict[str, tuple[int, ...]]:
    """Structure name to label values: the table's (or the file's), less what was not annotated or not asked for."""
    known = table.labels or {s.name: (s.label,) for layer in truth for s in layer.structures}
    if not known:
        raise InputError(f"{pair.labels} holds no structure; give a label map with labels.")
    partial = table.partially_labelled.get(pair.case)
    if structures is not None:
        asked = {plain_name(name) for name in structures}
        unknown = asked - {plain_name(name) for name in known}
        if unknown:
            raise InputError(f"{pair.labels} has no structure {min(unknown)!r}; choose among: {', '.join(known)}.")
        known = {name: values for name, values in known.items() if plain_name(name) in asked}
    return {name: values for name, values in known.items() if partial is None or name in partial}


def _unnamed(layers: Sequence[LabelMap]) -> bool:
    return all(_GENERIC.fullmatch(s.name) for layer in layers for s in layer.structures)


def _mask(layers: Sequence[LabelMap], name: str, values: tuple[int, ...], by_value: bool) -> np.ndarray:
    if by_value:
        return layers[0].array == values[0] if len(values) == 1 else np.isin(layers[0].array, values)
    for layer in layers:
        for structure in layer.structures:
            if plain_name(structure.name) == plain_name(name):
                return layer.mask(structure)
    return np.zeros(layers[0].shape, dtype=bool)


def _check_names(pair: CasePair, table: DatasetTable, truth: Sequence[LabelMap], ours: Sequence[LabelMap]) -> None:
    """Refuse two files that call everything differently: every structure would count as missed."""
    wanted = list(table.labels) or [s.name for layer in truth for s in layer.structures]
    have = [s.name for layer in ours for s in layer.structures]
    if have and not _unnamed(ours) and not {plain_name(n) for n in wanted} & {plain_name(n) for n in have}:
        raise InputError(
            f"{pair.prediction} has {', '.join(have)}, but the labels are called {', '.join(wanted)}; rename them, or "
            "give --by-value to compare label values."
        )


def _check_grids(pair: CasePair, truth: LabelMap, ours: LabelMap) -> None:
    same = truth.shape == ours.shape and np.allclose(truth.affine, ours.affine, atol=0.05 * float(truth.spacing.min()))
    if not same:
        raise InputError(
            f"{pair.prediction} lies on another grid than {pair.labels}; write predictions on the scan's own grid."
        )
