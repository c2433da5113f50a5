"""One HTML page that needs nothing beside itself: style inside, pictures as data URIs, no script, no network.

A report gives a Jinja template of what stands between heading and foot; everything it fills in is escaped. A policy in
the page forbids the browser to fetch anything, so what a report shows is what the file holds.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dropiris import __version__
from dropiris.files.reading import library
from dropiris.files.writing import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours of what a page says about a case or a score, beside the word itself: never by colour alone.
_STYLE = """
:root { --text: #1d2430; --soft: #5a6472; --ground: #ffffff; --card: #f4f6f9; --line: #d6dbe3; --accent: #175ea8;
  --error: #b3261e; --warning: #8a5300; --note: #3d5a80; --good: #1b6e3c; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ee; --soft: #a4adba; --ground: #14181e; --card: #1e242c;
  --line: #363f4b; --accent: #7db4f0; --error: #ff8a80; --warning: #f2b866; --note: #9dbbe0; --good: #7fd1a0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; color: var(--text); background: var(--ground);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.2rem; margin: 2rem 0 .6rem; } h3 { margin: 0 0 .3rem; }
a { color: var(--accent); } .soft, footer { color: var(--soft); } footer { margin-top: 3rem; font-size: .85rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } td.number, th.number { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem;
  overflow-wrap: anywhere; }
.card img, figure img, figure svg { max-width: 100%; height: auto; border-radius: .25rem; } figure { margin: 1rem 0; }
img.voxels { image-rendering: pixelated; }
.error, .warning, .note, .good { font-weight: 600; } .error { color: var(--error); } .warning { color: var(--warning); }
.note { color: var(--note); } .good { color: var(--good); }
summary { cursor: pointer; } .swatch { display: inline-block; width: .8em; height: .8em; border-radius: .15em; }
@media print { .card, tr { break-inside: avoid; } body { max-width: none; } }
"""

_SKELETON = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ title }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<header><h1>{{ title }}</h1>{% if lead %}<p class="soft">{{ lead }}</p>{% endif %}</header>
<main>
{{ body }}
</main>
<footer>Made by dropiris {{ version }}. Research software, not a medical device.</footer>
</body>
</html>
"""


def page(title: str, template: str, *, lead: str = "", **values: Any) -> str:
    """The whole page as text.

    Parameters
    ----------
    title, lead : str
        Heading, and a sentence under it.
    template : str
        Jinja source of the page's middle. ``values`` are its variables; strings are escaped, a name that is missing
        is an error. Its filters are ``picture`` (an RGB or grey uint8 array to a data URI, PNG), ``photo`` (the same
        as JPEG, a quarter of the bytes: for a page with hundreds) and ``drawing`` (a matplotlib figure). Classes at
        hand: ``cards``/``card``, ``scroll`` around a wide table, ``number`` for cells, ``error``, ``warning``,
        ``note``, ``good``, ``soft``, ``swatch``, ``voxels``.

    Raises
    ------
    InputError
        Jinja2 is not installed.
    """
    jinja = library("jinja2", "dropiris[train]", "HTML")
    environment = jinja.Environment(
        autoescape=True, undefined=jinja.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(picture=picture_uri, photo=photo_uri, drawing=figure_uri)
    # Rendered with escaping, so what it returns may be marked as safe.
    body = library("markupsafe", "dropiris[train]", "HTML").Markup(environment.from_string(template).render(**values))
    skeleton = environment.from_string(_SKELETON)
    return str(skeleton.render(title=title, lead=lead, body=body, style=_STYLE, version=__version__))


def write_page(path: Path, text: str) -> None:
    """Write a page; it is complete under its name or not there."""
    with replacing(path, ".html") as hidden:
        hidden.write_text(text, encoding="utf-8", newline="\n")


def picture_uri(picture: np.ndarray) -> str:
    """A picture (rows, columns[, 3]) of uint8 as a PNG in a ``data:`` URI."""
    return _image_uri(picture, "png", optimize=True)


def photo_uri(picture: np.ndarray) -> str:
    """The same as a JPEG: small, but a pixel is no longer exactly what it was."""
    # Without subsampling: thin coloured outlines of labels stay visible.
    return _image_uri(picture, "jpeg", quality=85, subsampling=0)


def _image_uri(picture: np.ndarray, kind: str, **settings: Any) -> str:
    image = library("PIL.Image", "dropiris[train]", kind.upper())
    packed = io.BytesIO()
    image.fromarray(np.ascontiguousarray(picture)).save(packed, kind, **settings)
    return _data_uri(packed.getvalue(), f"image/{kind}")


def figure_uri(figure: Figure) -> str:
    """A matplotlib figure as an SVG in a ``data:`` URI: sharp at any size, and its text stays text."""
    matplotlib = library("matplotlib", "dropiris[train]", "SVG")
    packed = io.BytesIO()
    # Without a date and with one salt for the ids, equal figures give equal pages.
    with matplotlib.rc_context({"svg.hashsalt": "dropiris", "svg.fonttype": "none"}):
        figure.savefig(packed, format="svg", bbox_inches="tight", metadata={"Date": None})
    return _data_uri(packed.getvalue(), "image/svg+xml")


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
