"""Where a structure lies, by an aligned reference, weighed against what Iris sees of it (ours).

Both can be wrong: an alignment misses borders that differ from the reference's, a decoder finds things that only look
alike, above all in another contrast. They are weighed by whether they agree, window by window.
"""

from __future__ import annotations

import torch

NOWHERE = -1.0  # place of a structure that no aligned reference has
SURE = 0.01  # a place is never surer than this of being right
BESIDE = 0.25  # weight of the place beside a decoder that knows the structure
AGREED = (0.2, 0.5)  # Dice of decoder and place from which the decoder is believed, and fully
SCORES = 3.0  # weight of scores in closed form, times their Dice with the place over SCORES_AGREED
SCORES_AGREED = 0.8
FEW = 32  # voxels: of less nothing can be said


def with_place(
    decoded: torch.Tensor, known: torch.Tensor, scores: torch.Tensor | None, place: torch.Tensor
) -> torch.Tensor:
    """Logits (B, K, D, H, W) of decoder, scores and place together.

    Parameters
    ----------
    decoded : (B, K, D, H, W)
        Logits of the decoder.
    known : (B, K)
        0..1, how far it knows each structure.
    scores : (B, K, D, H, W), optional
        Of the head in closed form, about -1 to 1.
    place : (B, K, D, H, W)
        Share of each voxel that the aligned structure covers, 0..1.
    """
    odds = torch.logit(place.float(), eps=SURE).to(decoded.dtype)
    low, high = AGREED
    believed = known * ((agreement(decoded, place) - low) / (high - low)).clamp(0, 1)
    other = odds
    if scores is not None:
        worth = SCORES * (agreement(scores, place) / SCORES_AGREED).clamp(max=1)
        other = odds + _each(worth, decoded) * scores.to(decoded.dtype)
    believed = _each(believed, decoded)
    return believed * (decoded + BESIDE * odds) + (1 - believed) * other


def agreement(logits: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Dice (B, K) of what logits and places say, one structure a voxel; 1 where both are next to nothing."""
    found = (logits > 0) & (logits >= logits.amax(1, keepdim=True))
    there = place > 0.5
    both, size = ((mask).sum((2, 3, 4)).float() for mask in (found & there, found.int() + there.int()))
    return (2 * both + FEW) / (size + FEW)


def _each(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values[..., None, None, None].to(like.dtype)
