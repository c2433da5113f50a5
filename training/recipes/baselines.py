"""What a model with one reference has to beat: the reference's mask put on the query, and registration by ANTs SyN."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from iris_scores import NotInstalled
from scipy import ndimage

from dropiris.errors import InputError
from dropiris.geometry import CanonicalGrid
from dropiris.volume import LabelMap, Reference, Volume

Predict = Callable[[Volume], LabelMap]


@dataclass(frozen=True)
class CentredMask:
    """The reference's labels, moved so that the centres of both scans' grids coincide, in mm; nothing is scaled."""

    name = "centred-mask"
    title = "copied mask"
    settings = "centres of the scans' grids"

    def learn(self, reference: Reference) -> Predict:
        return partial(put_centred, reference.layers[0])


@dataclass(frozen=True)
class Registration:
    """ANTs SyN (Avants et al., Medical Image Analysis 2008): affine, then deformable, labels moved along.

    Mutual information in both stages, so that contrast may differ. As in ANTs' own script (antsRegistrationSyN.sh)
    the darkest and brightest 0.5 % are clipped. Scans are averaged to at most ``voxels`` for the registration (a brain
    of 1 mm: 2.4 mm), labels are moved at full resolution.
    """

    voxels: int = 400_000
    iterations: tuple[int, ...] = (40, 20, 10)
    name = "registration"
    title = "registration"

    @property
    def settings(self) -> str:
        steps = "-".join(map(str, self.iterations))
        return f"antspyx, SyN, mutual information, {steps} iterations, at most {self.voxels} voxels, one thread"

    def learn(self, reference: Reference) -> Predict:
        """Registration learns nothing: all its time goes by when a query comes.

        Raises
        ------
        NotInstalled
        """
        _ants()
        return partial(self.propagate, reference)

    def propagate(self, reference: Reference, query: Volume) -> LabelMap:
        """The reference's labels on the query's grid."""
        ants = _ants()
        labels = reference.layers[0]
        own, theirs = (CanonicalGrid.over(scan.shape, scan.affine, None) for scan in (labels, query))
        moved = _image(ants, own.labels_to_model(labels.array).astype(np.float32), own.affine)
        target = _image(ants, np.zeros(theirs.shape, np.float32), theirs.affine)
        with tempfile.TemporaryDirectory() as folder:
            found = ants.registration(
                fixed=self.prepared(ants, query),
                moving=self.prepared(ants, reference.volume),
                type_of_transform="SyN",
                reg_iterations=self.iterations,
                outprefix=os.path.join(folder, "transform"),
                random_seed=1,
            )
            transforms = found["fwdtransforms"]
            result = ants.apply_transforms(target, moved, transforms, interpolator="nearestNeighbor").numpy()
        array = theirs.labels_to_source(np.rint(result).astype(labels.array.dtype))
        return LabelMap(array, query.affine, labels.structures, query.name)

    def prepared(self, ants: Any, scan: Volume) -> Any:
        """The scan clipped, and averaged to no more than :attr:`voxels`."""
        grid = CanonicalGrid.over(scan.shape, scan.affine, coarse_spacing(scan, self.voxels))
        low, high = np.percentile(scan.array, (0.5, 99.5))
        return _image(ants, grid.image_to_model(np.clip(scan.array, low, high).astype(np.float32)), grid.affine)


def put_centred(labels: LabelMap, query: Volume) -> LabelMap:
    """Labels on the query's grid by nearest neighbour, the centres of both grids at one point of the patient's axes.

    World axes stay what they are: left stays left whatever the order of the voxels.
    """
    shift = np.eye(4)
    shift[:3, 3] = grid_centre(labels) - grid_centre(query)
    to_labels = np.linalg.inv(labels.affine) @ shift @ query.affine
    array = ndimage.affine_transform(labels.array, to_labels, output_shape=query.shape, order=0, mode="constant")
    return LabelMap(array, query.affine, labels.structures, query.name)


def grid_centre(scan: Volume | LabelMap) -> np.ndarray:
    """Centre of the grid (3,) in RAS mm: the middle between the first and the last voxel."""
    return (scan.affine @ [*((np.array(scan.shape) - 1) / 2), 1.0])[:3]


def coarse_spacing(scan: Volume, voxels: int) -> tuple[float, float, float] | None:
    """Voxel size (mm, along R, A, S) with which a scan has about ``voxels``: fine axes get coarser, the rest stay."""
    grid = CanonicalGrid.over(scan.shape, scan.affine, None)
    extent = np.array(grid.shape) * grid.spacing
    finest = float(grid.spacing.min())
    while np.prod(extent / np.maximum(grid.spacing, finest)) > voxels:
        finest *= 1.02
    return tuple(np.maximum(grid.spacing, finest).tolist())


def _image(ants: Any, array: np.ndarray, affine: np.ndarray) -> Any:
    """An ANTs image (LPS) of an array and its affine (RAS).

    Raises
    ------
    InputError
        The axes are not at right angles, which ITK cannot express.
    """
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction = lps[:3, :3] / spacing
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
        raise InputError("Registration needs a scan whose axes are at right angles; resample it first.")
    return ants.from_numpy(
        array, origin=lps[:3, 3].tolist(), spacing=spacing.tolist(), direction=np.ascontiguousarray(direction)
    )


def _ants() -> Any:
    # One thread: comparable times, and the same result in every run. ITK reads this when it is loaded.
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
    try:
        import ants
    except ImportError:
        raise NotInstalled("Registration is not measured: it needs `pip install antspyx`.") from None
    return ants
