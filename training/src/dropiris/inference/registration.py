"""One scan's place in another: a shift, an affine map, then a smooth field, by descriptors that no contrast changes.

MIND-SSC (:mod:`dropiris.networks.mind`) needs no training and compares MR with CT. As in Heinrich et al., "MRF-based
deformable registration and ventilation estimation of lung CT" (IEEE TMI 2013) and Siebert et al., "ConvexAdam" (IEEE
TMI 2024), its differences are minimised by Adam over a coarse grid of displacements. The start is found by comparing
all shifts at once (Fourier transform), so scans need not show the same part of the body.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from dropiris.inference.described import Described, along

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
BACKGROUND = 0.2  # weight of air beside foreground: an outline counts, what noise makes of air hardly

Step = Callable[[], None]


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
        base, voxel = affine(theirs.places()), along(theirs.spacing)
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


def displaced(field: torch.Tensor, query: Described, places: torch.Tensor) -> torch.Tensor:
    """Displacements (3, ...) in mm at places (3, ...) of the query; those of its edge beyond it."""
    first = query.corner + query.spacing / 2
    span = query.spacing * (query.spacing.new_tensor(query.weight.shape) - 1).clamp(min=1)
    where = 2 * (places - along(first)) / along(span) - 1
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
