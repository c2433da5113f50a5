"""How much a small network learns from few examples, by optimiser and by how its loss weighs small structures.

    python training/benchmarks/learning_speed.py [--data FOLDER] [--steps 240] [--seeds 1]

Trains the network of the recipe brain-any-contrast in small (voxels of 4 mm, 32 x 40 x 32, base width 10, the image
alone) through the training loop itself on heads rendered from label maps, and prints the mean Dice of its structures in
windows of the four heads that the recipe holds back, with the statistics of each window in batch norm, so that the
short average of a short run does not count. About a minute a run on one core.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "training" / "recipes"))
from train_models import read_recipe  # noqa: E402

from dropiris.data.nnunet import Dataset  # noqa: E402
from dropiris.networks import UNet  # noqa: E402
from dropiris.train import train_dropgen  # noqa: E402
from dropiris.train.checkpoint import LAST, read_checkpoint  # noqa: E402
from dropiris.train.dropgen import training_patches  # noqa: E402
from dropiris.train.dropgen_config import DropGenConfig  # noqa: E402

SMALL: dict[str, Any] = {
    "method": "erm", "window": (32, 40, 32), "spacing": (4.0, 4.0, 4.0), "base_width": 10, "warmup_steps": 15,
    "ema": 0.0, "validation_cases": 1, "workers": 0, "accelerator": "cpu", "checkpoint_every": 10_000,
}  # fmt: skip
# Rates as in the recipes. Tried before without balance, one seed, in a loop of its own: AdamW 1.5e-3 and 5e-3 reached
# 0.064 and 0.047, Muon 0.02, 0.04 and 0.06 reached 0.167, 0.176 and 0.223; so it is no rate's merit.
CONTENDERS: dict[str, dict[str, Any]] = {
    "AdamW": {"optimizer": "adamw", "learning_rate": 1.5e-3, "balance": 0.0},
    "AdamW, balanced": {"optimizer": "adamw", "learning_rate": 1.5e-3, "balance": 0.5},
    "Muon": {"optimizer": "muon", "learning_rate": 0.04, "balance": 0.0},
    "Muon, balanced": {"optimizer": "muon", "learning_rate": 0.04, "balance": 0.5},
}
WINDOWS = 16


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of nnU-Net datasets")
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--seeds", type=int, default=1)
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    recipe = read_recipe("brain-any-contrast", chosen.data)
    assert isinstance(recipe, DropGenConfig)
    if not (recipe.data[0] / "dataset.json").is_file():
        print(f"There is no {recipe.data[0]}; give the folder that holds it with --data.", file=sys.stderr)
        return 1
    recipe = recipe.model_copy(update={**SMALL, "max_steps": chosen.steps})
    held_back = windows_of(recipe.model_copy(update={"training": recipe.validation, "seed": 1000}))
    table = Table("", "Dice", "seconds a run", title=f"{chosen.steps} steps, {chosen.seeds} seed(s), {WINDOWS} windows")
    for name, changes in CONTENDERS.items():
        scores, start = [], time.perf_counter()
        for seed in range(chosen.seeds):
            with tempfile.TemporaryDirectory() as folder:
                train_dropgen(recipe.model_copy(update={**changes, "seed": seed}), Path(folder))
                scores.append(score(Path(folder), recipe, held_back))
        seconds = (time.perf_counter() - start) / chosen.seeds
        spread = f" ± {np.std(scores, ddof=1):.3f}" if len(scores) > 1 else ""
        table.add_row(name, f"{np.mean(scores):.3f}{spread}", f"{seconds:.0f}")
    Console(width=100).print(table)
    return 0


def windows_of(config: DropGenConfig) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Images and labels (1, 1, D, H, W) of heads that are not trained on."""
    patches = training_patches(Dataset.open(config.data[0]).merge(config.merge), config)
    return [(image[None], target[None]) for image, target in (patches[step, 0] for step in range(WINDOWS))]


@torch.no_grad()
def score(run: Path, config: DropGenConfig, windows: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Mean over windows of the mean Dice of the structures they show."""
    state = read_checkpoint(run / LAST)["averaged"]
    classes = 1 + len(config.merge)
    network = UNet(1, classes, config.base_width, config.downsamplings)
    network.load_state_dict(state)
    found = []
    for image, target in windows:
        answer = network(image).argmax(1, keepdim=True)
        shown = [(answer == k, target == k) for k in range(1, classes) if bool((target == k).any())]
        found.append(np.mean([2 * float((a & b).sum()) / float(a.sum() + b.sum()) for a, b in shown]))
    return float(np.mean(found))


if __name__ == "__main__":
    sys.exit(main())
