"""Train the models that ship: ``python train_models.py [NAME ...] [--data FOLDER] [--runs FOLDER] [--share FEATURES]``.

Each recipe beside this file becomes a run; the finished bundle replaces the one in Resources/Models. With ``--share
stable-features`` a model that was trained with these features names them there instead of holding a copy. A recipe in
``candidates``, of a model that does not ship, is trained only when it is named; its bundle stays in the run's folder.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from dropiris.errors import DropIrisError
from dropiris.models.bundle import Bundle
from dropiris.models.catalogue import Catalogue
from dropiris.models.shared_features import share_extractor
from dropiris.train import train_dropgen, train_iris
from dropiris.train.dropgen_config import DropGenConfig
from dropiris.train.iris_config import IrisConfig

HERE = Path(__file__).resolve().parent
CANDIDATES = HERE / "candidates"
ROOT = HERE.parents[1]


def read_recipe(name: str, data: Path) -> IrisConfig | DropGenConfig:
    """A recipe with its datasets found under ``data``."""
    values = _values(name)
    values["data"] = [data / dataset for dataset in values["data"]]
    return IrisConfig(**values) if "task_channels" in values else DropGenConfig(**values)


def recipe_file(name: str) -> Path:
    """Where a recipe is, or would be."""
    candidate = CANDIDATES / f"{name}.yaml"
    return candidate if candidate.is_file() else HERE / f"{name}.yaml"


def _values(name: str) -> dict[str, Any]:
    """What a recipe says; one with ``base`` is that one with some values changed."""
    values = yaml.safe_load(recipe_file(name).read_text(encoding="utf-8"))
    base = values.pop("base", None)
    return {**_values(base), **values} if base else values


def main() -> int:
    names = sorted(path.stem for path in HERE.glob("*.yaml"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    aside = sorted(path.stem for path in CANDIDATES.glob("*.yaml"))
    parser.add_argument(
        "names", nargs="*", default=names, metavar="NAME",
        help=f"of {', '.join(names)}, default: all of these; or of {', '.join(aside)}",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument("--share", metavar="FEATURES", help="bundle of features that models share, by name or folder")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if unknown := set(chosen.names) - {*names, *aside}:
        parser.error(f"there is no recipe {min(unknown)!r}; choose among {', '.join(names)}")
    if not chosen.data.is_dir():
        print(f"There is no data folder {chosen.data}; give one with --data.", file=sys.stderr)
        return 1
    for name in chosen.names:
        config = read_recipe(name, chosen.data)
        shipped = ROOT / "Resources" / "Models" / name
        try:
            run = chosen.runs / name
            bundle = train_iris(config, run) if isinstance(config, IrisConfig) else train_dropgen(config, run)
            if name in aside:
                print(f"{name}: {bundle.folder}")
                continue
            shutil.rmtree(shipped, ignore_errors=True)
            shutil.copytree(bundle.folder, shipped)
            if chosen.share and (bundle.card.extractor or {}).get("name") == "AnatomixUNet":
                share_extractor(Bundle.open(shipped), Catalogue().find(chosen.share))
            print(f"{name}: {Catalogue().find(name).folder}")
        except DropIrisError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
