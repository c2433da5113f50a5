"""Episodes (Algorithm 1 of Iris): a reference and a query of the same dataset with a few of its structures.

Every draw depends only on (seed, step, index), so a resumed run sees what an uninterrupted one would, with any number
of workers or processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset

from dropiris.data.intensity_augmentation import augment_intensity, remap
from dropiris.data.sequences import ORDINARY, SEQUENCES, sequence_shift, with_sequence
from dropiris.data.shape_episodes import shape_pair
from dropiris.data.synthesis import Appearance, Contrast, Deformation, deform, synthesise, without
from dropiris.data.training_scan import Content, TrainingScan
from dropiris.data.windows import Placement, cut_window, random_rotation
from dropiris.networks.views import iris_input
from dropiris.train.iris_config import IrisConfig


class Episode(NamedTuple):
    """Windows (1, D, H, W) and masks (K, D, H, W) of a reference and a query; K is the same in a whole batch.

    ``classes`` (K,) are places in :attr:`EpisodeDataset.classes`, -1 where an embedding says nothing about the class:
    a random shape, a mirrored or an inverted window. ``spacing`` (K,) are the structures' own working voxel sizes, mm.
    """

    reference: torch.Tensor
    reference_masks: torch.Tensor
    query: torch.Tensor
    query_masks: torch.Tensor
    classes: torch.Tensor
    spacing: torch.Tensor


class Look(NamedTuple):
    """How a label map is rendered."""

    contrast: Contrast
    appearance: Appearance | None = None


class EpisodeDataset(TorchDataset):
    """``episodes[step, index]`` is one :class:`Episode` of the batch of training step ``step``.

    Attributes
    ----------
    classes : list of str
        Every structure of the datasets; one that several have is one class.
    """

    def __init__(self, datasets: Sequence[Sequence[TrainingScan]], config: IrisConfig):
        self.datasets = [list(scans) for scans in datasets]
        self.config = config
        self.classes = list(dict.fromkeys(name for scans in self.datasets for scan in scans for name in scan.contents))
        weights = np.array(config.weights or [1.0] * len(self.datasets), dtype=float)
        self.weights = weights / weights.sum()

    def __len__(self) -> int:
        return self.config.max_steps

    def __getitem__(self, at: tuple[int, int]) -> Episode:
        step, index = at
        classes = int(np.random.default_rng([self.config.seed, step]).integers(1, self.config.max_classes + 1))
        return self._episode(
            np.random.default_rng([self.config.seed, step, 1 + index]), classes
        )  # [a, b, 0] seeds as [a, b]

    def _episode(self, rng: np.random.Generator, classes: int) -> Episode:
        if self.config.shapes and rng.random() < self.config.shapes:
            return self._of_shapes(rng, classes)
        scans = self.datasets[rng.choice(len(self.datasets), p=self.weights)]
        reference = scans[rng.integers(len(scans))]
        query = scans[rng.integers(len(scans))]
        names, spacing = choose_structures(reference, classes, rng)
        own_spacing = {name: reference.spacing_of(name) for name in names}
        spacing *= float(np.exp(rng.uniform(-0.08, 0.08)))
        # Both windows alike, so left stays left. Mirrored seldom, since scans come in canonical orientation: with 0.3
        # on every axis a hippocampus's two ends were not told apart after 700 steps (Dice 0.2).
        mirror = np.where(rng.random(3) < (self.config.mirror, 0.0, 0.0), -1.0, 1.0)
        rendered = [not scan.levels or rng.random() < self.config.rendered for scan in (reference, query)]
        looks: list[Look | None] = [None, None]
        if any(rendered):
            drawn = self._looks((reference, query), rng)
            looks = [look if yes else None for look, yes in zip(drawn, rendered, strict=True)]
        where = [reference.contents[n] for n in names]
        placement = self._place(reference, where, spacing, mirror, False, rng)
        image, masks = self._cut(reference, where, placement, looks[0], rng)
        # A class that lies outside the reference's window cannot be learned from it: ask for the anchor instead.
        shown = [k if masks[k].sum() >= 4 else 0 for k in range(classes)]
        names, masks = [names[k] for k in shown], masks[shown]
        wanted = [query.contents.get(n) for n in names]
        placement = self._place(query, [c for c in wanted if c], spacing, mirror, True, rng)
        query_image, query_masks = self._cut(query, wanted, placement, looks[1], rng)
        if rng.random() < 0.15:
            masks = perturb(masks, rng)
        sign = -1.0 if rng.random() < self.config.invert else 1.0
        told = sign > 0 and mirror.min() > 0
        known = torch.tensor([self.classes.index(name) if told else -1 for name in names])
        sizes = torch.tensor([own_spacing[name] for name in names], dtype=torch.float32)
        return Episode(sign * image, masks, sign * query_image, query_masks, known, sizes)

    def _looks(self, pair: Sequence[TrainingScan], rng: np.random.Generator) -> list[Look]:
        """How each of two scans is rendered: in one contrast, or in two."""
        change = rng.random() < self.config.contrast_change
        # drawn for groups, not for a scan's own numbers: one contrast is one contrast in both scans
        n = 1 + int(max(scan.groups.max() for scan in pair))
        as_sequence = all(scan.tissues.size for scan in pair) and rng.random() < self.config.sequences
        drawn = [Contrast.draw(1, n, rng, **({"dark_air": 1.0} if as_sequence else {})) for _ in range(1 + change)]
        contrasts = [one.of(scan.groups) for one, scan in zip((drawn[0], drawn[-1]), pair, strict=True)]
        if not as_sequence:
            return [Look(contrast) for contrast in contrasts]
        kinds, shift = rng.permutation(SEQUENCES).tolist(), sequence_shift(rng)
        return [
            Look(with_sequence(contrast, scan.tissues, kind, shift), ORDINARY)
            for contrast, scan, kind in zip(contrasts, pair, (kinds[0], kinds[int(change)]), strict=True)
        ]

    def _of_shapes(self, rng: np.random.Generator, classes: int) -> Episode:
        """An episode of random shapes, which are no class that could be remembered."""
        images, masks = shape_pair(self.config.window, classes, rng, self.config.contrast_change)
        reference, query = (iris_input(self._changed(image, rng)[None])[0] for image in images)
        return Episode(reference, masks[0], query, masks[1], torch.full((classes,), -1), torch.ones(classes))

    def _place(
        self, scan: TrainingScan, where: list[Content], spacing: float, mirror: np.ndarray, is_query: bool,
        rng: np.random.Generator,
    ) -> Placement:  # fmt: skip
        side = np.array(self.config.window) * spacing
        anywhere = not where or (is_query and rng.random() < self.config.negatives)
        if anywhere:
            centre = rng.uniform(0.15, 0.85, 3) * scan.extent
        else:
            anchor = where[0]
            centre = (anchor.low + anchor.high) / 2
            # The reference is looked at as at inference, centred; a sliding window meets the query off centre.
            wander = self.config.wander if is_query else 0.05
            centre = centre + rng.uniform(-wander, wander, 3) * side
        stretch = np.exp(rng.uniform(-self.config.scaling, self.config.scaling, 3))
        rotation = random_rotation(rng, self.config.rotation) * mirror
        return Placement(centre, spacing * stretch, rotation)

    def _cut(
        self, scan: TrainingScan, wanted: Sequence[Content | None], placement: Placement, look: Look | None,
        rng: np.random.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        side = self.config.window
        spacing = float(placement.spacing.mean())
        if look is not None:
            labels = cut_window(scan.labels[None], scan.voxel, placement, side, "nearest", 0.0)
            if self.config.bend:
                labels = deform(labels, rng, Deformation.bending(self.config.bend))
            values = [content.values if content else () for content in wanted]
            masks = torch.cat([torch.isin(labels, torch.tensor(one)).float() for one in values])
            if scan.outer and rng.random() < self.config.stripped:
                labels = without(labels, scan.outer)
            return iris_input(synthesise(labels.long(), look.contrast, rng, look.appearance))[0], masks
        array, voxel, origin = scan.level_for(spacing)
        shifted = Placement(placement.centre - origin - scan.voxel / 2, placement.spacing, placement.rotation)
        image = cut_window(array, voxel, shifted, side, outside=float(array.min()))  # air, as inference pads
        masks = self._masks(scan, wanted, placement)
        return iris_input(self._changed(image, rng)[None])[0], masks

    def _changed(self, image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        if rng.random() < self.config.remap:
            image = remap(image, rng)
        return augment_intensity(image, rng, self.config.intensity_probability, self.config.intensity_strength)

    def _masks(self, scan: TrainingScan, wanted: Sequence[Content | None], placement: Placement) -> torch.Tensor:
        """Soft masks (K, D, H, W): the share of each window voxel a structure covers, about."""
        shifted = Placement(placement.centre - scan.voxel / 2, placement.spacing, placement.rotation)
        masks = []
        for content in wanted:
            if content is None:
                masks.append(torch.zeros(self.config.window))
                continue
            low = np.maximum(np.floor(content.low / scan.voxel).astype(int) - 2, 0)
            high = np.ceil(content.high / scan.voxel).astype(int) + 2
            part = np.isin(scan.labels[tuple(map(slice, low, high))], content.values)
            inside = Placement(shifted.centre - low * scan.voxel, shifted.spacing, shifted.rotation)
            masks.append(cut_window(part[None], scan.voxel, inside, self.config.window, outside=0.0)[0])
        return torch.stack(masks)


def choose_structures(scan: TrainingScan, classes: int, rng: np.random.Generator) -> tuple[list[str], float]:
    """Random structures of about one size (class dropping), the first of them the anchor, and their spacing."""
    names = list(scan.contents)
    spacings = {name: scan.spacing_of(name) for name in names}
    anchor = names[rng.integers(len(names))]
    near = [n for n in names if n != anchor and 0.5 <= spacings[n] / spacings[anchor] <= 2.0]
    others = [near[i] for i in rng.permutation(len(near))[: classes - 1]]
    chosen = [anchor, *others]
    spacing = min(spacings[n] for n in chosen)
    chosen += [anchor] * (classes - len(chosen))  # every episode of a batch has the same K
    return chosen, spacing


def perturb(masks: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A carelessly drawn reference (Sec. 3.4): grown or shrunk by a voxel."""
    pool = torch.nn.functional.max_pool3d
    if rng.random() < 0.5:
        return pool(masks, 3, 1, 1)
    shrunk = -pool(-masks, 3, 1, 1)
    gone = shrunk.sum((1, 2, 3)) < 8
    shrunk[gone] = masks[gone]
    return shrunk
