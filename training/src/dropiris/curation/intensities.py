"""What the voxels of one channel look like: range, air, Hounsfield units or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dropiris.intensity import looks_like_ct, subset
from dropiris.volume import Volume

_LOOKED_AT = 500_000
# A value counts as air when it fills at least this share of the volume's outer faces.
_AIR = 0.5
# ... and as not the darkest when at least this share of all voxels is darker.
_DARKER = 0.01


@dataclass(frozen=True)
class Intensities:
    """Figures of one channel, in the file's own units.

    Attributes
    ----------
    low, high : float
        Smallest and largest finite value.
    scale : float
        Distance between the 0.5th and the 99.5th percentile.
    air : float or None
        The constant that fills most of the volume's outer faces, if there is one.
    darker : float
        Share of the voxels that are darker than the air.
    not_finite : int
        Number of NaN and infinite voxels.
    hounsfield : bool
        Whether the values look like Hounsfield units.
    """

    low: float
    high: float
    scale: float
    air: float | None
    darker: float
    not_finite: int
    hounsfield: bool

    @property
    def constant(self) -> bool:
        return self.low == self.high


def examine_intensities(array: np.ndarray, affine: np.ndarray) -> Intensities:
    """Look at a channel (I, J, K); percentiles are of about half a million evenly spread voxels."""
    not_finite = 0
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        not_finite = int(array.size - np.count_nonzero(finite))
        if not_finite:
            array = np.where(finite, array, array[finite].min() if finite.any() else 0)
    low, high = float(array.min()), float(array.max())
    some = subset(array, _LOOKED_AT)
    bottom, top = (float(value) for value in np.percentile(some, (0.5, 99.5)))
    air = _air(array)
    return Intensities(
        low=low,
        high=high,
        scale=(top - bottom) or (high - low),
        air=air,
        darker=float((some < air).mean()) if air is not None else 0.0,
        not_finite=not_finite,
        hounsfield=low < high and looks_like_ct(Volume(array, affine)),
    )


def _air(array: np.ndarray) -> float | None:
    """The commonest value of the six outer faces, if it fills most of them."""
    ends = [array[(slice(None),) * axis + (end,)] for axis in range(3) for end in (0, -1)]
    faces = np.concatenate([face.ravel() for face in ends])
    values, counts = np.unique(subset(faces, _LOOKED_AT), return_counts=True)
    return float(values[counts.argmax()]) if counts.max() >= _AIR * counts.sum() else None


def intensity_faults(what: Intensities, name: str, says_ct: bool) -> list[tuple[str, str]]:
    """(severity, sentence) for what is odd about one channel; ``name`` is its file."""
    found = []
    if what.not_finite:
        found.append(("error", f"{name} has {what.not_finite} NaN or infinite voxels; replace them, for example by 0."))
    if what.constant:
        return [*found, ("error", f"{name} is constant (every voxel is {what.low:g}); export it again.")]
    if says_ct and not what.hounsfield:
        found.append(
            (
                "warning",
                f"{name} is called CT, but {what.low:g} to {what.high:g} does not look like Hounsfield units; check "
                "slope and intercept, or the channel's name.",
            )
        )
    if what.hounsfield and what.low < -1100:
        found.append(
            (
                "note",
                f"{name} goes down to {what.low:g} HU, darker than air: padding outside the scanner's field; clip at "
                "-1024.",
            )
        )
    if what.air is not None and not what.hounsfield and what.air != 0:
        if what.darker >= _DARKER:
            sentence = f"{what.darker:.0%} of the voxels are darker than it"
            found.append(("warning", f"The air of {name} is the constant {what.air:g}, and {sentence}; check padding."))
        else:
            sentence = f"The air of {name} is the constant {what.air:g}, not 0: do not pad or mask it with 0."
            found.append(("note", sentence))
    elif what.air is not None and what.air == 0 and not what.hounsfield and what.darker >= _DARKER:
        sentence = f"The air of {name} is 0, but {what.darker:.0%} of the voxels are darker; do not take 0 as minimum."
        found.append(("note", sentence))
    return found
