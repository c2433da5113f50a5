"""Where a file's voxels lie, and whether two files of one case agree on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dropiris.errors import InputError
from dropiris.files import ending
from dropiris.files.nifti import read_nifti
from dropiris.files.nrrd_files import read_nrrd
from dropiris.files.reading import library
from dropiris.geometry import closest_axes
from dropiris.volume import check_geometry

# Share of a voxel that two headers of one grid may differ by at the far corner: float32 moves them by 1e-4.
_SAME = 0.01
# From here on a voxel's label belongs to its neighbour.
_ELSEWHERE = 0.5
# Cosine between two axes beyond which ITK, and with it nnU-Net, refuses a file.
_SHEARED = 1e-4


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape and place of a volume.

    Attributes
    ----------
    shape : (I, J, K)
    affine : ndarray (4, 4)
        IJK to RAS, mm.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size along i, j, k, mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def orientation(self) -> str:
        """Where i, j, k point to, such as "RAS" or "LPS" (the closest axes of an oblique scan)."""
        axes, flips = closest_axes(self.affine)
        letters = [""] * 3
        for world, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
            letters[axis] = ("RL", "AP", "SI")[world][flip]
        return "".join(letters)

    @property
    def anisotropy(self) -> float:
        """Largest over smallest voxel size."""
        return float(self.spacing.max() / self.spacing.min())

    @property
    def size(self) -> np.ndarray:
        """Extent along the closest right-left, front-back and up-down axis, mm."""
        axes, _ = closest_axes(self.affine)
        return (np.array(self.shape) * self.spacing)[list(axes)]


def read_voxels(path: Path) -> tuple[np.ndarray, Grid]:
    """Voxels (I, J, K) as stored, and their grid; an :class:`InputError` names what is wrong with the file."""
    kind = ending(path)
    if kind in (".nii.gz", ".nii"):
        array, affine = read_nifti(path)
    elif kind == ".nrrd":
        array, affine = read_nrrd(path)
    else:
        raise InputError(f"{path.name} is of a kind that cannot be checked; convert it to .nii.gz or .nrrd.")
    return array, Grid(tuple(int(n) for n in array.shape), check_geometry(array.shape, affine, path.name))  # type: ignore[arg-type]


def header_faults(path: Path, grid: Grid) -> list[tuple[str, str]]:
    """(severity, sentence) for what is odd about the geometry of one file."""
    found = []
    directions = grid.affine[:3, :3] / grid.spacing
    cosines = np.abs(directions.T @ directions - np.eye(3)).max()
    if cosines > _SHEARED:
        found.append(
            (
                "warning",
                f"The axes of {path.name} are not at right angles (off by {np.degrees(np.arcsin(cosines)):.2f} "
                "degrees, as after a gantry tilt), which ITK and nnU-Net refuse; resample it to a straight grid.",
            )
        )
    if ending(path) in (".nii.gz", ".nii"):
        found += _nifti_faults(path, grid)
    return found


def _nifti_faults(path: Path, grid: Grid) -> list[tuple[str, str]]:
    header = library("nibabel", "nibabel", "NIfTI").load(path, mmap=False).header
    by_sform, by_qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if not by_sform and not by_qform:
        return [
            (
                "warning",
                f"{path.name} does not say where left and right are (neither sform nor qform is set); export it again.",
            )
        ]
    if by_sform and by_qform:
        apart = corners_apart(header.get_sform(), header.get_qform(), grid)
        if apart > _ELSEWHERE * grid.spacing.min():
            return [
                (
                    "warning",
                    f"sform and qform of {path.name} lie {apart:.1f} mm apart, so programs place it differently; set "
                    "both alike.",
                )
            ]
    return []


def disagreement(first: Grid, second: Grid, names: str) -> tuple[str, str] | None:
    """(severity, sentence) when two files of a case do not share one grid; ``names`` says which ("Image and label")."""
    if first.shape != second.shape:
        sizes = " and ".join(" x ".join(map(str, grid.shape)) for grid in (first, second))
        return "error", f"{names} differ in size ({sizes} voxels); export both on one grid."
    apart = corners_apart(first.affine, second.affine, first)
    voxels = apart / float(first.spacing.min())
    if voxels <= _SAME:
        return None
    severity = "error" if voxels >= _ELSEWHERE else "warning"
    return severity, f"{names} lie up to {apart:.3g} mm ({voxels:.2g} voxels) apart; export both on one grid."


def corners_apart(first: np.ndarray, second: np.ndarray, grid: Grid) -> float:
    """Largest distance between corners that two affines give to one box of voxels, mm."""
    ends = np.array(grid.shape) - 1
    corners = np.array([[*np.array(at) * ends, 1] for at in np.ndindex(2, 2, 2)]).T
    return float(np.linalg.norm(((np.asarray(first) - np.asarray(second)) @ corners)[:3], axis=0).max())
