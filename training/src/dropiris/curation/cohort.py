"""What only shows beside other cases: another scale, voxel size, orientation or field of view, structures left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from dropiris.curation.case_check import CaseRecord
from dropiris.curation.dataset_table import DatasetTable
from dropiris.curation.finding import Finding
from dropiris.references.finding import listed

# nnU-Net treats a dataset as anisotropic from here on.
_ANISOTROPIC = 3.0
# A case whose voxels, extent or intensities differ from the median by more than this factor stands out.
_SPACING, _SIZE, _SCALE = 2.5, 2.5, 10.0
# Where more than this share stands out, the dataset as a whole is uneven and is told so once.
_MANY = 0.1
# A structure that at least this share of the cases has is missed in the others.
_USUAL = 0.8
_FEWEST = 4


def check_cohort(records: Sequence[CaseRecord], table: DatasetTable, dataset: str) -> list[Finding]:
    """Findings about one dataset as a whole, and about cases that differ from its others."""
    whole = [
        *_orientations(records, dataset),
        *_spacing(records, dataset),
        *_modalities(records, table, dataset),
        *_scales(records, table, dataset),
        *_never(records, table, dataset),
        *_label_types(records, dataset),
    ]
    return [*whole, *_sizes(records), *_missed(records, table)]


def _about(record: CaseRecord, severity: str, topic: str, sentence: str) -> Finding:
    where = record.files
    return Finding(severity, topic, sentence, where.dataset, where.split, where.name)


def _orientations(records: Sequence[CaseRecord], dataset: str) -> list[Finding]:
    found = Counter(record.grid.orientation for record in records if record.grid is not None)
    if len(found) < 2:
        return []
    counts = ", ".join(f"{letters} ({count})" for letters, count in found.most_common())
    return [
        Finding(
            "warning",
            "orientation",
            f"The axes run differently: {counts}; nnU-Net ignores that, so store all cases alike (dropiris turns "
            "them itself).",
            dataset,
        )
    ]


def _spacing(records: Sequence[CaseRecord], dataset: str) -> list[Finding]:
    known = [(record, np.sort(record.grid.spacing)) for record in records if record.grid is not None]
    if not known:
        return []
    thick = [record for record in records if record.grid is not None and record.grid.anisotropy >= _ANISOTROPIC]
    found = []
    if thick:
        worst = max(thick, key=lambda record: record.grid.anisotropy if record.grid else 0.0)
        assert worst.grid is not None
        text = " x ".join(f"{s:.3g}" for s in worst.grid.spacing)
        found.append(
            Finding(
                "note",
                "spacing",
                f"{_share(len(thick), len(known))} anisotropic (up to {text} mm in {worst.name}): shapes between "
                "slices are guesses, and surface distances follow the slices.",
                dataset,
            )
        )
    usual = np.median([spacing for _, spacing in known], axis=0)
    for record, spacing in known:
        factor = float(np.max(np.maximum(spacing / usual, usual / spacing)))
        if factor > _SPACING:
            text = " x ".join(f"{s:.3g}" for s in spacing)
            middle = " x ".join(f"{s:.3g}" for s in usual)
            sentence = f"Its voxels ({text} mm) are far from the dataset's ({middle} mm); check its header."
            found.append(_about(record, "warning", "spacing", sentence))
    return found


def _sizes(records: Sequence[CaseRecord]) -> list[Finding]:
    known = [(record, record.grid.size) for record in records if record.grid is not None]
    if len(known) < _FEWEST:
        return []
    usual = np.median([size for _, size in known], axis=0)
    found = []
    for record, size in known:
        factor = np.maximum(size / usual, usual / size)
        if factor.max() > _SIZE:
            text, middle = (" x ".join(f"{s:.0f}" for s in one) for one in (size, usual))
            sentence = f"It shows {text} mm (right-left, front-back, up-down), others about {middle} mm; check it."
            found.append(_about(record, "note", "field of view", sentence))
    return found


def _modalities(records: Sequence[CaseRecord], table: DatasetTable, dataset: str) -> list[Finding]:
    found = []
    for channel, name in table.channels.items():
        looks = [(r, r.intensities[channel].hounsfield) for r in records if channel in r.intensities]
        ct = [record.name for record, hounsfield in looks if hounsfield]
        other = [record.name for record, hounsfield in looks if not hounsfield]
        if ct and other and not table.says_ct(channel):
            found.append(
                Finding(
                    "warning",
                    "intensities",
                    f"Channel {channel} ({name}) mixes Hounsfield units ({listed(ct)}) with other intensities "
                    f"({listed(other)}); one normalisation does not fit both: split the dataset.",
                    dataset,
                )
            )
    return found


def _scales(records: Sequence[CaseRecord], table: DatasetTable, dataset: str) -> list[Finding]:
    found = []
    for channel in table.channels:
        known = [
            (record, record.intensities[channel].scale)
            for record in records
            if channel in record.intensities
            and record.intensities[channel].scale > 0
            # Hounsfield units have one scale; what a scan shows of it differs.
            and not record.intensities[channel].hounsfield
        ]
        if len(known) < 2:
            continue
        scales = np.array([scale for _, scale in known])
        usual = float(np.median(scales))
        far = [n for n, scale in enumerate(scales) if max(scale / usual, usual / scale) > _SCALE]
        if len(far) > _MANY * len(known) or (not far and scales.max() > _SCALE * scales.min()):
            low, high = known[int(scales.argmin())], known[int(scales.argmax())]
            found.append(
                Finding(
                    "warning",
                    "intensities",
                    f"The intensity scale of channel {channel} differs {scales.max() / scales.min():.0f}-fold between "
                    f"cases (range {low[1]:.3g} in {low[0].name}, {high[1]:.3g} in {high[0].name}); normalise every "
                    "case by itself.",
                    dataset,
                )
            )
        else:
            for n in far:
                record, scale = known[n]
                sentence = f"Its intensities span {scale:.3g}, others about {usual:.3g}; check its scale."
                found.append(_about(record, "warning", "intensities", sentence))
    return found


def _never(records: Sequence[CaseRecord], table: DatasetTable, dataset: str) -> list[Finding]:
    seen = [record.counts for record in records if record.counts is not None]
    if not seen:
        return []
    occurring = {value for counts in seen for value in counts}
    never = [name for name, value in table.labels.items() if value not in occurring]
    if not never:
        return []
    verb = "occurs" if len(never) == 1 else "occur"
    return [
        Finding(
            "warning",
            "labels",
            f"{len(never)} of {len(table.labels)} labels of dataset.json never {verb} ({listed(never)}): nothing can "
            "be learned or scored of them; remove them or check the ids.",
            dataset,
        )
    ]


def _label_types(records: Sequence[CaseRecord], dataset: str) -> list[Finding]:
    names = [record.name for record in records if record.label_type.startswith("float")]
    if not names:
        return []
    sentence = f"{listed(names)} store labels as floating-point numbers; store whole numbers."
    return [Finding("note", "labels", sentence, dataset)]


def _missed(records: Sequence[CaseRecord], table: DatasetTable) -> list[Finding]:
    """Structures that nearly all cases have, in the cases that lack them and do not say why."""
    labelled = [record for record in records if record.counts and record.files.name not in table.partially_labelled]
    if len(labelled) < _FEWEST:
        return []
    found = []
    times = Counter(value for record in labelled for value in record.counts or ())
    usual = {value for value, count in times.items() if count >= _USUAL * len(labelled)}
    for record in labelled:
        missed = [table.values.get(value, f"label {value}") for value in sorted(usual - set(record.counts or ()))]
        if missed:
            found.append(
                _about(
                    record,
                    "warning",
                    "partially labelled",
                    f"{listed(missed)} is missing, which nearly all other cases have; if it was not annotated, list "
                    "the case under partially_labelled in dataset.json.",
                )
            )
    return found


def _share(count: int, total: int) -> str:
    if count == total:
        return "All cases are" if total > 1 else "The case is"
    return f"{count} of {total} cases {'is' if count == 1 else 'are'}"
