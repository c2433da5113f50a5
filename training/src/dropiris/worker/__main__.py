"""``python -m dropiris.worker --folder FOLDER [--handlers MODULE:FUNCTION]``: started by the client, not by people."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from dropiris.worker.server import Handler, Server, take_standard_streams


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dropiris.worker", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="the client's private folder, for arrays")
    parser.add_argument("--handlers", default="dropiris.worker.handlers:handlers", help="MODULE:FUNCTION")
    options = parser.parse_args()
    module, _, function = options.handlers.partition(":")

    def load_handlers() -> dict[str, Handler]:
        return getattr(importlib.import_module(module), function)()

    Server(*take_standard_streams(), options.folder, load_handlers).serve()


if __name__ == "__main__":
    main()
