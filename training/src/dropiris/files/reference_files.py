"""Labelled examples from pairs of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dropiris.errors import InputError
from dropiris.files import read_labels, read_volume
from dropiris.volume import Reference


def read_references(pairs: Sequence[Path], structures: Sequence[str] | None) -> list[Reference]:
    """Read scan, labels, scan, labels, ...; keep only the named structures where names are given.

    Raises
    ------
    InputError
        A file is missing or cannot be read, or labels have none of the named structures.
    """
    references = []
    for scan, labels in zip(pairs[::2], pairs[1::2], strict=True):
        for path in (scan, labels):
            if not path.exists():
                raise InputError(f"{path} does not exist; check the path.")
        volume = read_volume(scan)
        layers = read_labels(labels, like=volume)
        if structures is not None:
            here = [[s.name for s in layer.structures if s.name in structures] for layer in layers]
            if not any(here):
                have = ", ".join(s.name for layer in layers for s in layer.structures)
                raise InputError(f"{labels} has no structure {structures[0]!r}; it has: {have}.")
            layers = tuple(layer.keep(names) for layer, names in zip(layers, here, strict=True) if names)
        references.append(Reference(volume, tuple(layers)))
    return references
