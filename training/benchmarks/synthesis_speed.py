"""How fast training pairs are made: shapes, bending and two rendered views, beside the training step they are for.

    python training/benchmarks/synthesis_speed.py [--side 64] [--runs 10]

Prints medians on this machine; a pair must take well under a step, or a run waits for its data.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from figure import Figure, print_figures
from machine import describe_machine, in_words
from rich.console import Console
from stopwatch import median, seconds_of

# What a generator that keeps a pool of ready shapes took for a 64**3 pair on one core.
TARGET = 0.07


def synthesis_speed(side: int, runs: int, device: str = "cpu") -> list[Figure]:
    """A shape ensemble, its bending, two views of it, all of it, and one contrastive step of anatomix on the pair."""
    import torch

    from dropiris.data.shapes import LARGEST, draw_ensemble, structure_templates
    from dropiris.data.synthesis import deform, rendered
    from dropiris.networks import AnatomixUNet

    rng, sides = np.random.default_rng(0), (side, side, side)
    templates = structure_templates(draw_ensemble(sides, rng).numpy().astype(int))
    labels = draw_ensemble(sides, rng, templates, device=device)[None]

    def pair() -> None:
        rendered(draw_ensemble(sides, rng, templates, device=device)[None], rng, label_count=LARGEST)

    network = AnatomixUNet().to(device)

    def step() -> None:
        views = rendered(labels, np.random.default_rng(0), label_count=LARGEST)
        with torch.autocast(device, torch.bfloat16):
            network(views).float().square().mean().backward()
        network.zero_grad(set_to_none=True)

    parts = {
        "shapes": (
            f"random shapes and templates, {side}³",
            lambda: draw_ensemble(sides, rng, templates, device=device),
        ),
        "bend": ("bending a label map", lambda: deform(labels, rng)),
        "views": ("two views of it", lambda: rendered(labels, rng, label_count=LARGEST)),
    }
    taken = seconds_of(step, max(2, runs // 4), device)
    figures = [Figure("synthesis.step", "step of anatomix on a pair, bfloat16", median(taken), "s", runs=taken)]
    for key, (what, run) in parts.items():
        own = seconds_of(run, runs, device)
        figures.append(Figure(f"synthesis.{key}", what, median(own), "s", runs=own))
    whole = seconds_of(pair, runs, device)
    target = TARGET if side == 64 and device == "cpu" else None
    figures.append(Figure("synthesis.pair", "a whole pair", median(whole), "s", target=target, runs=whole))
    share = median(whole) / median(taken)
    figures.append(Figure("synthesis.share", "the same", median(whole), "s", share, "step", target=0.25, runs=whole))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    chosen = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(in_words(describe_machine()), highlight=False)
    print_figures(console, "Synthesis", synthesis_speed(chosen.side, chosen.runs, chosen.device))
    return 0


if __name__ == "__main__":
    sys.exit(main())
