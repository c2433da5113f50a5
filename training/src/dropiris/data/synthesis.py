"""Images from label maps: random contrast per label and a scanner's faults, so that shape is all there is to learn.

After SynthSeg (Billot et al., Medical Image Analysis 2023) and anatomix (Dey et al., ICLR 2025, Sec. 3): each label
gets a random mean and spread, then texture, bias field, gamma, partial volume, resolution, ringing and noise. Whole
batches at a time, on the device of the labels; everything random follows from one numpy generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from dropiris.data.point_spread import along_axes, blur_matrix, coarse_matrix, ringing_matrix, smooth_field


@dataclass(frozen=True)
class Contrast:
    """Intensities of labels: ``mean`` and ``spread``, (B, L), about 0 to 1. Label 0 is air, or what surrounds the rest.

    Draw one and use it for several windows to have them in the same contrast.
    """

    mean: torch.Tensor
    spread: torch.Tensor

    @classmethod
    def draw(cls, batch: int, labels: int, rng: np.random.Generator, dark_air: float = 0.7) -> Contrast:
        """Independent uniform means; in a share ``dark_air`` of the images label 0 is dark, as in MR and CT."""
        mean = rng.uniform(0.05, 1.0, (batch, labels))
        dark = rng.random(batch) < dark_air
        mean[:, 0] = np.where(dark, rng.uniform(0.0, 0.1, batch), mean[:, 0])
        spread = rng.uniform(0.01, 0.08, (batch, labels))
        spread[:, 0] = np.where(dark, 0.2 * spread[:, 0], spread[:, 0])
        return cls(torch.from_numpy(mean).float(), torch.from_numpy(spread).float())

    def of(self, groups: np.ndarray) -> Contrast:
        """That of labels whose groups (n,) this one was drawn for."""
        place = torch.from_numpy(groups).long()
        return Contrast(self.mean[:, place], self.spread[:, place])


@dataclass(frozen=True)
class Appearance:
    """How far rendered images vary; each effect has the probability in front of it, or is always there.

    Attributes
    ----------
    texture : float
        Largest relative deviation of the smooth textures (4 to 16 voxels wide).
    bias : float
        Largest deviation of the logarithm of the bias field.
    gamma : float
        Largest logarithm of the exponent; 0.7 is a gamma of 0.5 to 2.
    blur : (low, high)
        Point spread and partial volume, voxels.
    coarse, coarsest
        Probability of larger voxels, and how many times larger; half of them along one axis only (thick slices).
    ringing, noise, magnitude
        Probability of Gibbs ringing; largest deviation of the scanner's noise; share of images with Rician noise.
    """

    texture: float = 0.1
    bias: float = 0.4
    gamma: float = 0.7
    blur: tuple[float, float] = (0.3, 1.0)
    coarse: float = 0.4
    coarsest: float = 5.0
    ringing: float = 0.3
    noise: float = 0.05
    magnitude: float = 0.3


@dataclass(frozen=True)
class Deformation:
    """Random shapes and poses: rotation (radians), log scale per axis, shift (share of a side), shear, and bending.

    ``bend`` is the largest deviation of the displacement per scale, as a share of that scale: 0.25 bends strongly
    without tearing the image apart.
    """

    rotation: float = 0.3
    scale: float = 0.15
    shift: float = 0.05
    shear: float = 0.1
    bend: float = 0.2
    mirror: float = 0.0

    @classmethod
    def bending(cls, bend: float) -> Deformation:
        """No change of pose."""
        return cls(rotation=0, scale=0, shift=0, shear=0, bend=bend)


def synthesise(
    labels: torch.Tensor, contrast: Contrast, rng: np.random.Generator, appearance: Appearance | None = None
) -> torch.Tensor:
    """Labels (B, D, H, W), whole numbers below L, to images (B, 1, D, H, W) float32 in [0, 1]."""
    look = appearance or Appearance()
    device, batch, sides = labels.device, len(labels), labels.shape[1:]
    generator = torch_generator(rng, device)

    def drawn(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.uniform(low, high, (batch, *shape))).float().to(device)

    image = paint(labels, contrast, generator)
    for knots in (side_share(sides, 4), side_share(sides, 16)):
        field = smooth_field(batch, sides, knots, generator)
        image = image * (1 + drawn(0, look.texture)[:, None, None, None] * field)
    bias = smooth_field(batch, sides, 4, generator)
    image = image * torch.exp(drawn(0, look.bias)[:, None, None, None] * bias)
    image = image.clamp(min=0).pow(torch.exp(drawn(-look.gamma, look.gamma))[:, None, None, None])
    image = along_axes(image, scanner_matrices(batch, sides, rng, look, device))
    strength = drawn(0, look.noise)[:, None, None, None] * image.amax((1, 2, 3), keepdim=True)
    noisy = image + strength * torch.randn(image.shape, generator=generator, device=device)
    magnitude = rng.random(batch) < look.magnitude
    if magnitude.any():
        other = strength * torch.randn(image.shape, generator=generator, device=device)
        chosen = torch.from_numpy(magnitude).to(device)[:, None, None, None]
        noisy = torch.where(chosen, torch.sqrt(noisy**2 + other**2), noisy)
    return unit_range(noisy)[:, None]


def rendered(
    labels: torch.Tensor, rng: np.random.Generator, appearance: Appearance | None = None,
    label_count: int | None = None, alike: np.ndarray | None = None, views: int = 2,
) -> torch.Tensor:  # fmt: skip
    """The same label maps in unrelated contrasts with unrelated faults: (views * B, 1, D, H, W) in [0, 1].

    ``alike`` (n,) are groups of the first n labels that have one intensity in an image, as left and right have.
    """
    count = int(labels.amax()) + 1 if label_count is None else label_count
    several = torch.cat([labels] * views)
    contrast = Contrast.draw(len(several), count, rng)
    return synthesise(several, contrast if alike is None else contrast.of(alike), rng, appearance)


def paint(labels: torch.Tensor, contrast: Contrast, generator: torch.Generator) -> torch.Tensor:
    """Each voxel drawn from its label's normal distribution, (B, D, H, W) float32."""
    batch, count = contrast.mean.shape
    offset = torch.arange(batch, device=labels.device)[:, None, None, None] * count
    index = labels.long() + offset
    noise = torch.randn(labels.shape, generator=generator, device=labels.device)
    mean, spread = contrast.mean.to(labels.device), contrast.spread.to(labels.device)
    return torch.addcmul(mean.take(index), spread.take(index), noise)


def scanner_matrices(
    batch: int, sides: Sequence[int], rng: np.random.Generator, look: Appearance, device: torch.device
) -> list[torch.Tensor]:
    """Blur, voxel size and ringing of each image, one matrix (B, N, N) per axis."""
    factor = np.exp(rng.uniform(0, np.log(look.coarsest), (batch, 1))) * np.ones((batch, 3))
    one_axis = np.eye(3, dtype=bool)[rng.integers(3, size=batch)] | (rng.random(batch) < 0.5)[:, None]
    factor = np.where((rng.random(batch) < look.coarse)[:, None] & one_axis, factor, 1.0)
    sigma = rng.uniform(*look.blur, (batch, 1)) * rng.uniform(0.7, 1.0, (batch, 3))
    kept = np.where(rng.random((batch, 1)) < look.ringing, rng.uniform(0.4, 0.9, (batch, 3)), 1.0)
    matrices = []
    for axis, side in enumerate(sides):
        s, f, k = (torch.from_numpy(value[:, axis]).float().to(device) for value in (sigma, factor, kept))
        matrices.append(ringing_matrix(side, k) @ coarse_matrix(side, f) @ blur_matrix(side, s))
    return matrices


def deform(
    labels: torch.Tensor, rng: np.random.Generator, deformation: Deformation | None = None, outside: str = "zeros"
) -> torch.Tensor:
    """Label maps (B, D, H, W) moved and bent at random, same dtype, no new labels.

    What comes from outside is 0, or with ``outside="border"`` the label at the border.
    """
    how = deformation or Deformation()
    device, batch, sides = labels.device, len(labels), labels.shape[1:]
    poses = torch.from_numpy(np.stack([_pose(rng, how) for _ in range(batch)])).float().to(device)
    # where each voxel reads from, (B, 3, D, H, W) in the units of grid_sample: -1 to 1, the last axis first.
    # Sums of three lines each: F.affine_grid takes three times as long.
    z, y, x = (torch.linspace(1 / n - 1, 1 - 1 / n, n, device=device) for n in sides)
    matrix, shift = poses[:, :, :3, None, None, None], poses[:, :, 3, None, None, None]
    place = matrix[:, :, 2] * z[:, None, None] + (matrix[:, :, 1] * y[:, None] + (matrix[:, :, 0] * x + shift))
    if how.bend > 0:
        generator = torch_generator(rng, device)
        for width in (8, 16, 32):  # voxels between knots
            strength = torch.from_numpy(rng.uniform(0, how.bend, batch)).float().to(device)
            unit = torch.tensor([2 * width / 3 / side for side in reversed(sides)], device=device)
            fields = smooth_field(3 * batch, sides, side_share(sides, width), generator)
            place += fields.reshape(batch, 3, *sides) * (strength[:, None] * unit)[..., None, None, None]
    grid = place.movedim(1, -1)
    moved = F.grid_sample(labels[:, None].float(), grid, mode="nearest", padding_mode=outside, align_corners=False)
    return moved[:, 0].to(labels.dtype)


def without(labels: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
    """The label maps with some labels turned to air: a brain without its skull."""
    return labels.masked_fill(torch.isin(labels, torch.tensor(list(values), device=labels.device)), 0)


def unit_range(image: torch.Tensor) -> torch.Tensor:
    """Each image (B, ...) shifted and scaled to [0, 1]; a constant one becomes zeros."""
    axes = tuple(range(1, image.ndim))
    low, high = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
    return (image - low) / (high - low).clamp(min=1e-6)


def side_share(sides: Sequence[int], width: int) -> list[int]:
    """Knots of a field whose knots lie ``width`` voxels apart, at least 4 along each axis (cubic reading)."""
    return [max(4, side // width + 1) for side in sides]


def torch_generator(rng: np.random.Generator, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of the device, seeded by the next number of ``rng``."""
    return torch.Generator(device).manual_seed(int(rng.integers(2**62)))


def rotation_matrix(rng: np.random.Generator, angle: float) -> np.ndarray:
    """Rotation by up to ``angle`` radians about each axis, (3, 3)."""
    a, b, c = rng.uniform(-angle, angle, 3)
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return x @ y @ z


def _pose(rng: np.random.Generator, how: Deformation) -> np.ndarray:
    """Affine (3, 4) of one window, in the units of ``affine_grid``."""
    scale = np.exp(rng.uniform(-how.scale, how.scale, 3))
    scale = np.where(rng.random(3) < how.mirror, -scale, scale)
    shear = np.eye(3) + np.triu(rng.uniform(-how.shear, how.shear, (3, 3)), 1)
    matrix = rotation_matrix(rng, how.rotation) @ shear @ np.diag(scale)
    return np.concatenate([matrix, rng.uniform(-2 * how.shift, 2 * how.shift, (3, 1))], axis=1)
