"""The report's plots: every score of every structure, volumes, and differences between two results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dropiris.evaluate.metrics import Metric
from dropiris.evaluate.score import CaseScore
from dropiris.files.reading import library

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours: told apart with every kind of colour vision.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#000000")
_ROW = 0.34  # inches a structure takes


def new_figure(width: float, height: float) -> Figure:
    """A figure of its own (inches), beside pyplot's state: no window, no global list."""
    made: Figure = library("matplotlib.figure", "dropiris[train]", "Plot").Figure(figsize=(width, height))
    return made


def panels(names: Sequence[str], count: int, columns: int = 2) -> list[Axes]:
    """Panels that share a row per name, named at the left; room for them is set by hand.

    Matplotlib's own layouts draw everything several times: they took half of the time of a report.
    """
    lines = -(-count // columns)
    height = _ROW * len(names) + 0.3
    figure = new_figure(11, lines * (height + 0.75))
    made = []
    for number in range(count):
        axes = figure.add_subplot(lines, columns, number + 1)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_yticks(range(len(names)), names if number % columns == 0 else [""] * len(names))
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
        made.append(axes)
    figure.subplots_adjust(0, 0, 1, 1, wspace=0.06, hspace=0.75 / height)
    return made


def distributions(rows: Sequence[CaseScore], metrics: Sequence[Metric]) -> Figure:
    """A panel per metric: for each structure every case as a point, the quartiles as a box."""
    names = list(dict.fromkeys(row.structure for row in rows))
    made = panels(names, len(metrics))
    for axes, metric in zip(made, metrics, strict=True):
        found = [np.array([row.values[metric.key] for row in rows if row.structure == name]) for name in names]
        _strips(axes, [values[np.isfinite(values)] for values in found])
        axes.set_xlabel(f"{metric.title} ({metric.unit})" if metric.unit else metric.title)
        if metric.better == "high":
            axes.set_xlim(-0.02, 1.02)
        elif metric.better == "zero":
            axes.axvline(0, color="0.6", linewidth=1)
        else:
            axes.set_xlim(left=0)
    return made[0].figure  # type: ignore[return-value]


def _strips(axes: Axes, found: Sequence[np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    for row, values in enumerate(found):
        if len(values):
            low, middle, high = np.percentile(values, [25, 50, 75])
            axes.barh(row, high - low, left=low, height=0.6, facecolor="0.92", edgecolor="0.6")
            axes.plot([middle, middle], [row - 0.3, row + 0.3], color=COLOURS[5], linewidth=2, zorder=4)
        axes.scatter(values, row + rng.uniform(-0.18, 0.18, len(values)), s=14, alpha=0.6, color=COLOURS[0], zorder=3)


def volumes(rows: Sequence[CaseScore]) -> Figure:
    """Predicted against labelled volume in mL, logarithmic if they differ much; the line is where they are equal."""
    figure = new_figure(6.5, 5)
    axes = figure.add_subplot()
    names = list(dict.fromkeys(row.structure for row in rows))
    both = [row for row in rows if row.label_ml > 0 and row.prediction_ml > 0]
    for number, name in enumerate(names):
        own = [row for row in both if row.structure == name]
        colour, mark = COLOURS[number % len(COLOURS)], "osD^v"[number // len(COLOURS) % 5]
        x, y = [row.label_ml for row in own], [row.prediction_ml for row in own]
        axes.scatter(x, y, s=18, color=colour, marker=mark, label=name)
    if both:
        sizes = [size for row in both for size in (row.label_ml, row.prediction_ml)]
        ends = [min(sizes), max(sizes)]
        axes.plot(ends, ends, color="0.5", linewidth=1)
        if ends[1] > 10 * ends[0]:  # within a factor of ten, powers of ten say nothing
            axes.set_xscale("log")
            axes.set_yscale("log")
            from matplotlib.ticker import StrMethodFormatter

            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("label (mL)")
    axes.set_ylabel("prediction (mL)")
    axes.grid(color="0.9")
    if len(names) <= 20:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize="small", frameon=False)
    return figure


def differences(comparison: Sequence[Mapping[str, Any]], metrics: Sequence[Metric]) -> Figure:
    """A panel per metric: mean difference of two results with its interval; filled where Holm's p is below 0.05."""
    shown = [metric for metric in metrics if any(row["metric"] == metric.key for row in comparison)]
    names = list(dict.fromkeys(row["structure"] for row in comparison))
    made = panels(names, len(shown))
    for axes, metric in zip(made, shown, strict=True):
        for row in comparison:
            if row["metric"] == metric.key:
                at, middle = names.index(row["structure"]), row["difference"]
                low, high = row["interval"] or (middle, middle)
                axes.plot([low, high], [at, at], color=COLOURS[0], linewidth=2)
                fill = COLOURS[0] if row["p_holm"] < 0.05 else "white"
                axes.plot(middle, at, "o", color=COLOURS[0], markerfacecolor=fill)
        axes.axvline(0, color="0.6", linewidth=1)
        good = "right" if metric.better == "high" else "left"
        size = "size of volume error" if metric.better == "zero" else metric.title
        axes.set_xlabel(f"{size}, first less second{f' ({metric.unit})' if metric.unit else ''}; {good} is better")
    return made[0].figure  # type: ignore[return-value]
