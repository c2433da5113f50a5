"""A report's page: self-contained, escaped, readable without network."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest

pytest.importorskip("jinja2", reason="Jinja2 (dropiris[train]) is not installed")
from dropiris.evaluate.page import page, write_page


class References(HTMLParser):
    """Everything a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.sources, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for key, value in attrs if key in ("src", "srcset", "data", "poster")]


def test_a_page_holds_its_pictures_and_asks_for_nothing_else(tmp_path):
    from matplotlib.figure import Figure
    from PIL import Image

    picture = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    figure = Figure()
    figure.subplots().plot([0, 1], [2, 3])
    template = '<img alt="scan" src="{{ shown | picture }}"><img alt="plot" src="{{ drawn | drawing }}">'
    text = page("Cases", template, shown=picture, drawn=figure)
    write_page(tmp_path / "page.html", text)
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    read = References()
    read.feed((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert len(read.sources) == 2 and all(source.startswith("data:image/") for source in read.sources)
    assert not {"script", "link", "iframe"} & set(read.tags) and "default-src 'none'" in text
    stored = base64.b64decode(read.sources[0].split(",", 1)[1])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(stored))), picture)


def test_names_from_files_cannot_become_markup():
    text = page("<b>", "<p>{{ case }}</p>", lead="a & b", case="<script>alert(1)</script>")
    assert "<script>" not in text and "&lt;script&gt;" in text and "a &amp; b" in text and "<title>&lt;b&gt;" in text


def test_a_forgotten_value_is_an_error():
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError):
        page("t", "{{ missing }}")
