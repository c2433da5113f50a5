"""A whole label map rendered as a scan, for tests of what a model makes of contrasts it has labels for."""

from __future__ import annotations

import numpy as np
import torch

from dropiris.data.labelled_scan import load_labelled_scan
from dropiris.data.nnunet import Case, Dataset, merge
from dropiris.data.sequences import ORDINARY, sequence_contrast
from dropiris.data.synthesis import Appearance, synthesise, without
from dropiris.volume import LabelMap, Volume

MARGIN = 12  # voxels of air around a head


def rendered_volume(
    case: Case, dataset: Dataset, sequence: str, rng: np.random.Generator, stripped: bool = False,
    appearance: Appearance | None = None,
) -> tuple[Volume, LabelMap]:  # fmt: skip
    """The scan (I, J, K) in [0, 1] and its labels as ``dataset`` has them, on the map's own grid without its wide air.

    Parameters
    ----------
    sequence : str
        See :mod:`dropiris.data.sequences`.
    stripped : bool
        Without what lies outside the brain.
    """
    scan = load_labelled_scan(case, Dataset.open(dataset.folder))
    shown = np.argwhere(scan.labels > 0)
    low = np.maximum(shown.min(0) - MARGIN, 0)
    high = np.minimum(shown.max(0) + 1 + MARGIN, scan.labels.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    numbers = torch.from_numpy(np.ascontiguousarray(scan.labels[box]))[None]
    if stripped:
        numbers = without(numbers, scan.outer.tolist())
    contrast = sequence_contrast(scan, sequence, rng)
    image = synthesise(numbers, contrast, rng, appearance or ORDINARY)[0, 0].numpy()
    affine = scan.affine.copy()
    affine[:3, 3] += scan.affine[:3, :3] @ low
    truth = np.array([0, *scan.values])[scan.labels[box]]
    if dataset.merged is not None:
        truth = merge(truth, dataset.merged)
    name = f"{case.name} {sequence}"
    return Volume(image, affine, name), LabelMap(truth, affine, (), name)
