"""What a model says of the mirrored scan, with left and right exchanged back."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dropiris.errors import ModelError

_OTHER = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
_SIDE = re.compile(r"\b(" + "|".join(_OTHER) + r")\b")


def mirrored_channels(who: str, names: Sequence[str]) -> list[int]:
    """For each channel the one that a mirrored scan shows it in; 0 is the background, then structures by name.

    Raises
    ------
    ModelError
        A structure of ``who`` has a side, and its other side is missing.
    """
    place = {name: number for number, name in enumerate(names, start=1)}
    channels = [0]
    for name in names:
        other = _SIDE.sub(lambda found: _OTHER[found[0]], name)
        if other not in place:
            raise ModelError(f"{who} is mirrored, but {name!r} has no {other!r} beside it; export it without mirrored.")
        channels.append(place[other])
    return channels
