"""A labelled reference as an atlas: where its structures lie in another scan, by aligning the two.

What a structure looks like tells little where contrasts differ, or where a neighbour looks alike; where it lies tells
much. Labels that are only moved along (single-atlas segmentation) are blind to the scan's own borders, though: Iris
weighs both (:mod:`dropiris.networks.iris_place`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional as F

from dropiris.errors import InputError
from dropiris.geometry import CanonicalGrid
from dropiris.inference.aligned_atlas import AlignedAtlas, Box, taken_to
from dropiris.inference.described import Described, sample
from dropiris.inference.reference_crops import place_mask
from dropiris.inference.registration import Map, Step, displaced, fit_affine, fit_field
from dropiris.inference.scan_likeness import histogram_distance, likeness, rank_correlation
from dropiris.inference.scan_views import View, axes_of, bounded, extent_of, spacing_for
from dropiris.intensity import IntensityRule
from dropiris.volume import Reference, Volume

COARSE = 150_000  # voxels of the whole reference for the affine map
FINE = 600_000  # voxels about its structures for the field
MASKS = 2_000_000, 60_000_000  # voxels of a mask, and of all masks: fetal cortex is a millimetre or two
LARGEST = 4 * COARSE  # voxels of a query that shows more
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
        """Every structure of a reference; ``rule`` is the model's, for intensities. InputError where all are empty."""
        scan = reference.volume
        finest = 0.9 * max(FINEST, float(min(scan.spacing)))
        grid, whole = View.of(scan, rule, spacing_for(extent_of(scan), COARSE, finest))
        names = tuple(s.name for s in reference.structures)
        placed = [place_mask(grid, reference.mask(name)) for name in names]
        found = [mask for mask in placed if mask is not None]
        if not found:
            raise InputError(
                f"No structure of {scan.name or 'the reference'} is drawn; draw one, or take another scan."
            )
        voxel = whole.spacing.numpy()
        low = np.min([mask.start for mask in found], axis=0) * voxel
        high = np.max([mask.stop for mask in found], axis=0) * voxel
        margin = 1.5 * MARGIN * float((high - low).max())
        low, high = np.maximum(low - margin, 0), np.minimum(high + margin, extent_of(scan))
        grid, all_of_it = View.of(scan, rule, spacing_for(high - low, FINE, finest))
        near = all_of_it.part(low, high)
        most = min(MASKS[0], MASKS[1] // len(names))
        grid = CanonicalGrid.over(scan.shape, scan.affine, bounded(scan, spacing_for(high - low, most, finest)))
        start = np.floor(low / grid.spacing).astype(int)
        sides = np.ceil(high / grid.spacing).astype(int) - start
        masks = []
        for name in names:
            mask = place_mask(grid, reference.mask(name))
            share = mask.cut(start.tolist(), sides.tolist()) if mask else np.zeros(sides, np.float32)
            masks.append(torch.from_numpy((255 * share).round().astype(np.uint8)))
        spacing, corner = (torch.from_numpy(mm).float() for mm in (grid.spacing, start * grid.spacing))
        return cls(whole, near, torch.stack(masks), spacing, corner, names, axes_of(grid))

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
        size = float(self.whole.spacing.mean())
        spacing = max(size, spacing_for(extent_of(scan), LARGEST, size))
        grid, whole = View.of(scan, rule, spacing)

        def near(box: Box) -> View:
            return View.of(scan, rule, float(self.near.spacing.mean()))[1].part(*box)

        return self._align(self.whole.resized(spacing), whole, axes_of(grid), near, device, step)

    def align_with(self, other: Atlas, device: str, step: Step) -> AlignedAtlas | None:
        """Find its structures in what another atlas keeps of its reference."""
        size, fine = (
            max(float(ours.spacing.mean()), float(theirs.spacing.mean()))
            for ours, theirs in ((self.whole, other.whole), (self.near, other.near))
        )
        same = replace(self, whole=self.whole.resized(size), near=self.near.resized(fine))
        near = other.near.resized(fine)
        return same._align(same.whole, other.whole.resized(size), other.axes, lambda box: near, device, step)

    def _align(
        self, own: View, whole: View, axes: torch.Tensor, near_of: Callable[[Box], View], device: str, step: Step
    ) -> AlignedAtlas | None:
        with torch.inference_mode(False), torch.enable_grad():
            ours, theirs = own.described(device), whole.described(device)
            rotation = torch.linalg.solve(self.axes, axes).to(ours.spacing)
            matrix, shift = fit_affine(ours, theirs, rotation, step)

            def affine(places: torch.Tensor) -> torch.Tensor:
                return (matrix @ places.flatten(1) + shift[:, None]).view_as(places)

            box = self._seen(theirs, affine)
            if box is None:
                return None
            part = near_of(box)
            near, ours = part.described(device), self.near.described(device)
            field = fit_field(ours, near, affine, step)
            where = near.places()
            where = affine(where) + displaced(field, near, where)
        alike = likeness(ours, near, where)
        sooner = SOONER * np.interp(histogram_distance(self.whole.image, whole.image), UNLIKE, (0, 1))
        believed = float(np.interp(alike + sooner, BELIEVED, (0, 1)))
        if not believed:
            return None
        image = sample(self.near.image[None].to(where), ours.spacing, ours.corner, where)[0]
        both = sample(ours.weight[None], ours.spacing, ours.corner, where)[0] * near.weight > 0.5
        contrast = rank_correlation(image.cpu(), part.image.float(), both.cpu())
        return AlignedAtlas(self, near, affine, field, believed, alike, contrast)

    def _seen(self, query: Described, affine: Map) -> Box | None:
        """What an affine map takes to the structures or near them."""
        low, high = self.extent()
        margin = MARGIN * (high - low).max()
        return taken_to(query, affine(query.places()), low - margin, high + margin)

    def coarser(self, names: Sequence[str], spacing: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Masks (K, D, H, W) in 0..1, averaged to voxels of about this size (mm) where theirs are finer; their size."""
        ratio = max(1, round(spacing / float(self.spacing.mean())))
        chosen = [self.masks[self.names.index(name)][None].float() / 255 for name in names]
        if ratio > 1:
            chosen = [F.avg_pool3d(mask, ratio, ceil_mode=True, count_include_pad=False) for mask in chosen]
        return torch.stack(chosen)[:, 0], self.spacing * ratio

    def extent(self, name: str | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Low and high corner (3,) of a structure, or of all, mm in the reference."""
        mask = self.masks.amax(0) if name is None else self.masks[self.names.index(name)]
        covered = mask.nonzero()
        if not len(covered):  # thinner than these voxels: nowhere
            return self.corner, self.corner
        return covered.amin(0) * self.spacing + self.corner, (covered.amax(0) + 1) * self.spacing + self.corner
