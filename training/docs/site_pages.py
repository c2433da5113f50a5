"""What MkDocs asks this project while it builds the site: pages that are made, links that lead out of docs/."""

from __future__ import annotations

import re
from typing import Any

import api_pages
import command_line_page
import equations
import griffe
import models_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from repository_links import DOCS, PICTURE_FOLDER, ROOT, pictures_of, with_object_links, with_site_links

# Pages that are kept elsewhere in the repository.
SHOWN = {ROOT / "training" / "RESULTS.md": "results.md"}
_ROLE = re.compile(r":(?:mod|func|class|attr|meth|data):`~?\.?([^`]+)`")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Equations; the reference's own pages in the menu."""
    config.markdown_extensions.append(equations.Equations())  # type: ignore[arg-type]
    made = list(api_pages.pages())
    for entry in config.nav or []:
        if isinstance(entry, dict) and "Reference" in entry:
            entry["Reference"].append({"Python": made if config.extra.get("with_api", True) else [made[0]]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, those kept elsewhere, and the pictures they show."""
    made = {"command-line.md": command_line_page.page(), models_page.ADDRESS: models_page.page()}
    for uri, text in api_pages.pages().items():
        if config.extra.get("with_api", True):
            made[uri] = text
        elif uri == "api/index.md":
            made[uri] = "# Python reference\n\nLeft out of this build.\n"
    for uri, text in made.items():
        files.append(File.generated(config, uri, content=text))
    pictures = pictures_of(made[models_page.ADDRESS], DOCS / models_page.ADDRESS)
    for source, uri in SHOWN.items():
        if source.is_file():
            files.append(File.generated(config, uri, content=source.read_text(encoding="utf-8")))
            pictures |= pictures_of(source.read_text(encoding="utf-8"), source)
    for source in DOCS.rglob("*.md"):
        pictures |= pictures_of(source.read_text(encoding="utf-8"), source)
    for picture in sorted(pictures):
        uri = f"{PICTURE_FOLDER}/{picture.relative_to(ROOT).as_posix()}"
        files.append(File.generated(config, uri, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links where the site has what they mean."""
    uri = page.file.src_uri
    if uri.startswith("api/") or uri == "command-line.md":
        return markdown
    source = next((path for path, shown in SHOWN.items() if shown == uri), DOCS / uri)
    pages = {path: shown for path, shown in SHOWN.items() if path.is_file()}
    if not source.is_relative_to(DOCS):
        pages |= {DOCS / file.src_uri: file.src_uri for file in files.documentation_pages()}
    text = with_site_links(markdown, source, uri, pages, (config.repo_url or "").rstrip("/"))
    return with_object_links(text, api_pages.documented()) if config.extra.get("with_api", True) else text


class PlainRoles(griffe.Extension):
    """``:func:`name``` of docstrings is a name in code: Markdown knows no roles."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = _ROLE.sub(r"`\1`", obj.docstring.value)
