"""Links of a page that lead out of docs/: the sources read well on GitHub, the site shows or names what they mean."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PICTURES = {".png", ".svg", ".jpg", ".jpeg", ".gif", ".webp"}
# Where the site keeps pictures that lie elsewhere in the repository.
PICTURE_FOLDER = "repository"

_CODE = re.compile(r"(^ *```.*?^ *```|^ *~~~.*?^ *~~~|`[^`\n]*`)", re.DOTALL | re.MULTILINE)
_TARGET = re.compile(r"(?<=\]\()([^)\s]+)(?=[)\s])")
_OBJECT = re.compile(r"`(dropiris(?:\.\w+)+)`")


def outside_code(text: str) -> list[tuple[bool, str]]:
    """A Markdown text in pieces: (is code, piece)."""
    return [(n % 2 == 1, piece) for n, piece in enumerate(_CODE.split(text))]


def pictures_of(text: str, source: Path) -> set[Path]:
    """Pictures of the repository, outside docs/, that a page shows."""
    found = set()
    for is_code, piece in outside_code(text):
        for target in [] if is_code else _TARGET.findall(piece):
            path = _local(target, source)
            if path and path.suffix.lower() in PICTURES and path.is_file() and not path.is_relative_to(DOCS):
                found.add(path)
    return found


def with_site_links(text: str, source: Path, uri: str, pages: Mapping[Path, str], repository: str) -> str:
    """Point links at the site, at its copies of pictures, or at the repository's own pages.

    Parameters
    ----------
    text : str
        Markdown that was written at ``source`` and is shown at ``uri``.
    pages : mapping
        Files that the site shows, to their addresses in it.
    repository : str
        Address of the repository's web page.
    """

    def pointed(match: re.Match[str]) -> str:
        target = match.group(1)
        path = _local(target, source)
        if path is None or not path.exists():
            return target  # MkDocs says what is missing
        anchor = "#" + target.partition("#")[2] if "#" in target else ""
        if path in pages:
            return posixpath.relpath(pages[path], posixpath.dirname(uri) or ".") + anchor
        if path.is_relative_to(DOCS) and source.is_relative_to(DOCS):
            return target
        inside = path.relative_to(ROOT).as_posix()
        if path.suffix.lower() in PICTURES:
            return posixpath.relpath(f"{PICTURE_FOLDER}/{inside}", posixpath.dirname(uri) or ".")
        return f"{repository}/{'tree' if path.is_dir() else 'blob'}/main/{inside}{anchor}"

    return "".join(piece if is_code else _TARGET.sub(pointed, piece) for is_code, piece in outside_code(text))


def with_object_links(text: str, documented: tuple[str, ...]) -> str:
    """`dropiris.some.name` in code becomes a link to its place in the reference, which fails if there is none."""

    def linked(piece: str) -> str:
        match = _OBJECT.fullmatch(piece)
        if match and f"{match.group(1)}.".startswith(documented):
            return f"[{piece}][{match.group(1)}]"
        return piece

    pieces = outside_code(text)
    whole = [
        linked(piece) if is_code and not pieces[n - 1][1].endswith("[") else piece
        for n, (is_code, piece) in enumerate(pieces)
    ]
    return "".join(whole)


def _local(target: str, source: Path) -> Path | None:
    """The file of this repository that a link means, if it means one."""
    name = target.partition("#")[0]
    if not name or re.match(r"\w+:|/", name):
        return None
    path = (source.parent / name).resolve()
    return path if path.is_relative_to(ROOT) else None
