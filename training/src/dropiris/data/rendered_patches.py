"""Training crops for DropGen from label maps without images: each is rendered anew (SynthSeg, Billot et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset

from dropiris.data.labelled_scan import LabelledScan, load_labelled_scan
from dropiris.data.nnunet import Case, Dataset
from dropiris.data.patches import structure_voxels, toward_middle
from dropiris.data.sequences import ORDINARY, SEQUENCES, sequence_contrast
from dropiris.data.synthesis import Appearance, Contrast, Deformation, deform, synthesise, without
from dropiris.data.windows import Placement, cut_window, random_rotation
from dropiris.train.dropgen_config import DropGenConfig

ROTATION, SCALING, BEND = 0.25, 0.12, 0.15  # radians, log scale per axis, see Deformation


@dataclass(frozen=True)
class RenderedScan:
    """A label map to render.

    Attributes
    ----------
    targets : (256,) uint8
        What a number of the map is to the model: 1..n in the order of the dataset's structures, 0 background.
    centres : (n, 3) int16, voxels of structures
    """

    scan: LabelledScan
    targets: torch.Tensor
    centres: np.ndarray


def load_rendered(case: Case, dataset: Dataset) -> RenderedScan:
    """A case of a dataset, whose structures may be merged of several of the file's."""
    scan = load_labelled_scan(case, Dataset.open(dataset.folder))
    targets = np.zeros(256, np.uint8)
    order = {value: number for number, value in enumerate(dataset.structures.values(), start=1)}
    for number, value in enumerate(scan.values, start=1):
        merged = int(value) if dataset.merged is None else dataset.merged.get(int(value), 0)
        targets[number] = order.get(merged, 0)
    return RenderedScan(scan, torch.from_numpy(targets), structure_voxels(targets[scan.labels]))


class RenderedPatches(TorchDataset):
    """``patches[step, index]``: an image (1, D, H, W) in [0, 1] and its labels (1, D, H, W) int64, as of PatchDataset.

    The window is turned, stretched and bent, a share of heads is shown as brains alone, and the contrast is random or
    that of one sequence.
    """

    def __init__(self, scans: Sequence[RenderedScan], config: DropGenConfig):
        self.scans, self.config = list(scans), config
        self.appearance = Appearance() if config.contrast == "random" else ORDINARY

    def __len__(self) -> int:
        return self.config.max_steps

    def __getitem__(self, at: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        config, rng = self.config, np.random.default_rng([self.config.seed, *at])
        chosen = self.scans[rng.integers(len(self.scans))]
        labels = self._window(chosen, rng)
        target = chosen.targets[labels.long()]
        outer = chosen.scan.outer
        if len(outer) and rng.random() < config.stripped:
            labels = without(labels, outer.tolist())
        kind: str = config.contrast
        if kind == "mixed":
            kind = "random" if rng.random() < config.random_share else SEQUENCES[rng.integers(len(SEQUENCES))]
        if kind == "random":
            contrast = Contrast.draw(1, len(chosen.scan.alike), rng).of(chosen.scan.alike)
        else:
            contrast = sequence_contrast(chosen.scan, kind, rng)
        image = synthesise(labels[None], contrast, rng, self.appearance)[0]
        return image, target[None].long()

    def _window(self, chosen: RenderedScan, rng: np.random.Generator) -> torch.Tensor:
        scan, config = chosen.scan, self.config
        extent = np.array(scan.labels.shape) * scan.voxel
        if len(chosen.centres) and rng.random() < config.foreground:
            centre = toward_middle(chosen.centres, rng, config.centring) * scan.voxel
        else:
            centre = rng.uniform(0.2, 0.8, 3) * extent
        spacing = np.array(config.spacing) * np.exp(rng.uniform(-SCALING, SCALING, 3))
        placement = Placement(centre, spacing, random_rotation(rng, ROTATION))
        window = cut_window(scan.labels[None], scan.voxel, placement, config.window, "nearest", 0.0)
        return deform(window.to(torch.uint8), rng, Deformation.bending(BEND))[0]
