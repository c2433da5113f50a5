"""The only data types that cross a layer: a scan, a label map, and what its labels mean.

Arrays are indexed (i, j, k) as nibabel does; ``affine`` maps (i, j, k, 1) to RAS millimetres.
This module needs numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dropiris.errors import InputError

# Voxels outside this range (mm) come from a broken header, not from a scanner.
SPACING_RANGE = (0.005, 100.0)


def check_geometry(shape: Sequence[int], affine: np.ndarray, name: str) -> np.ndarray:
    """Return ``affine`` as float64 (4, 4), or raise :class:`InputError` in one sentence."""
    who = name or "The volume"
    affine = np.asarray(affine, dtype=np.float64)
    if len(shape) != 3:
        raise InputError(f"{who} has {len(shape)} dimensions; give a single 3D volume.")
    if min(shape) < 1:
        raise InputError(f"{who} is empty (shape {tuple(shape)}); check the file.")
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise InputError(f"{who} has an orientation matrix that is not finite; re-export it from the scanner's DICOM.")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if (spacing < SPACING_RANGE[0]).any() or (spacing > SPACING_RANGE[1]).any():
        text = " x ".join(f"{s:g}" for s in spacing)
        raise InputError(f"{who} has a voxel size of {text} mm, which no scan has; correct its spacing.")
    if abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-3:
        raise InputError(f"{who} has a singular orientation matrix (two axes coincide); re-export it.")
    return affine


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3D scan.

    Attributes
    ----------
    array : ndarray (I, J, K)
        Intensities, any real dtype, as stored (no copy is made).
    affine : ndarray (4, 4)
        IJK to RAS, mm.
    name : str
        For messages: a file or node name.
    modality : str
        DICOM modality ("CT", "MR", ...) or "" when unknown.
    """

    array: np.ndarray
    affine: np.ndarray
    name: str = ""
    modality: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "affine", check_geometry(self.array.shape, self.affine, self.name))

    @property
    def shape(self) -> tuple[int, int, int]:
        return tuple(int(n) for n in self.array.shape)  # type: ignore[return-value]

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size along i, j, k in mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)


@dataclass(frozen=True)
class Structure:
    """What one label means.

    Attributes
    ----------
    label : int
        Its value in the array, from 1.
    name : str
        As shown to the user.
    color : (r, g, b)
        Each 0 to 1.
    terminology : str
        Slicer's serialised terminology entry (see :mod:`dropiris.terminology`), or "".
    """

    label: int
    name: str
    color: tuple[float, float, float] = (0.5, 0.5, 0.5)
    terminology: str = ""


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Non-overlapping labels on a grid: 0 is background."""

    array: np.ndarray
    affine: np.ndarray
    structures: tuple[Structure, ...] = field(default_factory=tuple)
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "affine", check_geometry(self.array.shape, self.affine, self.name))
        object.__setattr__(self, "structures", tuple(self.structures))
        if not np.issubdtype(self.array.dtype, np.integer):
            raise InputError(f"{self.name or 'The label map'} does not hold whole numbers; give a label map.")
        labels = [s.label for s in self.structures]
        if len(set(labels)) != len(labels) or min(labels, default=1) < 1:
            raise InputError(f"{self.name or 'The label map'} names a label twice or below 1; correct its table.")

    @property
    def shape(self) -> tuple[int, int, int]:
        return tuple(int(n) for n in self.array.shape)  # type: ignore[return-value]

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size along i, j, k in mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def mask(self, structure: Structure) -> np.ndarray:
        """Boolean (I, J, K) mask of one structure."""
        return self.array == structure.label

    def keep(self, names: Sequence[str]) -> LabelMap:
        """The same labels with only the named structures listed and present."""
        kept = tuple(s for s in self.structures if s.name in set(names))
        missing = sorted(set(names) - {s.name for s in self.structures})
        if missing:
            have = ", ".join(s.name for s in self.structures)
            raise InputError(f"Unknown structure {missing[0]!r}; choose among: {have}.")
        array = np.where(np.isin(self.array, [s.label for s in kept]), self.array, 0).astype(self.array.dtype)
        return replace(self, array=array, structures=kept)


@dataclass(frozen=True, eq=False)
class Reference:
    """A labelled example for IrisICL: a scan and one or more layers of labels on the same grid.

    Overlapping segments come as several layers; each layer's labels do not overlap. Structure names
    are unique over all layers.
    """

    volume: Volume
    layers: tuple[LabelMap, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        who = self.volume.name or "The reference"
        if not self.layers or not any(layer.structures for layer in self.layers):
            raise InputError(f"{who} has no labelled structure; choose at least one segment.")
        for layer in self.layers:
            same = layer.shape == self.volume.shape and np.allclose(
                layer.affine, self.volume.affine, atol=1e-3 * float(self.volume.spacing.min())
            )
            if not same:
                raise InputError(f"The labels of {who} lie on another grid than the scan; export both on one grid.")
        names = [s.name for s in self.structures]
        if len(set(names)) != len(names):
            raise InputError(f"Two structures of {who} have the same name; rename one.")

    @property
    def structures(self) -> tuple[Structure, ...]:
        return tuple(s for layer in self.layers for s in layer.structures)

    def mask(self, name: str) -> np.ndarray:
        """Boolean (I, J, K) mask of the named structure."""
        for layer in self.layers:
            for structure in layer.structures:
                if structure.name == name:
                    return layer.mask(structure)
        raise InputError(f"{self.volume.name or 'The reference'} has no structure {name!r}.")
