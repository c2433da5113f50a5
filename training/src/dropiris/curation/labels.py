"""What one label map holds: its structures, their places, and what should not be there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dropiris.curation.dataset_table import DatasetTable
from dropiris.errors import InputError
from dropiris.files.label_table import default_color, label_values
from dropiris.geometry import closest_axes
from dropiris.references.examination import examine
from dropiris.references.extent import Extent
from dropiris.references.finding import listed
from dropiris.references.sides import check_sides, pairs
from dropiris.terminology_table import known_structure
from dropiris.volume import LabelMap, Structure, Volume

# A left structure with more of itself than this beyond the middle, among the right one, has pieces with a wrong label.
_BEYOND = 0.1
# Left and right of a pair rarely differ by more.
_LOPSIDED = 3.0
# Too few voxels, or too little (mL), to say so: the temporal horns of healthy ventricles differ sixfold.
_ENOUGH, _NOTEWORTHY = 40, 1.0
# A mirrored scan turns every pair round; this many are told one by one.
_SIDES = 2


@dataclass(frozen=True)
class LabelledCase:
    """What was seen in one label map.

    Attributes
    ----------
    counts : dict
        Voxels of each value above 0.
    extents : tuple of Extent
        Of every structure that occurs.
    findings : list of (severity, topic, sentence)
    """

    counts: Mapping[int, int]
    extents: tuple[Extent, ...]
    findings: list[tuple[str, str, str]]


def whole_numbers(array: np.ndarray, name: str) -> np.ndarray:
    """Labels as uint8 or uint16, or an :class:`InputError` that counts the voxels that hold no label."""
    if array.dtype.kind == "f":
        broken = int(np.count_nonzero(~np.isfinite(array) | (array != np.rint(array))))
        if broken:
            raise InputError(
                f"{name} holds {broken} fractions, as after linear resampling or as probabilities; export whole labels."
            )
    return label_values(array, name)


def count_labels(array: np.ndarray) -> dict[int, int]:
    """Voxels of every value above 0 that occurs, plane by plane: bincount makes int64 of everything it is given."""
    counted = np.zeros(int(array.max()) + 1, np.int64)
    for k in range(array.shape[2]):
        counted += np.bincount(array[:, :, k].ravel(order="K"), minlength=len(counted))
    return {int(value): int(counted[value]) for value in np.flatnonzero(counted) if value > 0}


def structures_of(table: DatasetTable, counts: Mapping[int, int]) -> tuple[Structure, ...]:
    """The structures that occur, named by ``dataset.json``, coloured as the terminology table has them."""
    names = table.values
    found = []
    for value in counts:
        if value == table.ignore:
            continue
        known = known_structure(names[value]) if value in names else None
        found.append(
            Structure(value, names.get(value, f"label {value}"), known.color if known else default_color(value))
        )
    return tuple(found)


def examine_labels(labels: LabelMap, scan: Volume, table: DatasetTable, case: str) -> LabelledCase:
    """Look at a label map whose ``structures`` are what occurs in it, and at the scan it belongs to (same grid)."""
    findings: list[tuple[str, str, str]] = []
    counts = count_labels(labels.array)
    unknown = [value for value in counts if value not in table.values]
    if unknown and table.values:
        total = sum(counts[value] for value in unknown)
        voxels = "1 voxel" if total == 1 else f"{total} voxels"
        sentence = f"It holds {_numbered(unknown)} ({voxels}), which dataset.json does not name; name or remove it."
        findings.append(("error", "labels", sentence))
    if not counts:
        findings.append(("warning", "labels", "Nothing is labelled; confirm that there is nothing, or draw it."))
    findings += _annotated(labels, table, case)
    seen = examine(scan, (labels,))
    sides = check_sides(scan, seen.extents)
    findings += [("warning", "left and right", found.sentence) for found in sides[:_SIDES]]
    if len(sides) > _SIDES:
        more = f"So do {len(sides) - _SIDES} more: a mirrored scan rather than mixed-up names, if nearly all do."
        findings.append(("warning", "left and right", more))
    findings += [("note", "extent", found.sentence) for found in seen.findings if found not in sides]
    cut = {name for found in seen.findings if found not in sides for name in found.structures}
    findings += _pairs(labels, seen.extents, cut)
    return LabelledCase(counts, seen.extents, findings)


def _annotated(labels: LabelMap, table: DatasetTable, case: str) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    annotated = table.partially_labelled.get(case)
    if annotated is not None:
        others = [s.name for s in labels.structures if s.name in table.labels and s.name not in annotated]
        if others:
            sentence = f"{listed(others)} is labelled, though partially_labelled does not list it; correct the list."
            found.append(("error", "partially labelled", sentence))
        left_out = len(table.labels) - len(annotated)
        others_lie = "the other label lies" if left_out == 1 else f"the other {left_out} labels lie"
        rest = f"; {others_lie} in the background" if left_out else "; the rest is background"
        found.append(
            ("note", "partially labelled", f"Only {listed(annotated)} was annotated{rest}: train and score on that.")
        )
    if case in table.model_output:
        found.append(
            ("note", "model output", "A model made these labels: do not score against them as if a person had.")
        )
    if table.ignore is not None:
        share = float((labels.array == table.ignore).mean())
        if share > 0:
            found.append(("note", "partially labelled", f"{share:.0%} of the voxels carry the ignore label."))
    return found


def _pairs(labels: LabelMap, extents: tuple[Extent, ...], cut: set[str]) -> list[tuple[str, str, str]]:
    """Left and right structures that reach into each other's half, or differ much in size."""
    found = []
    axes, _ = closest_axes(labels.affine)
    mixed: list[str] = []
    lopsided: list[str] = []
    paired = pairs(extents)
    profiles = _profiles(labels.array, axes[0]) if paired else np.zeros((0, 0))
    for base, (left, right) in paired.items():
        if min(left.voxels, right.voxels) < _ENOUGH:
            continue
        ratio = left.voxels / right.voxels
        whole = not {left.structure.name, right.structure.name} & cut
        if max(ratio, 1 / ratio) > _LOPSIDED and whole and max(left.volume_ml, right.volume_ml) >= _NOTEWORTHY:
            lopsided.append(f"{base} ({left.volume_ml:.1f} and {right.volume_ml:.1f} mL)")
        one, other = profiles[left.structure.label], profiles[right.structure.label]
        at = np.arange(len(one))
        middles = [float(np.average(at, weights=profile)) for profile in (one, other)]
        middle = sum(middles) / 2
        # A quarter of the way over: bent midlines and structures that touch in the middle stay below.
        margin = 0.25 * abs(middles[0] - middles[1])
        towards = 1 if middles[1] > middles[0] else -1
        beyond = max(
            float(one[(at - middle) * towards > margin].sum() / one.sum()),
            float(other[(at - middle) * towards < -margin].sum() / other.sum()),
        )
        if beyond > _BEYOND:
            mixed.append(f"{base} ({beyond:.0%})")
    if mixed:
        found.append(
            (
                "warning",
                "left and right",
                f"Of left and right {listed(mixed)} lies in the other half: pieces may carry the wrong side's label; "
                "look at them.",
            )
        )
    if lopsided:
        found.append(
            ("note", "left and right", f"Left and right differ much in size: {listed(lopsided)}; look at them.")
        )
    return found


def _profiles(labels: np.ndarray, axis: int) -> np.ndarray:
    """Voxels of every label (rows) at every index along an axis (columns), counted plane by plane."""
    size, along = int(labels.max()) + 1, labels.shape[axis]
    turned = np.moveaxis(labels, axis, 0)
    counted = np.empty((size, along), np.int64)
    for n in range(along):
        counted[:, n] = np.bincount(turned[n].ravel(), minlength=size)
    return counted


def _numbered(values: list[int]) -> str:
    return f"the value{'s' if len(values) > 1 else ''} {listed([str(value) for value in values], 6)}"
