"""Where a structure lies, by an aligned reference, weighed against what Iris sees of it (ours).

Both can be wrong: an alignment misses borders that differ from the reference's, a decoder finds things that only look
alike. They are weighed by whether they agree, window by window, and by what the alignment says of the two scans: in
another contrast a decoder does not see what it knows, and where descriptors lie on one another it has nothing to add.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

# Rank correlation of aligned intensities up to which the decoder is not believed, and from which it is: it knows a
# structure as its reference shows it. Pairs of one contrast had 0.55 to 0.90, MR and CT or T1 and T2 -0.32 to 0.49.
SAME_CONTRAST = (0.45, 0.55)
BETTER = (0.7, 0.8)  # correlation from which the decoder is believed less, and not at all: brains of one contrast
SURE = 0.01  # a place is never surer than this of being right
BESIDE = 0.25  # weight of the odds beside a decoder that knows the structure
AGREED = (0.2, 0.5)  # Dice of decoder and place from which the decoder is believed, and fully
SCORES = 3.0  # weight of scores in closed form, times their Dice with the place over SCORES_AGREED
SCORES_AGREED = 0.8
FEW = 32  # voxels: of less nothing can be said


class Place(NamedTuple):
    """Where aligned references have the structures of a window.

    Attributes
    ----------
    share : Tensor (B, K, D, H, W)
        Of each voxel that the aligned structure covers, 0..1.
    odds : Tensor (B, K, D, H, W)
        Logarithm of the odds that a voxel belongs to it, by place and by what the scan shows there
        (:mod:`dropiris.inference.appearance`).
    believed : Tensor (B, K)
        0..1: how far to believe it at all; 0 for a structure that no reference has.
    likeness : Tensor (B, K)
        Correlation of aligned descriptors, -1..1.
    contrast : Tensor (B, K)
        Rank correlation of aligned intensities, -1..1.
    """

    share: torch.Tensor
    odds: torch.Tensor
    believed: torch.Tensor
    likeness: torch.Tensor
    contrast: torch.Tensor

    @classmethod
    def batch(cls, windows: Sequence[Place], device: str | torch.device) -> Place:
        """Of windows without the first axis, all of one size."""
        return cls(*(torch.stack(parts).to(device) for parts in zip(*windows, strict=True)))


def with_place(decoded: torch.Tensor, known: torch.Tensor, scores: torch.Tensor | None, place: Place) -> torch.Tensor:
    """Logits (B, K, D, H, W) of decoder, scores and place together, as if the alignment were right.

    Parameters
    ----------
    decoded : (B, K, D, H, W)
        Logits of the decoder.
    known : (B, K)
        0..1, how far it knows each structure.
    scores : (B, K, D, H, W), optional
        Of the head in closed form, about -1 to 1.
    place : Place
    """
    odds = place.odds.to(decoded.dtype)
    worth = decoder_weight(known, place.likeness, place.contrast)
    worth = worth * _ramp(agreement(decoded, place.share), *AGREED)
    other = odds
    if scores is not None:
        agreed = SCORES * (agreement(scores, place.share) / SCORES_AGREED).clamp(max=1)
        other = odds + _each(agreed, decoded) * scores.to(decoded.dtype)
    worth = _each(worth, decoded)
    return worth * (decoded + BESIDE * odds) + (1 - worth) * other


def decoder_weight(known: torch.Tensor, likeness: torch.Tensor, contrast: torch.Tensor) -> torch.Tensor:
    """How far to believe a decoder, 0..1, by how far it knows a structure and by what the alignment says."""
    return known * _ramp(contrast, *SAME_CONTRAST) * (1 - _ramp(likeness, *BETTER))


def agreement(logits: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Dice (B, K) of what logits and places say, one structure a voxel; 1 where both are next to nothing."""
    found = (logits > 0) & (logits >= logits.amax(1, keepdim=True))
    there = share > 0.5
    both, size = ((mask).sum((2, 3, 4)).float() for mask in (found & there, found.int() + there.int()))
    return (2 * both + FEW) / (size + FEW)


def _ramp(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
    return ((values - low) / (high - low)).clamp(0, 1)


def _each(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values[..., None, None, None].to(like.dtype)
