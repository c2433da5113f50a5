"""A labelled reference as an atlas: where its structures lie in another scan, by aligning the two.

What a structure looks like tells little where contrasts differ, or where a neighbour looks alike; where it lies tells
much. Labels that are only moved along (single-atlas segmentation) are blind to the scan's own borders, though: Iris
weighs both (:mod:`dropiris.networks.iris_place`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch.nn import functional as F

from dropiris.geometry import CanonicalGrid
from dropiris.inference.preparation import prepare
from dropiris.inference.reference_crops import place_mask
from dropiris.inference.registration import (
    Described,
    Map,
    Step,
    displaced,
    fit_affine,
    fit_field,
    histogram_distance,
    likeness,
    rank_correlation,
    sample,
    voxel_places,
)
from dropiris.intensity import IntensityRule
from dropiris.volume import Reference, Volume

COARSE = 150_000  # voxels of the whole reference for the affine map
FINE = 600_000  # voxels about its structures for the field
MASKS = 2_000_000, 60_000_000  # voxels of a mask, and of all masks: fetal cortex is a millimetre or two
LARGEST = 4 * COARSE  # voxels of a query that shows more
MOST_VOXELS = 100_000_000  # of any scan that is resampled
MARGIN = 0.1  # of the structures' extent, about them in the query; in the reference half as much again
FINEST = 0.5  # mm
# Correlation of aligned descriptors up to which an alignment is not believed at all, and from which it is. Scans with
# like histograms that were aligned rightly had 0.42 to 0.96; the left hippocampus on the right one, parts of two bodies
# and a crop that was not found in the whole 0.20 to 0.33. MR and CT, whose histograms differ, had 0.34 to 0.55 where
# structures were found and 0.25 to 0.35 where not: they are believed sooner, as all else finds nothing there.
BELIEVED = (0.32, 0.42)
SOONER = 0.12
UNLIKE = (0.17, 0.27)  # distance of histograms: at most 0.15 in one contrast, 0.26 to 0.46 between MR and CT
_PARTS = ("image", "spacing", "corner")

Box = tuple[np.ndarray, np.ndarray]  # low and high corner (3,), mm along a scan's canonical axes


@dataclass(frozen=True, eq=False)
class View:
    """A scan, or the part of it from ``corner`` on, with voxels of ``spacing``: mm along its canonical axes."""

    image: torch.Tensor  # (D, H, W)
    spacing: torch.Tensor  # (3,)
    corner: torch.Tensor  # (3,)

    def described(self, device: str) -> Described:
        return Described.of(*(t.to(device, torch.float32) for t in (self.image, self.spacing, self.corner)))


@dataclass(frozen=True, eq=False)
class Atlas:
    """What is kept of a reference to align it with scans: parts of the patient's scan, which stay where it is.

    Attributes
    ----------
    whole, near : View
        The reference, and its surroundings of the structures.
    masks : Tensor (K, D, H, W) of uint8
        Share of each voxel that a structure covers, 0 to 255.
    spacing, corner : Tensor (3,)
        Voxel size of the masks, and where they begin, mm.
    names : tuple of K str
    axes : Tensor (3, 3)
        Directions of the canonical axes in RAS, as columns.
    """

    whole: View
    near: View
    masks: torch.Tensor
    spacing: torch.Tensor
    corner: torch.Tensor
    names: tuple[str, ...]
    axes: torch.Tensor

    @classmethod
    def of(cls, reference: Reference, rule: IntensityRule) -> Atlas:
        """Every structure of a reference; ``rule`` is the model's, for intensities."""
        scan = reference.volume
        finest = 0.9 * max(FINEST, float(min(scan.spacing)))
        grid, whole = _view(scan, rule, _spacing(_extent(scan), COARSE, finest))
        names = tuple(s.name for s in reference.structures)
        placed = [place_mask(grid, reference.mask(name)) for name in names]
        found = [mask for mask in placed if mask is not None]
        voxel = whole.spacing.numpy()
        low = np.min([mask.start for mask in found], axis=0) * voxel
        high = np.max([mask.stop for mask in found], axis=0) * voxel
        margin = 1.5 * MARGIN * float((high - low).max())
        low, high = np.maximum(low - margin, 0), np.minimum(high + margin, _extent(scan))
        grid, all_of_it = _view(scan, rule, _spacing(high - low, FINE, finest))
        near = _part(all_of_it, low, high)
        most = min(MASKS[0], MASKS[1] // len(names))
        grid = CanonicalGrid.over(scan.shape, scan.affine, _bounded(scan, _spacing(high - low, most, finest)))
        start = np.floor(low / grid.spacing).astype(int)
        sides = np.ceil(high / grid.spacing).astype(int) - start
        masks = []
        for name in names:
            mask = place_mask(grid, reference.mask(name))
            share = mask.cut(start.tolist(), sides.tolist()) if mask else np.zeros(sides, np.float32)
            masks.append(torch.from_numpy((255 * share).round().astype(np.uint8)))
        spacing, corner = (torch.from_numpy(mm).float() for mm in (grid.spacing, start * grid.spacing))
        return cls(whole, near, torch.stack(masks), spacing, corner, names, _axes(grid))

    def tensors(self) -> dict[str, torch.Tensor]:
        """All of it but the names, for a file."""
        views = {"whole": self.whole, "near": self.near}
        held = {f"{name}.{part}": getattr(view, part) for name, view in views.items() for part in _PARTS}
        own = {"masks": self.masks, "spacing": self.spacing, "corner": self.corner, "axes": self.axes}
        return {name: tensor.contiguous() for name, tensor in {**held, **own}.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor], names: tuple[str, ...]) -> Atlas:
        """What :meth:`tensors` gave; KeyError where it is not all there."""
        whole, near = (View(*(tensors[f"{name}.{part}"] for part in _PARTS)) for name in ("whole", "near"))
        masks, spacing, corner, axes = (tensors[name] for name in ("masks", "spacing", "corner", "axes"))
        return cls(whole, near, masks, spacing, corner, names, axes)

    def align(self, scan: Volume, rule: IntensityRule, device: str, step: Step) -> AlignedAtlas | None:
        """Find the reference's structures in a scan; None where they lie outside it. ``step`` is called all along."""
        with torch.inference_mode(False), torch.enable_grad():
            return self._align(scan, rule, device, step)

    def _align(self, scan: Volume, rule: IntensityRule, device: str, step: Step) -> AlignedAtlas | None:
        size = float(self.whole.spacing.mean())
        spacing = max(size, _spacing(_extent(scan), LARGEST, size))
        grid, whole = _view(scan, rule, spacing)
        ours = _resized(self.whole, spacing).described(device)
        theirs = whole.described(device)
        rotation = torch.linalg.solve(self.axes, _axes(grid)).to(ours.spacing)
        matrix, shift = fit_affine(ours, theirs, rotation, step)

        def affine(places: torch.Tensor) -> torch.Tensor:
            return (matrix @ places.flatten(1) + shift[:, None]).view_as(places)

        box = self._seen(theirs, affine)
        if box is None:
            return None
        _, all_of_it = _view(scan, rule, float(self.near.spacing.mean()))
        part = _part(all_of_it, *box)
        near, ours = part.described(device), self.near.described(device)
        field = fit_field(ours, near, affine, step)
        where = near.places()
        where = affine(where) + displaced(field, near, where)
        alike = likeness(ours, near, where)
        distance = histogram_distance(self.whole.image, all_of_it.image)
        believed = _ramp(alike + SOONER * _ramp(distance, *UNLIKE), *BELIEVED)
        if not believed:
            return None
        image = sample(self.near.image[None].to(where), ours.spacing, ours.corner, where)[0]
        both = sample(ours.weight[None], ours.spacing, ours.corner, where)[0] * near.weight > 0.5
        return AlignedAtlas(
            self, near, affine, field, believed, alike, rank_correlation(image.cpu(), part.image, both.cpu())
        )

    def _seen(self, query: Described, affine: Map) -> Box | None:
        """What an affine map takes to the structures or near them."""
        low, high = self.extent()
        margin = MARGIN * (high - low).max()
        return _taken_to(query, affine(query.places()), low - margin, high + margin)

    def extent(self, name: str | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Low and high corner (3,) of a structure, or of all, mm in the reference."""
        mask = self.masks.amax(0) if name is None else self.masks[self.names.index(name)]
        covered = mask.nonzero()
        if not len(covered):  # thinner than these voxels: nowhere
            return self.corner, self.corner
        return covered.amin(0) * self.spacing + self.corner, (covered.amax(0) + 1) * self.spacing + self.corner


@dataclass(frozen=True, eq=False)
class AlignedAtlas:
    """An atlas in a scan.

    Attributes
    ----------
    near : Described
        The part of the scan that was aligned.
    affine : callable
        Takes places in mm of the scan to those of the reference.
    field : Tensor (3, d, h, w)
        Added to that, see :func:`~dropiris.inference.registration.fit_field`.
    believed : float
        0 to 1: how far to believe it.
    likeness : float
        Correlation of aligned descriptors.
    contrast : float
        Rank correlation of aligned intensities in both foregrounds: near 1 in scans of one contrast, less in others.
    """

    atlas: Atlas
    near: Described
    affine: Map
    field: torch.Tensor
    believed: float
    likeness: float
    contrast: float

    @cached_property
    def _where(self) -> torch.Tensor:
        """Where the voxels of the aligned part lie in the reference, mm."""
        places = self.near.places()
        return self.affine(places) + displaced(self.field, self.near, places)

    def box(self, name: str) -> Box | None:
        """Where the scan has a structure; None where it does not."""
        return _taken_to(self.near, self._where, *self.atlas.extent(name))

    def masks(self, names: Sequence[str], spacing: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The named masks (K, D, H, W) in 0..1 for voxels of this size (mm): averaged, where theirs are finer."""
        atlas, like = self.atlas, self.near.spacing
        ratio = max(1, round(spacing / float(atlas.spacing.mean())))
        chosen = [atlas.masks[atlas.names.index(name)][None].to(like) / 255 for name in names]
        if ratio > 1:
            chosen = [F.avg_pool3d(mask, ratio, ceil_mode=True, count_include_pad=False) for mask in chosen]
        return torch.stack(chosen)[:, 0], atlas.spacing.to(like) * ratio

    def places(
        self, masks: tuple[torch.Tensor, torch.Tensor], shape: tuple[int, ...], spacing: Sequence[float],
        corner: Sequence[float],
    ) -> torch.Tensor:  # fmt: skip
        """Share of each voxel that structures cover, (K, D, H, W) in 0..1, on a grid along the scan's canonical axes.

        Parameters
        ----------
        masks
            What :meth:`masks` gives.
        shape, spacing, corner
            Voxels; voxel size and the first voxel's outer corner in mm of the scan.
        """
        values, size = masks
        where = voxel_places(shape, size.new_tensor(spacing), size.new_tensor(corner))
        reference = self.affine(where) + displaced(self.field, self.near, where)
        return sample(values, size, self.atlas.corner.to(size), reference)


def _taken_to(query: Described, where: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> Box | None:
    """Of a query's voxels that lie at ``where`` (3, D, H, W) of a reference, those from ``low`` to ``high``."""
    low, high = (corner.to(where)[:, None, None, None] for corner in (low, high))
    close = ((where > low) & (where < high)).all(0)
    if not close.any():
        return None
    inside, half = query.places()[:, close].cpu(), query.spacing.cpu()[:, None] / 2
    return (inside - half).amin(1).numpy(), (inside + half).amax(1).numpy()


def _ramp(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _extent(scan: Volume) -> np.ndarray:
    grid = CanonicalGrid.over(scan.shape, scan.affine, None)
    return np.array(grid.shape) * grid.spacing


def _spacing(extent: np.ndarray, voxels: int, finest: float) -> float:
    """Voxel size (mm) with which a box has about so many voxels."""
    return max(float(np.prod(extent) / voxels) ** (1 / 3), finest)


def _bounded(scan: Volume, spacing: float) -> tuple[float, float, float]:
    """This voxel size (mm), or a larger one: a gland's voxels all over a whole body would be gigabytes."""
    return (_spacing(_extent(scan), MOST_VOXELS, spacing),) * 3


def _view(scan: Volume, rule: IntensityRule, spacing: float) -> tuple[CanonicalGrid, View]:
    grid, image = prepare(scan, rule, _bounded(scan, spacing))
    return grid, View(torch.from_numpy(image), torch.from_numpy(grid.spacing).float(), torch.zeros(3))


def _part(view: View, low: np.ndarray, high: np.ndarray) -> View:
    """From ``low`` to ``high``, mm, and a little more for descriptors, which look about."""
    voxel = view.spacing.numpy()
    start = np.maximum(np.floor(low / voxel).astype(int) - 4, 0)
    stop = np.minimum(np.ceil(high / voxel).astype(int) + 4, view.image.shape)
    image = view.image[tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))].clone()
    return View(image, view.spacing, torch.from_numpy(start * voxel).float())


def _resized(view: View, spacing: float) -> View:
    """With voxels of about this size (mm), where that is larger."""
    sides = [max(1, round(n * float(s) / spacing)) for n, s in zip(view.image.shape, view.spacing, strict=True)]
    if all(a >= b for a, b in zip(sides, view.image.shape, strict=True)):
        return view
    image = F.interpolate(view.image[None, None].float(), size=sides, mode="area")[0, 0]
    return View(image, view.spacing * torch.tensor(view.image.shape) / torch.tensor(sides), view.corner)


def _axes(grid: CanonicalGrid) -> torch.Tensor:
    return torch.from_numpy(grid.affine[:3, :3] / grid.spacing).float()
