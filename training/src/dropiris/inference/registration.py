"""One scan's place in another: a shift, an affine map, then a smooth field, by descriptors that no contrast changes.

MIND-SSC (:mod:`dropiris.networks.mind`) needs no training and compares MR with CT. As in Heinrich et al., "MRF-based
deformable registration and ventilation estimation of lung CT" (IEEE TMI 2013) and Siebert et al., "ConvexAdam" (IEEE
TMI 2024), its differences are minimised by Adam over a coarse grid of displacements. The start is found by comparing
all shifts at once (Fourier transform), so scans need not show the same part of the body.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch.nn import functional as F

from dropiris.networks.mind import MINDSSC
from dropiris.networks.views import stable_features

Map = Callable[[torch.Tensor], torch.Tensor]  # places (3, D, H, W) in mm of one scan to those of the other

SHIFTS_AT = 2  # voxels of descriptors averaged for the search of shifts
OVERLAP = 0.6  # of the smaller scan's foreground, that a shift leaves
AFFINE = ((4, 60), (2, 40))  # voxels averaged, steps
FIELD = ((8, 30), (4, 30), (2, 30), (1, 12))  # the coarsest finds what lies far off, the finest a millimetre
AFFINE_RATES = (0.02, 0.05)  # of the matrix, and of the shift in deviations of the foreground
SQUEEZE, SCALE = 0.2, 0.05  # price of other proportions, and of another size: a fetus may be half as long as another
FIELD_RATE = 0.3  # voxels a step
NODES = 2  # voxels between displacements
SMOOTHNESS = 0.5
RANKED = 100_000  # voxels whose intensities are compared
AIR = 0.05  # of the range of intensities: below it is none of the body
BACKGROUND = 0.2  # weight of air beside foreground: an outline counts, what noise makes of air hardly

Step = Callable[[], None]


@dataclass(frozen=True)
class Described:
    """Descriptors of a scan, or a part of it, on its canonical axes.

    Attributes
    ----------
    features : Tensor (C, D, H, W)
    weight : Tensor (D, H, W)
        1 in the foreground, 0 in air.
    spacing, corner : Tensor (3,)
        Voxel size, and where the first voxel's outer corner lies in the scan, mm.
    """

    features: torch.Tensor
    weight: torch.Tensor
    spacing: torch.Tensor
    corner: torch.Tensor

    @classmethod
    def of(cls, image: torch.Tensor, spacing: torch.Tensor, corner: torch.Tensor) -> Described:
        """Of an image (D, H, W) of any contrast."""
        with torch.no_grad():
            unit = (image - image.min()) / (image.max() - image.min()).clamp(min=1e-6)
            features = stable_features(MINDSSC(), unit[None, None])[0]
        return cls(features, foreground(image), spacing, corner)

    def averaged(self, voxels: int) -> Described:
        """Over blocks of voxels; a thin side stays as it is."""
        sides = [voxels if side >= 2 * voxels else 1 for side in self.weight.shape]
        features, weight = (F.avg_pool3d(t[None], sides)[0] for t in (self.features, self.weight[None]))
        return Described(features, weight[0], self.spacing * self.spacing.new_tensor(sides), self.corner)

    def places(self) -> torch.Tensor:
        """Centres of the voxels (3, D, H, W), mm."""
        return voxel_places(self.weight.shape, self.spacing, self.corner)

    def at(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (C, ...) at places in mm, 0 outside, and how far inside each lies (...), 0 to 1."""
        inside = torch.ones_like(self.features[:1])
        found = sample(torch.cat([self.features, inside]), self.spacing, self.corner, places)
        return found[:-1], found[-1]


def foreground(image: torch.Tensor) -> torch.Tensor:
    """1 where an image is brighter than a tenth of its range, else 0."""
    low, high = np.percentile(image.cpu().numpy(), (1, 99))
    return (image > low + 0.1 * (high - low)).to(image.dtype)


def voxel_places(shape: tuple[int, ...], spacing: torch.Tensor, corner: torch.Tensor) -> torch.Tensor:
    """Centres of a grid's voxels (3, D, H, W), mm."""
    sides = [torch.arange(n, device=spacing.device, dtype=spacing.dtype) for n in shape]
    index = torch.stack(torch.meshgrid(*sides, indexing="ij"))
    return (index + 0.5) * _along(spacing) + _along(corner)


def sample(values: torch.Tensor, spacing: torch.Tensor, corner: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Trilinear values (C, ...) of a grid's (C, D, H, W) at places (3, ...) in mm; 0 outside the grid."""
    size = spacing * spacing.new_tensor(values.shape[1:])
    where = 2 * (places - _along(corner)) / _along(size) - 1
    grid = where.flip(0).movedim(0, -1)[None]
    return F.grid_sample(values[None], grid, padding_mode="zeros", align_corners=False)[0]


def best_shift(reference: Described, query: Described) -> torch.Tensor:
    """The shift (3,) in mm from query to reference with the smallest mean squared difference of descriptors.

    Both have one voxel size. All shifts that leave :data:`OVERLAP` are compared.
    """
    sides = [a + b for a, b in zip(reference.weight.shape, query.weight.shape, strict=True)]

    def transform(values: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfftn(values, s=sides)

    def back(spectrum: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfftn(spectrum, s=sides)

    ours, theirs = transform(reference.weight), transform(query.weight).conj()
    squares = transform(reference.features.square().sum(0) * reference.weight) * theirs
    squares += ours * transform(query.features.square().sum(0) * query.weight).conj()
    for a, b in zip(reference.features, query.features, strict=True):  # one channel at a time: a spectrum is large
        squares -= 2 * transform(a * reference.weight) * transform(b * query.weight).conj()
    shared = back(ours * theirs)
    enough = OVERLAP * min(float(reference.weight.sum()), float(query.weight.sum()))
    cost = torch.where(shared >= enough, back(squares) / shared.clamp(min=1.0), torch.inf)
    at = np.unravel_index(int(cost.argmin()), sides)
    steps = [n if n < side else n - both for n, side, both in zip(at, reference.weight.shape, sides, strict=True)]
    return reference.spacing.new_tensor(steps) * reference.spacing + reference.corner - query.corner


def fit_affine(
    reference: Described, query: Described, rotation: torch.Tensor, step: Step
) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrix (3, 3) and shift (3,) that take the query's mm to the reference's.

    Two starts, the best shift of all and centre on centre of the foreground; the one that ends better is taken.

    Parameters
    ----------
    rotation : Tensor (3, 3)
        From the query's axes to the reference's, by what the scans' headers say.
    step : callable
        Called before every step of the fit.
    """
    centres = [_centre(one)[:, None] for one in (query, reference)]
    about = centres[0]
    searched = about + best_shift(reference.averaged(SHIFTS_AT), query.averaged(SHIFTS_AT))[:, None]
    fits = [_fit_from(reference, query, rotation, about, start, step) for start in (searched, centres[1])]
    matrix, onto, _ = min(fits, key=lambda fit: fit[2])
    return matrix, (onto - matrix @ about)[:, 0]


def _fit_from(
    reference: Described, query: Described, rotation: torch.Tensor, about: torch.Tensor, start: torch.Tensor, step: Step
) -> tuple[torch.Tensor, torch.Tensor, float]:
    away = (query.places().flatten(1) - about).square() * query.weight.flatten()
    spread = (away.sum(1) / query.weight.sum().clamp(min=1)).sqrt().mean()
    matrix, shift = rotation.clone().requires_grad_(), torch.zeros_like(start).requires_grad_()
    rates = [{"params": [matrix], "lr": AFFINE_RATES[0]}, {"params": [shift], "lr": AFFINE_RATES[1]}]
    end = float("inf")
    for voxels, steps in AFFINE:
        ours, theirs = reference.averaged(voxels), query.averaged(voxels)
        places, optimizer = theirs.places(), torch.optim.Adam(rates)
        for _ in range(steps):
            step()
            where = (matrix @ (places.flatten(1) - about) + start + shift * spread).view_as(places)
            error, weight = difference(ours, theirs, where, theirs.weight)
            loss = error / weight.sum().clamp(min=1e-3) + _strain(matrix)
            # what leaves the reference is as bad as what is unlike it
            lost = 1 - weight.sum() / theirs.weight.sum().clamp(min=1e-3)
            end = float((loss * (1 - lost) + 2 * lost).detach())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return matrix.detach(), (start + shift * spread).detach(), end


def _strain(matrix: torch.Tensor) -> torch.Tensor:
    """What an affine map costs: without it scans that differ much would be squeezed into a plane of one another."""
    product = matrix.T @ matrix
    size = product.diagonal().mean()
    squeezed = (product / size - torch.eye(3, device=matrix.device)).square().sum()
    return SQUEEZE * squeezed + SCALE * size.log().square()


def difference(
    reference: Described, query: Described, where: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted sum over voxels of the mean squared difference of descriptors, and the weights inside the reference."""
    found, inside = reference.at(where)
    weight = weight * inside.detach()
    return ((found - query.features * (inside.detach() > 0)).square().mean(0) * weight).sum(), weight


def fit_field(reference: Described, query: Described, affine: Map, step: Step) -> torch.Tensor:
    """Displacements (3, d, h, w) in mm at nodes that span the query's outermost voxel centres, added to ``affine``."""
    field: torch.Tensor | None = None
    for voxels, steps in FIELD:
        ours, theirs = reference.averaged(voxels), query.averaged(voxels)
        base, voxel = affine(theirs.places()), _along(theirs.spacing)
        nodes = [max(4, -(-side // NODES)) for side in theirs.weight.shape]
        start = torch.zeros(1, 3, *nodes, device=voxel.device) if field is None else _spread(field / voxel, nodes)
        moved = start.detach().requires_grad_()
        optimizer = torch.optim.Adam([moved], lr=FIELD_RATE)
        weight = BACKGROUND + (1 - BACKGROUND) * theirs.weight
        smooth = moved
        for _ in range(steps):
            step()
            smooth = _smoothed(_smoothed(moved))
            where = base + _spread(smooth[0], list(base.shape[1:]))[0] * voxel
            error, _ = difference(ours, theirs, where, weight)
            bending = sum(smooth.diff(dim=dim).square().mean() for dim in (2, 3, 4))
            loss = error / weight.numel() + SMOOTHNESS / NODES**2 * bending
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        field = smooth.detach()[0] * voxel
    assert field is not None
    return field


def likeness(reference: Described, query: Described, where: torch.Tensor) -> float:
    """Mean correlation of aligned descriptors in what both show, -1 to 1."""
    found, inside = reference.at(where)
    weight = query.weight * inside
    total = weight.sum().clamp(min=1e-3)
    ours, theirs = (f - ((f * weight).sum((1, 2, 3)) / total)[:, None, None, None] for f in (found, query.features))
    shared, own, other = ((a * b * weight).sum((1, 2, 3)) for a, b in ((ours, theirs), (ours, ours), (theirs, theirs)))
    return float((shared / (own * other).sqrt().clamp(min=1e-6)).mean())


def rank_correlation(one: torch.Tensor, other: torch.Tensor, where: torch.Tensor) -> float:
    """Spearman's, of two images (D, H, W) on the processor, where a mask says; 0 where nothing can be said."""
    pairs = np.stack([image[where].float().numpy() for image in (one, other)])
    pairs = pairs[:, :: max(1, pairs.shape[1] // RANKED)]
    if pairs.shape[1] < 2 or (pairs.min(1) == pairs.max(1)).any():
        return 0.0
    return float(stats.spearmanr(*pairs).statistic)


def histogram_distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Mean difference of two images' scaled intensities at equal shares of the voxels that are not air, 0 to 1."""
    shares = []
    for image in (one, other):
        values = image.flatten()[:: max(1, image.numel() // RANKED)].float().numpy()
        low, high = np.percentile(values, (2, 98))
        scaled = ((values - low) / max(high - low, 1e-6)).clip(0, 1)
        tissue = scaled[scaled > AIR]
        shares.append(np.quantile(tissue, np.linspace(0.02, 0.98, 49)) if len(tissue) else np.zeros(49))
    return float(np.abs(shares[0] - shares[1]).mean())


def displaced(field: torch.Tensor, query: Described, places: torch.Tensor) -> torch.Tensor:
    """Displacements (3, ...) in mm at places (3, ...) of the query; those of its edge beyond it."""
    first = query.corner + query.spacing / 2
    span = query.spacing * (query.spacing.new_tensor(query.weight.shape) - 1).clamp(min=1)
    where = 2 * (places - _along(first)) / _along(span) - 1
    grid = where.flip(0).movedim(0, -1)[None]
    return F.grid_sample(field[None], grid, padding_mode="border", align_corners=True)[0]


def _centre(scan: Described) -> torch.Tensor:
    weight = scan.weight.flatten()
    centre: torch.Tensor = (scan.places().flatten(1) * weight).sum(1) / weight.sum().clamp(min=1e-3)
    return centre


def _spread(field: torch.Tensor, sides: list[int]) -> torch.Tensor:
    return F.interpolate(field[None], size=sides, mode="trilinear", align_corners=True)


def _smoothed(field: torch.Tensor) -> torch.Tensor:
    return F.avg_pool3d(field, 3, stride=1, padding=1, count_include_pad=False)


def _along(vector: torch.Tensor) -> torch.Tensor:
    return vector[:, None, None, None]
