"""One measured figure, and how all of them are printed and written."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """A number with what it is compared to.

    Attributes
    ----------
    key : str
        Its name in the JSON file, "section.figure".
    what : str
        As printed.
    value : float or None
        Median of ``runs`` where there are several; None when it could not be measured (``note`` says why).
    unit : str
        "s", "GB", ...
    ratio : float or None
        ``value`` over the figure that ``ratio_to`` names.
    target : float or None
        Upper bound of the ratio where there is one, else of the value.
    runs : tuple of float
    note : str
    details : dict
        Further numbers for the JSON file.
    """

    key: str
    what: str
    value: float | None
    unit: str
    ratio: float | None = None
    ratio_to: str = ""
    target: float | None = None
    runs: tuple[float, ...] = ()
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the target is kept; None without a target or a measurement."""
        measured = self.value if self.ratio is None else self.ratio
        return None if self.target is None or measured is None else measured <= self.target

    def cells(self) -> tuple[str, ...]:
        """What, value, ratio, target, verdict."""
        value = "not measured" if self.value is None else f"{shown(self.value)} {self.unit}"
        ratio = "" if self.ratio is None else f"{shown(self.ratio)} × {self.ratio_to}"
        target = ""
        if self.target is not None:
            target = f"≤ {self.target:g}" + (f" {self.unit}" if self.ratio is None else " ×")
        verdict = {True: "met", False: "MISSED", None: ""}[self.met]
        return self.what, value, ratio, target, verdict


def shown(number: float) -> str:
    """Three significant digits without an exponent."""
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    return f"{number:.{max(0, 2 - math.floor(math.log10(abs(number))))}f}"


def print_figures(console: Console, title: str, figures: Sequence[Figure]) -> None:
    """One table per section; notes below it."""
    table = Table("figure", "median", "ratio", "target", "", title=title, title_justify="left")
    for figure in figures:
        table.add_row(*figure.cells())
    console.print(table)
    for note in dict.fromkeys(figure.note for figure in figures if figure.note):
        console.print(f"  {note}")


def write_figures(
    path: Path, machine: Mapping[str, Any], settings: Mapping[str, Any], figures: Sequence[Figure]
) -> None:
    """Write the JSON file in one step."""
    content = {
        "machine": dict(machine),
        "settings": dict(settings),
        "figures": {figure.key: {**asdict(figure), "met": figure.met} for figure in figures},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        work.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        work.replace(path)
    finally:
        work.unlink(missing_ok=True)
