"""Follow every link of a built site: pages, anchors, pictures, scripts. What leads outside is listed, not fetched."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser loads by itself when it shows a page; a link is followed by a person.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}
# <link> elements that only name something.
NAMED = {"canonical", "prev", "next", "edit", "alternate"}
_STYLE_URL = re.compile(r"url\(\s*['\"]?((?:https?:)?//[^'\")]+)")


@dataclass
class SiteLinks:
    """What was found in a site.

    Attributes
    ----------
    problems : list of str
        One sentence for each link that leads nowhere and for each thing loaded from the network.
    external : list of str
        Addresses outside, sorted.
    pages, internal : int
    """

    problems: list[str] = field(default_factory=list)
    external: list[str] = field(default_factory=list)
    pages: int = 0
    internal: int = 0


class Page(HTMLParser):
    """Anchors of a page, the links a person follows and what a browser loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors.update(values[name] for name in ("id", "name") if values.get(name))
        named = tag == "link" and NAMED.intersection(values.get("rel", "").split())
        if tag in LOADED and values.get(LOADED[tag]) and not named:
            self.loaded.append(values[LOADED[tag]])
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])


def check_site(site: Path) -> SiteLinks:
    """Check every page of a site's folder."""
    site = site.resolve()
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found = SiteLinks(pages=len(pages))
    external: set[str] = set()
    for path, page in pages.items():
        if path.name == "404.html":  # served at any address: its links start at the root
            continue
        where = path.relative_to(site).as_posix()
        for link in (*page.links, *page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loaded and parts.scheme != "data":
                    found.problems.append(f"{where} loads {link} from the network; ship it with the site.")
                elif parts.scheme in ("http", "https"):
                    external.add(link)
                continue
            found.internal += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target = target / "index.html"
            if not target.is_file() or not target.is_relative_to(site):
                found.problems.append(f"{where} links to {link}, which is not in the site.")
            elif parts.fragment and target in pages and not _has_anchor(pages[target], parts.fragment):
                found.problems.append(f"{where} links to {link}, but that page has no such anchor.")
    for path in site.rglob("*.css"):
        for address in _STYLE_URL.findall(path.read_text(encoding="utf-8")):
            found.problems.append(f"{path.relative_to(site).as_posix()} loads {address} from the network.")
    found.external = sorted(external)
    return found


def _has_anchor(page: Page, fragment: str) -> bool:
    return unquote(fragment) in page.anchors or fragment in page.anchors
