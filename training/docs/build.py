"""Build the documentation site and check its links: ``make docs``, or ``python training/docs/build.py``.

Nothing is fetched. The site is a folder of files that opens without a server: ``build/site/index.html``.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from built_site import check_site

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NEEDED = ("mkdocs", "material", "mkdocstrings", "griffe", "latex2mathml")


def build(site: Path, with_api: bool = True) -> list[str]:
    """Build the site into a folder; return the warnings, which count as errors: a name or link that leads nowhere."""
    from mkdocs.commands.build import build as build_site
    from mkdocs.config import load_config

    warnings = Warnings()
    logger = logging.getLogger("mkdocs")
    logger.addHandler(warnings)
    try:
        config = load_config(str(HERE / "mkdocs.yml"), site_dir=str(site))
        config.extra["with_api"] = with_api
        if not with_api:
            del config.plugins["mkdocstrings"]
        config.plugins.on_startup(command="build", dirty=False)
        build_site(config)
        config.plugins.on_shutdown()
    finally:
        logger.removeHandler(warnings)
    return warnings.said


class Warnings(logging.Handler):
    """Collects what MkDocs and its plugins warn of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def main(arguments: list[str] | None = None) -> int:
    """Exit code 1 when a page, a link or an anchor is missing or something would be loaded from the network."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "site", help="folder of the site")
    parser.add_argument("--without-api", action="store_true", help="leave out the reference of the code: faster")
    options = parser.parse_args(arguments)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        print(f'{missing[0]} is not installed; run: pip install "training[docs]"', file=sys.stderr)
        return 1
    began = time.perf_counter()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    problems = build(options.output, not options.without_api)
    links = check_site(options.output)
    for problem in (*problems, *links.problems):
        print(problem, file=sys.stderr)
    listed = options.output.parent / f"{options.output.name}-external-links.txt"
    listed.write_text("\n".join(links.external) + "\n", encoding="utf-8")
    print(
        f"{options.output / 'index.html'}: {links.pages} pages, {links.internal} internal links followed, "
        f"{len(links.external)} external ones listed in {listed.name}, not fetched; "
        f"{time.perf_counter() - began:.0f} s"
    )
    return 1 if problems or links.problems else 0


if __name__ == "__main__":
    sys.exit(main())
