"""The documentation site: it builds without a network, its links lead somewhere, and what it tells to type exists."""

from __future__ import annotations

import html
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from dropiris.models.bundle import read_card

ROOT = Path(__file__).resolve().parents[2]
BUILDER = ROOT / "training" / "docs"
SOURCES = [ROOT / "README.md", ROOT / "training" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
needs_mkdocs = pytest.mark.skipif(
    not all(map(find_spec, ("mkdocs", "material", "mkdocstrings", "latex2mathml"))),
    reason='the site is built only where the extra "docs" is installed',
)


@pytest.fixture(scope="module", autouse=True)
def _builder() -> Iterator[None]:
    sys.path.insert(0, str(BUILDER))
    yield
    sys.path.remove(str(BUILDER))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The site without the code's reference, which takes three times as long, and what the build warned of."""
    import build

    folder = tmp_path_factory.mktemp("site") / "site"
    return folder, build.build(folder, with_api=False)


@needs_mkdocs
def test_the_site_builds_without_a_warning_and_every_link_leads_somewhere(site: tuple[Path, list[str]]) -> None:
    from built_site import check_site

    folder, warnings = site
    links = check_site(folder)
    assert (warnings, links.problems) == ([], [])
    assert links.pages > 15 and links.internal > 500


@needs_mkdocs
def test_equations_are_drawn_without_a_script(site: tuple[Path, list[str]]) -> None:
    page = (site[0] / "methods" / "iris.html").read_text(encoding="utf-8")
    assert page.count("<math") > 30 and "$$" not in page and "\\mathrm" not in page


@needs_mkdocs
def test_an_equation_that_cannot_be_drawn_stops_the_build_and_prices_are_no_equations() -> None:
    import markdown
    from equations import Equations

    assert "<math" not in markdown.markdown("It costs $5 or $6, `$x$`.", extensions=[Equations()])
    with pytest.raises(ValueError, match="arg"):
        markdown.markdown(r"$\arg\max x$", extensions=[Equations()])


@needs_mkdocs
def test_every_verb_has_its_section(site: tuple[Path, list[str]]) -> None:
    from command_line_page import commands

    page = (site[0] / "command-line.html").read_text(encoding="utf-8")
    assert all(f'id="{name.replace(" ", "-")}"' in page for name, _ in commands())


@needs_mkdocs
def test_every_shipped_model_is_on_the_page_of_models_with_its_pictures(site: tuple[Path, list[str]]) -> None:
    page = html.unescape((site[0] / "models.html").read_text(encoding="utf-8"))
    folders = [path.parent for path in (ROOT / "Resources" / "Models").glob("*/model.json")]
    assert folders
    for folder in folders:
        card = read_card(folder)
        assert f'id="{card.name}"' in page and f'id="{card.name}-scores"' in page and card.licence in page
        for about in card.training["datasets"].values():
            assert re.sub(r"\s+", " ", about["source"]) in page
        for picture in folder.glob("*.png"):
            assert (site[0] / "repository" / picture.relative_to(ROOT)).read_bytes() == picture.read_bytes()
    assert 'href="models.html"' in (site[0] / "limits.html").read_text(encoding="utf-8")


@pytest.fixture
def shown(tmp_path: Path) -> Callable[..., str]:
    """The page of one model whose card says this, as HTML."""
    markdown, models_page = pytest.importorskip("markdown"), pytest.importorskip("models_page")

    def made(**card: Any) -> str:
        folder = tmp_path / "models" / "organ"
        folder.mkdir(parents=True, exist_ok=True)
        said = {"name": "organ", "version": "1.0.0", "method": "iris", "window": [64] * 3, "network": {"name": "Iris"}}
        (folder / "model.json").write_text(json.dumps({**said, **card}), encoding="utf-8")
        text = models_page.page(folder.parent).partition("## organ")[2]
        return html.unescape(markdown.markdown(f"## organ{text}", extensions=["tables", "attr_list"]))

    return made


def test_a_card_that_says_little_has_a_page(shown: Callable[..., str]) -> None:
    page = shown()
    for words in ("Not a medical device", "does not name it", "Nothing was measured", "names none"):
        assert words in page
    assert "Trained" not in page and 'id="organ-trust"' not in page and "<img" not in page
    assert "Not a medical device" in shown(intended_use="Counting livers.")  # even where a card forgets it


def test_a_page_shows_all_that_a_card_says(shown: Callable[..., str], tmp_path: Path) -> None:
    score = {"dataset": "A_1 (Val)", "structure": "a | b", "metric": "Dice", "value": 0.84, "cases": 6}
    for name in ("thumbnail.png", "missed.png"):
        (tmp_path / "models" / "organ").mkdir(parents=True, exist_ok=True)
        (tmp_path / "models" / "organ" / name).write_bytes(b"PNG")
    page = shown(
        title="organ",
        licence="CC BY-SA 4.0",
        training={
            "datasets": {"Dataset_1": {"licence": "CC0 1.0", "source": "https://example.org/a_b_c <me>"}},
            "date": "2026-03-01",
            "steps": 1500,
            "hardware": "processor, 1 thread",
        },
        scores=[{**score, "interval": [0.8, 0.88]}],
        trust={"threshold": 0.7, "caught": 0.9, "data": "six scans"},
        failures=[{"text": "Misses [small] *ones*.", "picture": "missed.png"}, {"text": "No CT.", "picture": "ct.png"}],
        changelog={"1.0.0": "first"},
    )
    for words in (
        "<td>CC BY-SA 4.0</td>", "<td>2026-03-01, 1500 steps, processor, 1 thread</td>", "Licence: CC0 1.0.",
        "Source: https://example.org/a_b_c <me>.", "<td>A_1 (Val)</td>", "<td>a | b</td>", "<td>0.84 [0.80, 0.88]</td>",
        "below 0.7 asks to be checked, 90% of bad results are caught", "six scans", "Misses [small] *ones*.", "No CT.",
        'organ/thumbnail.png"', 'organ/missed.png"', "1.0.0: first",
    ):  # fmt: skip
        assert words in page, words
    assert page.count("<img") == 2 and "ct.png" not in page


def test_a_broken_link_an_unknown_anchor_and_a_picture_from_the_network_are_found(tmp_path: Path) -> None:
    from built_site import check_site

    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="b.html">b</a><a href="#top">t</a><a href="#no">n</a><a href="gone.html">g</a>'
        '<img src="https://example.org/x.png"><a href="https://example.org/">e</a>'
    )
    (tmp_path / "b.html").write_text('<a href="a.html#top">a</a><a href="../outside.html">o</a>')
    found = check_site(tmp_path)
    assert len(found.problems) == 4
    for part in ("#no", "gone.html", "x.png", "outside.html"):
        assert sum(part in problem for problem in found.problems) == 1
    assert found.external == ["https://example.org/"]


def _typed() -> list[tuple[str, str]]:
    """(file, command) of every line that a page tells to type, in blocks of code."""
    typed = []
    for path in SOURCES:
        for block in re.findall(r"^```\w*\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            for line in re.sub(r" *\\\n\s*", " ", block).splitlines():
                if line.strip().startswith("dropiris "):
                    typed.append((path.relative_to(ROOT).as_posix(), line.split(" #")[0].strip()))
    return typed


@pytest.mark.parametrize(("file", "line"), _typed())
def test_what_a_page_tells_to_type_exists(file: str, line: str) -> None:
    from command_line_page import commands

    words = shlex.split(line.replace("[", "").replace("]", ""))
    known = dict(commands())
    verb = next((" ".join(words[:n]) for n in (3, 2) if " ".join(words[:n]) in known), None)
    assert verb, f"{file}: {line}"
    options = {name for p in known[verb].params for name in (*p.opts, *p.secondary_opts)} | {"--help"}
    unknown = [w for w in words if re.match(r"--?[a-z]", w) and w.split("=")[0] not in options]
    assert not unknown, f"{file}: {line}"
    needed = [p for p in known[verb].params if p.param_type_name == "option" and p.required]
    assert all(set(p.opts) & set(words) for p in needed) or "--help" in words, f"{file}: {line}"
