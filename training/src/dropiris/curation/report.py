"""The report of a check: ``findings.csv``, ``findings.json`` and one page with a picture of every case."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dropiris import __version__
from dropiris.curation.case_check import CaseRecord
from dropiris.curation.check import Check, CheckedDataset
from dropiris.curation.finding import SEVERITIES, Finding
from dropiris.evaluate.page import page, write_page
from dropiris.files.writing import replacing

_COLUMNS = ("severity", "topic", "dataset", "split", "case", "sentence")

_PAGE = """
{% macro table(rows, with_where) %}
<div class="scroll"><table>
<tr><th>severity</th><th>topic</th>{% if with_where %}<th>where</th>{% endif %}<th>what, and what to do</th></tr>
{% for found in rows %}
<tr><td class="{{ found.severity }}">{{ found.severity }}</td><td>{{ found.topic }}</td>
{% if with_where %}<td>{% if found.case %}<a href="#{{ anchors[found.dataset, found.split, found.case] }}">
{{ found.split }}/{{ found.case }}</a>{% else %}whole dataset{% endif %}</td>{% endif %}
<td>{{ found.sentence }}</td></tr>
{% endfor %}
</table></div>
{% endmacro %}
<div class="scroll"><table>
<tr><th>dataset</th>{% for name in facts[0] if name != "dataset" %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in facts %}
<tr><td><a href="#dataset-{{ loop.index }}">{{ row.dataset }}</a></td>
{% for name, value in row.items() if name != "dataset" %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% for name, rows, cases in datasets %}
<h2 id="dataset-{{ loop.index }}">{{ name }}</h2>
{% if rows %}{{ table(rows, true) }}{% else %}<p class="good">Nothing to report.</p>{% endif %}
<p class="soft">Each picture: axial, coronal and sagittal slice through most of the labels; the patient's right (front)
at the left.</p>
<div class="cards">
{% for case in cases %}
<section class="card" id="{{ case.anchor }}">
<h3>{{ case.name }}</h3>
{% if case.picture %}
<img src="{{ case.picture }}" width="432" height="144" loading="lazy" alt="Three slices of {{ case.name }}">
{% endif %}
<p class="soft">{{ case.facts }}</p>
{% if case.structures %}
<details><summary>{{ case.structures | length }} structures</summary>
{% for color, label, ml in case.structures %}
<span class="swatch" style="background: {{ color }}"></span> {{ label }} {{ ml }} mL<br>
{% endfor %}
</details>
{% endif %}
{% for found in case.findings %}
<p><span class="{{ found.severity }}">{{ found.severity }}</span> {{ found.sentence }}</p>
{% endfor %}
</section>
{% endfor %}
</div>
{% endfor %}
"""


def write_report(folder: Path, check: Check) -> tuple[Path, Path, Path]:
    """Write the three files into ``folder`` (made if need be); each is complete under its name or not there."""
    folder.mkdir(parents=True, exist_ok=True)
    table, data, shown = folder / "findings.csv", folder / "findings.json", folder / "report.html"
    text = page_of(check)  # first: a missing library must not leave half a report
    with replacing(table, ".csv") as hidden:
        hidden.write_text(_csv(check.findings), encoding="utf-8", newline="")
    with replacing(data, ".json") as hidden:
        hidden.write_text(json.dumps(_json(check), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_page(shown, text)
    return table, data, shown


def facts_of(dataset: CheckedDataset) -> dict[str, str]:
    """A row of the overview: how many cases, how large, which voxels, orientations and licence."""
    grids = [record.grid for record in dataset.records if record.grid is not None]
    splits = Counter(record.files.split for record in dataset.records)
    sizes = np.array([grid.shape for grid in grids]) if grids else np.zeros((0, 3), int)
    spacings = np.array([grid.spacing for grid in grids]) if grids else np.zeros((0, 3))
    occurring = {value for record in dataset.records for value in record.counts or ()}
    return {
        "dataset": dataset.name,
        "cases": ", ".join(f"{split} {count}" for split, count in splits.items()) or "none",
        "channels": ", ".join(dataset.table.channels.values()),
        "labels": f"{len(occurring & set(dataset.table.values))} of {len(dataset.table.values)} occur",
        "voxels": _span(sizes, "{:.0f}"),
        "mm": _span(spacings, "{:.3g}"),
        "axes": ", ".join(name for name, _ in Counter(grid.orientation for grid in grids).most_common()),
    }


def page_of(check: Check) -> str:
    """The page as text."""
    anchors, n = {}, 0
    for dataset in check.datasets:
        for record in dataset.records:
            n += 1
            anchors[dataset.name, record.files.split, record.files.name] = f"case-{n}"
    datasets = [
        (
            dataset.name,
            [found for found in check.findings if found.dataset == dataset.name],
            [_card(record, anchors, check.findings) for record in dataset.records],
        )
        for dataset in check.datasets
    ]
    counts = ", ".join(f"{check.count(severity)} {severity}s" for severity in SEVERITIES)
    cases = sum(len(dataset.records) for dataset in check.datasets)
    return page(
        "Dataset check",
        _PAGE,
        lead=f"{cases} cases: {counts}.",
        facts=[facts_of(dataset) for dataset in check.datasets],
        datasets=datasets,
        anchors=anchors,
    )


def _card(record: CaseRecord, anchors: dict[Any, str], findings: Sequence[Finding]) -> dict[str, Any]:
    where = (record.files.dataset, record.files.split, record.files.name)
    grid = record.grid
    facts = (
        f"{' x '.join(map(str, grid.shape))} voxels of {' x '.join(f'{s:.3g}' for s in grid.spacing)} mm, "
        f"{grid.orientation}"
        if grid
        else "no readable volume"
    )
    return {
        "anchor": anchors[where],
        "name": record.name,
        "picture": record.picture,
        "facts": facts,
        "structures": [
            (_css(e.structure.color), e.structure.name, f"{e.volume_ml:.3g}") for e in record.extents if e.voxels
        ],
        "findings": [found for found in findings if (found.dataset, found.split, found.case) == where],
    }


def _css(color: Sequence[float]) -> str:
    return "rgb({:.0f} {:.0f} {:.0f})".format(*(255 * part for part in color))


def _span(rows: np.ndarray, number: str) -> str:
    """ "35 x 51 x 35", or the smallest and largest along each axis: "31-43 x 40-59 x 24-47"."""
    if not len(rows):
        return ""
    low, high = ([number.format(value) for value in ends] for ends in (rows.min(axis=0), rows.max(axis=0)))
    return " x ".join(a if a == b else f"{a}-{b}" for a, b in zip(low, high, strict=True))


def _csv(findings: Sequence[Finding]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found.to_json() for found in findings)
    return text.getvalue()


def _json(check: Check) -> dict[str, Any]:
    return {
        "dropiris": __version__,
        "datasets": [facts_of(dataset) for dataset in check.datasets],
        "counts": {severity: check.count(severity) for severity in SEVERITIES},
        "findings": [found.to_json() for found in check.findings],
    }
