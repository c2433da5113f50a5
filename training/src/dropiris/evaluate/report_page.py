"""The report as one page to read: tables, plots, differences, the worst cases, the rules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dropiris.evaluate.metrics import Metric
from dropiris.evaluate.overlays import LABEL, PREDICTION, Overlay
from dropiris.evaluate.page import page
from dropiris.evaluate.plots import differences, distributions, volumes
from dropiris.evaluate.score import CaseScore

_TEMPLATE = """
{% macro number(value, digits) %}{{ "–" if value is none else "%.*f" | format(digits, value) }}{% endmacro %}
{% macro ends(interval, digits) %}
{% if interval %}<br><span class="soft">{{ number(interval[0], digits) }} to {{ number(interval[1], digits) }}</span>
{% endif %}{% endmacro %}
{% macro rate(found) %}{{ found.count }} of {{ found.of }}{% endmacro %}
<p>{{ rate(summary.failures.cases) }} cases fail
({{ rate(summary.failures.structures) }} scored structures, Dice below {{ summary.failures.dice_below }}).</p>
<h2>Structures</h2>
<div class="scroll"><table>
<tr><th>structure</th>{% for m in metrics %}<th class="number">{{ m.title }}{{ " (" ~ m.unit ~ ")" if m.unit }}</th>
{% endfor %}<th class="number">cases</th><th class="number">failed</th><th class="number">missed</th>
<th class="number">invented</th></tr>
{% for name, entry in summary.structures.items() %}
<tr><td>{{ name }}</td>{% for m in metrics %}<td class="number">{{ number(entry[m.key].mean, m.digits) }}
{{ ends(entry[m.key].interval, m.digits) }}
{% if entry[m.key].undefined %}<br><span class="warning">{{ entry[m.key].undefined }} undefined</span>{% endif %}</td>
{% endfor %}<td class="number">{{ entry.cases }}</td>
<td class="number{{ " error" if entry.failed.count }}">{{ entry.failed.count }}</td>
<td class="number">{{ entry.missed }}</td><td class="number">{{ entry.invented }}</td></tr>
{% endfor %}
<tr><th>mean of structures</th>{% for m in metrics %}{% set found = summary.overall[m.key] %}
<td class="number"><b>{{ number(found.mean, m.digits) }}</b>{{ ends(found.interval, m.digits) }}</td>
{% endfor %}<td class="number">{{ summary.cases }}</td><td class="number">{{ summary.failures.cases.count }}</td>
<td></td><td></td></tr>
</table></div>
<p class="soft">Mean over cases, below it its 95 % interval. Volume errors are prediction less label: their mean is
the bias.</p>
<figure><img alt="Every score of every structure" src="{{ spread | drawing }}"></figure>
<figure><img alt="Predicted against labelled volume" src="{{ sizes | drawing }}"></figure>
{% if summary.against %}
<h2>Against the second result</h2>
<figure><img alt="Differences between the two results" src="{{ gaps | drawing }}"></figure>
<div class="scroll"><table>
<tr><th>metric</th><th>structure</th><th class="number">first</th><th class="number">second</th>
<th class="number">difference</th><th class="number">better / worse / equal</th><th class="number">p</th>
<th class="number">p (Holm)</th></tr>
{% for row in summary.against.comparison %}
{% set m = named[row.metric] %}
<tr><td>{{ m.title }}{{ " (" ~ m.unit ~ ", size)" if m.better == "zero" }}</td><td>{{ row.structure }}</td>
<td class="number">{{ number(row.first, m.digits) }}</td><td class="number">{{ number(row.second, m.digits) }}</td>
<td class="number">{{ number(row.difference, m.digits) }}{{ ends(row.interval, m.digits) }}</td>
<td class="number">{{ row.better }} / {{ row.worse }} / {{ row.cases - row.better - row.worse }}
{% if row.unpaired %}<br><span class="warning">{{ row.unpaired }} not paired</span>{% endif %}</td>
<td class="number">{{ number(row.p, 4) }}</td>
<td class="number{{ " good" if row.p_holm < 0.05 }}">{{ number(row.p_holm, 4) }}</td></tr>
{% endfor %}
</table></div>
<p class="soft">{{ summary.rules.comparison }}</p>
{% endif %}
{% if overlays %}
<h2>Worst cases</h2>
<p><span class="swatch" style="background: {{ label_colour }}"></span> label (solid)
<span class="swatch" style="background: {{ prediction_colour }}"></span> prediction (dashed); each plane through
the slice where they differ most.</p>
{% for o in overlays %}
<figure><img alt="Outlines of {{ o.score.structure }} in {{ o.score.case }}" src="{{ o.picture | picture }}">
<figcaption><b>{{ o.score.case }}</b>, {{ o.score.structure }}: Dice {{ number(o.score.values.dice, 3) }},
HD95 {{ number(finite(o.score.values.hd95_mm), 1) }} mm{{ " (" ~ o.score.note ~ ")" if o.score.note }}; mean Dice of the
case {{ number(o.case_dice, 3) }}{{ "" if o.background else "; no scan was given" }}.</figcaption></figure>
{% endfor %}
{% endif %}
{% if summary.failures.failed %}
<details><summary>Every failure ({{ summary.failures.failed | length }})</summary>
<table><tr><th>case</th><th>structure</th><th class="number">Dice</th></tr>
{% for row in summary.failures.failed %}<tr><td>{{ row.case }}</td><td>{{ row.structure }}</td>
<td class="number">{{ number(row.dice, 3) }}</td></tr>{% endfor %}</table></details>
{% endif %}
<h2>Rules</h2>
<ul>{% for name, rule in summary.rules.items() %}<li><b>{{ name | replace("_", " ") }}</b>: {{ rule }}</li>{% endfor %}
</ul>
{% if summary.partially_labelled %}<p>Partially labelled: {% for case, names in summary.partially_labelled.items() %}
{{ case }} ({{ names | join(", ") }}){{ "; " if not loop.last }}{% endfor %}.</p>{% endif %}
"""


def report_page(
    summary: Mapping[str, Any],
    rows: Sequence[CaseScore],
    metrics: Sequence[Metric],
    overlays: Sequence[Overlay] = (),
    title: str = "Evaluation",
) -> str:
    """The whole page; ``summary`` as :func:`~dropiris.evaluate.summary.summarise` makes it."""
    shown = [metric for metric in metrics if metric.better != "zero"]
    cases = summary["cases"]
    return page(
        title,
        _TEMPLATE,
        lead=f"{cases} case{'s' if cases != 1 else ''}, {len(summary['structures'])} structures",
        summary={"against": None, **summary},
        metrics=metrics,
        named={metric.key: metric for metric in metrics},
        spread=distributions(rows, shown),
        sizes=volumes(rows),
        gaps=differences(summary["against"]["comparison"], metrics) if "against" in summary else None,
        overlays=overlays,
        label_colour=LABEL,
        prediction_colour=PREDICTION,
        finite=lambda value: value if math.isfinite(value) else None,
    )
