"""Brains rendered as one sequence or another: mean intensities of tissues in T1, T2, FLAIR and CT.

They are round figures of what a radiologist expects (fluid dark or bright, grey beside white matter), not of any
scanner, 0 to 1; a rendering varies them a little. What a label map calls otherwise (skin, skull, vessels) gets an
intensity at random. For label maps in SynthSeg's names, see :func:`dropiris.data.labelled_scan.without_side`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dropiris.data.labelled_scan import LabelledScan
from dropiris.data.synthesis import Appearance, Contrast

# White matter, cortex, striatum, thalamus, pallidum, brainstem, fluid.
_TISSUES = ("white", "cortex", "striatum", "thalamus", "pallidum", "stem", "fluid")
_MEANS = {
    "T1": (0.85, 0.58, 0.64, 0.70, 0.78, 0.80, 0.12),
    "T2": (0.36, 0.54, 0.46, 0.43, 0.32, 0.38, 0.95),
    "FLAIR": (0.46, 0.64, 0.58, 0.54, 0.48, 0.52, 0.10),
    "CT": (0.50, 0.57, 0.58, 0.57, 0.57, 0.51, 0.34),
}
SEQUENCES = tuple(_MEANS)
_SPREAD = {"T1": 0.03, "T2": 0.03, "FLAIR": 0.03, "CT": 0.05}
_OF = {
    "white": ("cerebral white matter", "cerebellum white matter", "corpus callosum", "optic chiasm"),
    "cortex": ("cerebral cortex", "cerebellum cortex", "hippocampus", "amygdala"),
    "striatum": ("caudate", "putamen", "accumbens area"),
    "thalamus": ("thalamus",),
    "pallidum": ("pallidum",),
    "stem": ("brain stem", "ventral dc"),
    "fluid": ("lateral ventricle", "inferior lateral ventricle", "3rd ventricle", "4th ventricle", "csf"),
}
TISSUE_OF = {name: _TISSUES.index(tissue) for tissue, names in _OF.items() for name in names}
# Faults of an ordinary examination; random contrasts are rendered with all that Appearance has by default.
ORDINARY = Appearance(
    texture=0.05, bias=0.25, gamma=0.1, blur=(0.3, 0.7), coarse=0.3, coarsest=3.0, ringing=0.2, noise=0.03
)


def sequence_contrast(scan: LabelledScan, sequence: str, rng: np.random.Generator) -> Contrast:
    """Intensities of a scan's numbers 0..n in ``T1``, ``T2``, ``FLAIR`` or ``CT``, (1, n + 1)."""
    drawn = Contrast.draw(1, len(scan.names) + 1, rng, dark_air=1.0).of(scan.alike)
    return with_sequence(drawn, tissues_of(scan.names), sequence, sequence_shift(rng))


def tissues_of(names: Sequence[str]) -> np.ndarray:
    """Tissues (n + 1,) of the numbers 0..n, whose names without a side are given from 1 on; -1 where there is none."""
    return np.array([-1, *(TISSUE_OF.get(name, -1) for name in names)])


def sequence_shift(rng: np.random.Generator) -> np.ndarray:
    """How much each tissue's intensity differs from the table's in one examination."""
    return rng.uniform(-0.03, 0.03, len(_TISSUES))


def with_sequence(drawn: Contrast, tissues: np.ndarray, sequence: str, shift: np.ndarray) -> Contrast:
    """A contrast (1, n + 1) with the tissues (n + 1,) as the sequence shows them, the rest as it was drawn."""
    if sequence not in _MEANS:
        raise ValueError(f"sequence must be one of {', '.join(SEQUENCES)}, not {sequence!r}")
    mean, spread = drawn.mean.clone(), drawn.spread.clone()
    for number, tissue in enumerate(tissues.tolist()):
        if tissue >= 0:
            mean[0, number] = _MEANS[sequence][tissue] + float(shift[tissue])
            spread[0, number] = _SPREAD[sequence]
    return Contrast(torch.clamp(mean, 0.0, 1.0), spread)
