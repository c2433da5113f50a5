"""The table of Iris beside copying the mask and registration: Markdown to read, CSV with every structure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from iris_scores import Method, PairScore, score
from iris_tasks import IrisTask

from dropiris.errors import InputError
from dropiris.evaluate.report import csv_text, write_all

# Scores by task and method; a sentence where a method could not be run.
Measured = Mapping[tuple[str, str], "list[PairScore] | str"]

HEADING = "## One reference: Iris beside copying the mask and registration"
BEGIN, END = "<!-- iris table: begin -->", "<!-- iris table: end -->"
RULES = (
    "Dice with one reference, mean of the structures' means over all pairs, [95 % bootstrap interval over queries, "
    "each with the mean over its references], and median seconds of processor time per pair (learning from the "
    "reference included). With two queries the interval is no more than their range."
)


def markdown(tasks: Sequence[IrisTask], methods: Sequence[Method], measured: Measured) -> str:
    """Rows are tasks and their parts, columns methods."""
    head = ["task (references × queries)", *(method.title for method in methods)]
    lines, notes = [head, ["---"] * len(head)], {}
    for task in tasks:
        found = [measured[task.name, method.name] for method in methods]
        notes |= {own: None for own in found if isinstance(own, str)}
        pairs = max((own for own in found if not isinstance(own, str)), key=len, default=[])
        count = f"{len({p.reference for p in pairs})} × {len({p.query for p in pairs})}"
        lines.append([f"{task.title} ({count})", *(cell(own) + missing(own, len(pairs)) for own in found)])
        for part, structures in task.parts.items():
            lines.append([f"– {part}", *(cell(own, structures, time=False) for own in found)])
    rows = ["| " + " | ".join(cells) + " |" for cells in lines]
    settings = ["", *(f"- {method.title}: {method.settings}" for method in methods)]
    return "\n".join([*rows, "", RULES, *settings, *(f"- — {note}" for note in notes)])


def cell(pairs: list[PairScore] | str, structures: Sequence[str] | None = None, time: bool = True) -> str:
    if isinstance(pairs, str):
        return "—"
    mean, interval = score(pairs, structures)
    if mean != mean:
        return "not measured yet"
    text = f"{mean:.3f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")
    return f"{text}, {processor_seconds(pairs):.1f} s" if time else text


def missing(pairs: list[PairScore] | str, wanted: int) -> str:
    """A remark where a method has not been measured on all pairs that another was measured on."""
    return "" if isinstance(pairs, str) or len(pairs) == wanted else f" ({len(pairs)} of {wanted} pairs so far)"


def processor_seconds(pairs: Sequence[PairScore]) -> float:
    """Median over pairs: the first one also loads programs."""
    return statistics.median(pair.processor_seconds for pair in pairs)


def structures_csv(tasks: Sequence[IrisTask], methods: Sequence[Method], measured: Measured) -> str:
    """One row for every structure of every task and method."""
    rows: list[list[object]] = []
    for task in tasks:
        for method in methods:
            pairs = measured[task.name, method.name]
            if isinstance(pairs, str):
                continue
            for structure in dict.fromkeys(name for pair in pairs for name in pair.dice):
                own = [pair for pair in pairs if structure in pair.dice]
                mean, interval = score(own, [structure])
                low, high = interval or (None, None)
                count = [len(own), len({pair.query for pair in own})]
                rows.append([task.name, method.name, structure, mean, low, high, *count])
    return csv_text(["task", "method", "structure", "dice", "low", "high", "pairs", "queries"], rows)


def put_section(path: Path, table: str) -> None:
    """Replace the table in a results file between its marks; a file without them gets the section at its end.

    Raises
    ------
    InputError
        The file cannot be written, or has one mark without the other.
    """
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    section = f"{BEGIN}\n{table}\n{END}"
    if BEGIN in text and END in text:
        before, rest = text.split(BEGIN, 1)
        text = before + section + rest.split(END, 1)[1]
    elif BEGIN in text or END in text:
        raise InputError(f"{path} has only one of the marks {BEGIN!r} and {END!r}; restore the other.")
    else:
        text = f"{text.rstrip()}\n\n{HEADING}\n\n{section}\n".lstrip()
    write_all(path.parent, {path.name: text})
