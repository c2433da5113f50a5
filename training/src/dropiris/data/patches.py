"""Training crops for DropGen: the paper's augmentation (C.1), by MONAI, seeded per sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import monai.transforms as mt
import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import Dataset as TorchDataset

from dropiris.data.nnunet import Case, Dataset
from dropiris.data.volume_cache import Prepared, VolumeCache
from dropiris.errors import InputError
from dropiris.geometry import CanonicalGrid
from dropiris.intensity import IntensityRule, looks_like_ct
from dropiris.train.dropgen_config import DropGenConfig

BOTH = ["image", "label"]
PROBABILITY = 0.33  # of each augmentation (C.1)
# Crops are centred on one of so many voxels of a case's structures: enough to be anywhere in them.
CENTRES = 50_000


@dataclass(frozen=True)
class PatchScan:
    """A case on the model's grid.

    Attributes
    ----------
    image : (1, I, J, K) float32 in [0, 1]
    labels : (1, I, J, K) uint8, 1..n in the order of the dataset's structures
    centres : (n, 3) int16, voxels of structures
    """

    image: torch.Tensor
    labels: torch.Tensor
    centres: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray, labels: np.ndarray) -> PatchScan:
        """From (I, J, K) arrays."""
        return cls(torch.from_numpy(image[None]), torch.from_numpy(labels[None]), structure_voxels(labels))


def structure_voxels(labels: np.ndarray) -> np.ndarray:
    """Places (n, 3) int16 of voxels that are not 0, at most about :data:`CENTRES` of them."""
    centres = np.argwhere(labels)
    return centres[:: 1 + len(centres) // CENTRES].astype(np.int16)


class PatchDataset(TorchDataset):
    """``patches[step, index]`` is a sample of a step's batch: image (1, D, H, W) in [0, 1], labels likewise, int64."""

    def __init__(self, scans: Sequence[PatchScan], config: DropGenConfig):
        self.scans, self.config = list(scans), config
        self.augment = augmentation(config)

    def __len__(self) -> int:
        return self.config.max_steps

    def __getitem__(self, at: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng([self.config.seed, *at])
        self.augment.set_random_state(seed=int(rng.integers(2**31)))
        torch.manual_seed(int(rng.integers(2**31)))  # some transforms draw from torch
        scan = self.scans[rng.integers(len(self.scans))]
        image, labels = random_crop(scan, self.config.window, self.config.foreground, rng, self.config.centring)
        crop: Any = self.augment({"image": image, "label": labels})
        return crop["image"].as_tensor(), crop["label"].as_tensor().long()


def random_crop(
    scan: PatchScan, window: Sequence[int], foreground: float, rng: np.random.Generator, centring: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """A window (1, D, H, W) of image and labels: with probability ``foreground`` around a structure, else anywhere.

    ``centring`` pulls the former toward the middle, see :func:`toward_middle`.
    A smaller scan is grown first, as inference does it: by repeating its edge, without labels.
    """
    sides = np.array(scan.labels.shape[1:])
    room = np.maximum(sides - window, 0)
    if len(scan.centres) and rng.random() < foreground:
        centre = toward_middle(scan.centres, rng, centring).astype(int)
        start = np.clip(centre - np.array(window) // 2, 0, room)
    else:
        start = rng.integers(room + 1)
    where = (slice(None), *(slice(int(s), int(s) + n) for s, n in zip(start, window, strict=True)))
    image, labels = scan.image[where], scan.labels[where]
    missing = np.maximum(np.array(window) - sides, 0)
    if missing.any():
        widths = [int(w) for m in missing[::-1] for w in (m // 2, m - m // 2)]
        image, labels = F.pad(image[None], widths, mode="replicate")[0], F.pad(labels, widths)
    return image.contiguous(), labels.contiguous()


def toward_middle(centres: np.ndarray, rng: np.random.Generator, centring: float) -> np.ndarray:
    """One of the voxels ``centres`` (n, 3), pulled to their mean by the share ``centring``: 1 is the mean itself."""
    chosen = centres[rng.integers(len(centres))]
    return chosen + centring * (centres.mean(0) - chosen) if centring else chosen


def augmentation(config: DropGenConfig) -> mt.Compose:
    """C.1 in the paper's order. Mirroring, flips and turns only where no structure has a side."""
    p = PROBABILITY
    mirror = [mt.RandFlipd(BOTH, prob=0.5, spatial_axis=0)] if config.mirror else []
    turns = [mt.RandAxisFlipd(BOTH, prob=p), mt.RandRotate90d(BOTH, prob=p, max_k=3, spatial_axes=(0, 1))]
    return mt.Compose(
        [
            *mirror,
            *(turns if config.flips_and_turns else []),
            mt.RandSimulateLowResolutiond("image", prob=p, zoom_range=(0.25, 1.0)),
            mt.RandGaussianNoised("image", prob=p),
            mt.RandBiasFieldd("image", prob=p, coeff_range=(0.0, 0.1)),
            mt.RandGibbsNoised("image", prob=p, alpha=(0.0, 0.33)),
            mt.RandAdjustContrastd("image", prob=p),
            mt.RandGaussianSmoothd("image", prob=p, sigma_x=(0.0, 0.1), sigma_y=(0.0, 0.1), sigma_z=(0.0, 0.1)),
            mt.RandGaussianSharpend("image", prob=p),
            mt.RandAffined(
                BOTH,
                prob=p,
                mode=("bilinear", "nearest"),
                rotate_range=(np.pi / 4,) * 3,
                scale_range=(0.2,) * 3,
                shear_range=(0.2,) * 3,
                spatial_size=config.window,  # a turn may have swapped sides
                padding_mode="zeros",
            ),
            mt.ResizeWithPadOrCropd(BOTH, config.window) if config.flips_and_turns else mt.Identityd(BOTH),
            mt.ScaleIntensityd("image"),
        ]
    )


def intensity_rule(config: DropGenConfig) -> IntensityRule:
    """To [0, 1]: CT from its window, the rest from its percentiles."""
    return IntensityRule("unit", config.percentiles, config.ct_window)


def load_patches(dataset: Dataset, config: DropGenConfig, rule: IntensityRule) -> list[PatchScan]:
    """Every selected training case on the model's grid."""
    cases = config.training.cases(dataset)
    if not cases:
        raise InputError(f"{dataset.folder} has no training cases; it needs imagesTr and labelsTr.")
    cache = VolumeCache(config.cache)
    return [load_patch(case, dataset, config, rule, cache) for case in cases]


def load_patch(
    case: Case, dataset: Dataset, config: DropGenConfig, rule: IntensityRule, cache: VolumeCache
) -> PatchScan:
    """One case on the model's grid, from the cache where it has been prepared before."""
    recipe = {
        "for": "PatchScan 1",  # count up when prepare_patch changes what it makes
        "spacing": config.spacing,
        "rule": rule.to_json(),
        "structures": dataset.structures,
    }
    arrays, _ = cache.get(case, recipe, lambda: prepare_patch(case, dataset, config.spacing, rule))
    return PatchScan(torch.from_numpy(arrays["image"]), torch.from_numpy(arrays["labels"]), arrays["centres"])


def prepare_patch(case: Case, dataset: Dataset, spacing: tuple[float, float, float], rule: IntensityRule) -> Prepared:
    """The arrays of a :class:`PatchScan`; labels are renumbered 1..n in the order of ``dataset.structures``."""
    volume, label_map = case.read()
    if volume is None:
        raise InputError(f"{case.labels} has no image; DropGen trains on labelled scans.")
    grid = CanonicalGrid.over(volume.shape, volume.affine, spacing)
    # Clipped before it is averaged into larger voxels, as inference does it: metal would shine out.
    image = grid.image_to_model(rule.apply(volume.array, looks_like_ct(volume)))
    labels = grid.labels_to_model(label_map.array)
    numbered = np.zeros(labels.shape, np.uint8)
    for number, value in enumerate(dataset.structures.values(), start=1):
        numbered[labels == value] = number
    scan = PatchScan.of(image, numbered)
    arrays = {"image": scan.image.numpy(), "labels": scan.labels.numpy(), "centres": scan.centres}
    return Prepared(arrays, {})
