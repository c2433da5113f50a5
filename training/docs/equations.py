"""Equations as MathML, which browsers draw without a script: ``$...$`` in a line, ``$$...$$`` on its own.

A Markdown extension over latex2mathml; code is left alone, as everywhere in Markdown.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.inlinepatterns import InlineProcessor

# An opening $ has no space behind it and a closing one none before it, so that prices stay what they are.
INLINE = r"(?<![\\$\w])\$(?![\s$])([^$\n]+?)(?<![\s\\])\$(?![\w$])"
BLOCK = r"\$\$\s*(.+?)\s*\$\$"


class Equation(InlineProcessor):
    """LaTeX to a stashed piece of MathML; the LaTeX stays in it as an annotation for copying."""

    def __init__(self, pattern: str, md: Markdown, display: str) -> None:
        super().__init__(pattern, md)
        self.compiled_re = re.compile(pattern, re.DOTALL)
        self.display = display

    def handleMatch(  # type: ignore[override]
        self, match: re.Match[str], data: str
    ) -> tuple[Element | str, int, int]:
        mathml = convert(match.group(1), display=self.display)
        unknown = re.search(r">(\\[A-Za-z]+)<", mathml)
        if unknown:
            raise ValueError(
                f"The equation {match.group(1)!r} has {unknown.group(1)}, which latex2mathml does not know."
            )
        return self.md.htmlStash.store(mathml), match.start(0), match.end(0)


class Equations(Extension):
    """Registered after code (190) and before escapes (180): a backslash in an equation is LaTeX's."""

    def extendMarkdown(self, md: Markdown) -> None:
        md.inlinePatterns.register(Equation(BLOCK, md, "block"), "equation-block", 187)
        md.inlinePatterns.register(Equation(INLINE, md, "inline"), "equation-inline", 186)
