"""What is measured: the published sizes, and tiny ones that run every line in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sizes:
    """Networks and volumes of one kind of run.

    Attributes
    ----------
    name : str
    runs : int
        Repetitions of each timing.
    predictor, extractor, iris : dict
        Specifications for ``build_network``; the predictor takes the image and the extractor's features.
    window : int
        Side of DropGen's and Iris's window, voxels.
    classes : tuple of int
        Iris: classes asked for at once, fewest first.
    queries : int
        Iris's headline case.
    ct : tuple of 3 int
        Scan whose peak memory is measured.
    ct_classes : int
        Structures of its model.
    compact, compact_window
        DropGen network of the whole path from click to segments.
    scene_side : int
        Its scan, voxels per side.
    """

    name: str
    runs: int
    predictor: dict[str, Any]
    extractor: dict[str, Any]
    iris: dict[str, Any]
    window: int
    classes: tuple[int, ...]
    queries: int
    ct: tuple[int, int, int]
    ct_classes: int
    compact: dict[str, Any]
    compact_window: int
    scene_side: int


# DropGen Table 12 (36.87 M) with anatomix (5.90 M); Iris at base width 32 with 10 queries.
FULL = Sizes(
    name="full",
    runs=3,
    predictor={"name": "UNet", "in_channels": 17, "out_channels": 16, "base_width": 20, "downsamplings": 5},
    extractor={"name": "AnatomixUNet"},
    iris={"name": "Iris", "in_channels": 1, "base_width": 32, "task_channels": 128, "queries": 10},
    window=128,
    classes=(1, 4, 15),
    queries=10,
    ct=(512, 512, 400),
    ct_classes=16,
    compact={"name": "UNet", "in_channels": 13, "out_channels": 5, "base_width": 12, "downsamplings": 4},
    compact_window=128,
    scene_side=256,
)

QUICK = Sizes(
    name="quick",
    runs=1,
    predictor={"name": "UNet", "in_channels": 5, "out_channels": 4, "base_width": 4, "downsamplings": 2},
    extractor={"name": "AnatomixUNet", "base_width": 4, "out_channels": 4, "downsamplings": 2},
    iris={"name": "Iris", "in_channels": 1, "base_width": 4, "task_channels": 64, "queries": 2},
    window=32,
    classes=(1, 2, 4),
    queries=2,
    ct=(96, 96, 80),
    ct_classes=16,
    compact={"name": "UNet", "in_channels": 13, "out_channels": 5, "base_width": 4, "downsamplings": 2},
    compact_window=32,
    scene_side=48,
)


def network_in_words(network: Any, spec: dict[str, Any]) -> str:
    """ "UNet of 36.87 M parameters"."""
    count = sum(p.numel() for p in network.parameters())
    return f"{spec['name']} of {count / 1e6:.2f} M parameters"
