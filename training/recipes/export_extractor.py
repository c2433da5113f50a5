"""A bundle of features from weights of an extractor: ``python export_extractor.py SOURCE -o FOLDER [--config FILE]``.

SOURCE is the ``last.pt`` or ``best.pt`` of a run (averaged weights; settings from the ``config.yaml`` beside it), which
is scored anew, or NAME.safetensors with its card NAME.json. ``--config`` adds settings, such as the card's texts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from dropiris.data.nnunet import Dataset
from dropiris.errors import DropIrisError
from dropiris.train.extractor import Probe
from dropiris.train.extractor_config import ExtractorConfig
from dropiris.train.extractor_export import bundle_of_weights, export_extractor
from dropiris.train.initial_weights import read_weights
from dropiris.train.stored_config import STORED


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="holds the bundle's folder")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings that replace those of the run")
    parser.add_argument("--without-scores", action="store_true", help="of a checkpoint: do not measure")
    chosen = parser.parse_args()
    try:
        given = _settings(chosen.config) if chosen.config else {}
        if chosen.source.suffix == ".safetensors":
            said = {key: given[key] for key in ("name", "version", "title") if key in given}
            bundle = bundle_of_weights(chosen.source, chosen.output, {**said, **given.get("card", {})})
        else:
            config = ExtractorConfig(**{**_settings(chosen.source.with_name(STORED)), **given})
            datasets, weights = [Dataset.open(folder) for folder in config.data], read_weights(chosen.source)
            scores = {} if chosen.without_scores else Probe(config, datasets)(weights)
            bundle = export_extractor(config, chosen.output, weights, datasets, scores)
    except (DropIrisError, OSError, ValueError) as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"{bundle.folder}: {bundle.card.name} {bundle.card.version}, {bundle.size / 1e6:.1f} MB")
    return 0


def _settings(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


if __name__ == "__main__":
    sys.exit(main())
