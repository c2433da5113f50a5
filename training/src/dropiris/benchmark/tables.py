"""A table of a report, in Markdown and on a page; the numbers themselves go into CSV and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Cell:
    """A text and whether it is the best of its column (or row)."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Title, head, rows (the first cell names the row) and what has to be known to read it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    def markdown(self) -> str:
        lines = [self.head, ["---", *["---:"] * (len(self.head) - 1)]]
        lines += [[f"**{cell.text}**" if cell.best else cell.text for cell in row] for row in self.rows]
        text = "\n".join("| " + " | ".join(line).replace("\n", " ") + " |" for line in lines)
        return f"## {self.title}\n\n{text}\n" + (f"\n{self.note}\n" if self.note else "")


@dataclass(frozen=True)
class Drawing:
    """A figure with its title and caption."""

    title: str
    figure: Figure
    caption: str = ""


@dataclass
class Report:
    """What a benchmark found: parts to read, rows to compute with."""

    title: str
    lead: str
    parts: list[Table | Drawing] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        tables = [part.markdown() for part in self.parts if isinstance(part, Table)]
        remarks = "".join(f"- {remark}\n" for remark in self.remarks)
        return "\n".join([f"# {self.title}\n", f"{self.lead}\n", *tables, *([remarks] if remarks else [])])

    def page(self) -> str:
        """One HTML page that needs nothing beside itself."""
        from dropiris.evaluate.page import page

        drawn = [(part, isinstance(part, Table)) for part in self.parts]
        return page(self.title, _TEMPLATE, lead=self.lead, parts=drawn, remarks=self.remarks)


_TEMPLATE = """
{% for part, is_table in parts %}
<h2>{{ part.title }}</h2>
{% if is_table %}
<div class="scroll"><table>
<tr>{% for name in part.head %}<th{{ ' class="number"' | safe if not loop.first }}>{{ name }}</th>{% endfor %}</tr>
{% for row in part.rows %}
<tr>{% for cell in row %}<td{{ ' class="number"' | safe if not loop.first }}>
{% if cell.best %}<b>{{ cell.text }}</b>{% else %}{{ cell.text }}{% endif %}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% if part.note %}<p class="soft">{{ part.note }}</p>{% endif %}
{% else %}
<figure><img alt="{{ part.title }}" src="{{ part.figure | drawing }}">
{% if part.caption %}<figcaption class="soft">{{ part.caption }}</figcaption>{% endif %}</figure>
{% endif %}
{% endfor %}
{% if remarks %}<h2>Remarks</h2><ul>{% for remark in remarks %}<li>{{ remark }}</li>{% endfor %}</ul>{% endif %}
"""
