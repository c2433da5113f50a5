"""Pages of the code's own texts: one for each package, read from the sources without importing them."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1] / "src"
PACKAGE = SOURCES / "dropiris"
# The command line has a page of its own; panels are Slicer's windows, which nobody imports.
LEFT_OUT = {"cli", "panels"}


def packages() -> list[Path]:
    """Folders of the package that are shown, by name."""
    inside = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))
    return [path for path in inside if path.name not in LEFT_OUT]


def documented() -> tuple[str, ...]:
    """Beginnings of the names that the reference shows, each with a dot at its end."""
    names = [f"dropiris.{path.name}." for path in packages()]
    return (*names, *(f"{name}." for name in _modules(PACKAGE)))


def pages() -> dict[str, str]:
    """Address of each page to its Markdown; the first one lists the others."""
    made = {"api/index.md": _index()}
    made["api/base.md"] = _page("What every part builds on", _modules(PACKAGE))
    for path in packages():
        modules = [f"dropiris.{path.name}", *_modules(path)]
        for inner in sorted(p.parent for p in path.glob("*/__init__.py")):
            modules += [_name(inner), *_modules(inner)]
        made[f"api/{path.name}.md"] = _page(f"dropiris.{path.name}", modules)
    return made


def _index() -> str:
    rows = "\n".join(f"| [dropiris.{p.name}]({p.name}.md) | {_first_line(p / '__init__.py')} |" for p in packages())
    return (
        "# Python reference\n\nRead from the sources when this site was built, without running them. Names that begin "
        "with an underscore are private and not shown; so are the modules of the panels.\n\n"
        "| package | what it is for |\n|---|---|\n"
        f"| [base](base.md) | volumes, geometry, intensities, errors: no torch |\n{rows}\n\n"
        "What most programs need:\n\n```python\n"
        "from dropiris.files import read_volume, write_labels\n"
        "from dropiris.inference import DropGenSegmenter\n"
        "from dropiris.models.catalogue import Catalogue\n\n"
        'segmenter = DropGenSegmenter(Catalogue().find("hippocampus-t1"))\n'
        'write_labels(segmenter.segment(read_volume("scan.nii.gz")), "result.seg.nrrd")\n```\n'
    )


def _page(title: str, modules: list[str]) -> str:
    return f"# {title}\n\n" + "\n\n".join(f"::: {name}" for name in modules) + "\n"


def _modules(folder: Path) -> list[str]:
    return [_name(path) for path in sorted(folder.glob("*.py")) if not path.name.startswith("_")]


def _name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCES).with_suffix("").parts)


def _first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0].replace("\n", " ")
