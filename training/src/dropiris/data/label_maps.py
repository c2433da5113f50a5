"""Label maps to pretrain an extractor on: windows out of real ones, and ensembles of random and real shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from dropiris.data.labelled_scan import UNNAMED, LabelledScan, load_labelled_scan
from dropiris.data.nnunet import Dataset
from dropiris.data.sequences import ORDINARY, SEQUENCES, TISSUE_OF, sequence_contrast
from dropiris.data.shapes import LARGEST, Ensemble, draw_ensemble, structure_templates
from dropiris.data.synthesis import Appearance, Deformation, deform, rendered, synthesise, without
from dropiris.data.windows import Placement, cut_window, random_rotation
from dropiris.errors import InputError

# Voxels kept of each structure to place windows about.
CENTRES = 500
# A map with fewer labels shows too little of its surroundings to be rendered by itself; it still gives templates.
ENOUGH_LABELS = 8


def load_label_maps(
    datasets: Sequence[Dataset], split: str = "Tr", clusters: int = 0, without: Sequence[str] = ()
) -> list[LabelledScan]:
    """The label maps of a split; datasets that have only an evaluation split (single public cases) give that one.

    Parameters
    ----------
    clusters : int
        Parts that unlabelled surroundings are cut into, see :func:`load_labelled_scan`.
    without : sequence of str
        Names of cases kept for validation: left out of "Tr", and all there is of "Val" where the dataset has none.
    """
    found = []
    for dataset in datasets:
        everyone = dataset.cases("Tr") or dataset.cases("Ts")
        if not everyone and split == "Tr":
            raise InputError(f"{dataset.folder} has no label maps; it needs labelsTr.")
        if split == "Tr":
            cases = [case for case in everyone if case.name not in without]
        else:
            cases = dataset.cases(split) or [case for case in everyone if case.name in without]
        found += [load_labelled_scan(case, dataset, clusters) for case in cases]
    return found


class LabelledPairs:
    """``pairs[step, index]`` is a label map rendered twice, and what its voxels are called.

    (labels (D, H, W) uint8, images (2, D, H, W) of them in [0, 1], names (D, H, W) int16, possible (N,) bool):
    names are places in :attr:`names`, 0 for what has none; ``possible`` are those that this dataset draws, none of
    them for an ensemble of shapes.

    Parameters
    ----------
    scans : sequence of LabelledScan
        May be empty: random shapes need none.
    windows : float
        Share of label maps that are windows of whole scans; the rest are ensembles.
    views : int
        1 leaves the second image out.
    stripped : float
        Share of windows of heads without what lies outside the brain.
    weights : dict, optional
        How often each dataset's maps are shown, by name; every map alike when absent.
    pose : Pose, optional
        How windows lie in maps.
    random_share : float
        Share of windows of brains in random contrast, with every fault :class:`Appearance` has; the others look like
        T1, T2, FLAIR or CT of an ordinary examination, which is learned from many times faster.
    on_device : bool
        Then a sample is only its place (step, index), and :meth:`made` makes it on the loop's device.
    """

    def __init__(
        self, scans: Sequence[LabelledScan], side: Sequence[int], seed: int, windows: float = 0.3,
        ensemble: Ensemble | None = None, appearance: Appearance | None = None, on_device: bool = False,
        stripped: float = 0.0, weights: dict[str, float] | None = None, views: int = 2, pose: Pose | None = None,
        random_share: float = 1.0,
    ):  # fmt: skip
        self.whole = [scan for scan in scans if len(scan.values) >= ENOUGH_LABELS]
        self.templates = [template for scan in scans for template in structure_templates(scan.labels)]
        self.side, self.seed, self.on_device = tuple(side), seed, on_device
        self.windows = windows if self.whole else 0.0
        self.ensemble, self.appearance = ensemble or Ensemble(), appearance or Appearance()
        self.stripped, self.views = stripped, views
        self.pose, self.random_share = pose or Pose(), random_share
        self.centres = [centres_of(scan) if self.pose.centring is not None else [] for scan in self.whole]
        self.label_count = max([LARGEST, *(len(scan.values) + 1 for scan in self.whole)])
        self.names = ["", *sorted({name for scan in self.whole for name in scan.names if name})]
        self._numbers = [self._of_names(scan) for scan in self.whole]
        self._possible = self._by_dataset()
        shares = [self._share(scan, weights) for scan in self.whole]
        self.shares = np.array(shares) / max(sum(shares), 1e-9)

    def __getitem__(self, at: tuple[int, int]) -> tuple[torch.Tensor, ...]:
        return (torch.tensor(at),) if self.on_device else self.pair(*at)

    def pair(self, step: int, index: int, device: torch.device | str = "cpu") -> tuple[torch.Tensor, ...]:
        """Labels, the images of one place, names and possible names."""
        rng = np.random.default_rng([self.seed, step, 1 + index])
        chosen = int(rng.choice(len(self.whole), p=self.shares)) if rng.random() < self.windows else None
        labels = self.draw(rng, chosen, device)[None]
        images = self.images(labels, None if chosen is None else self.whole[chosen], rng)
        if chosen is None:
            names, possible = (
                torch.zeros(labels.shape, dtype=torch.int16),
                torch.zeros(len(self.names), dtype=torch.bool),
            )
        else:
            names = self._numbers[chosen].to(device)[labels.long()]
            possible = self._possible[self.whole[chosen].dataset]
        return labels[0], images[:, 0], names[0].to(device), possible.to(device)

    def images(self, labels: torch.Tensor, scan: LabelledScan | None, rng: np.random.Generator) -> torch.Tensor:
        """Views (V, 1, D, H, W) of one label map (1, D, H, W)."""
        if scan is None:
            return rendered(labels, rng, self.appearance, self.label_count, None, self.views)
        is_brain = not TISSUE_OF.keys().isdisjoint(scan.names)
        if not is_brain or self.random_share == 1 or rng.random() < self.random_share:
            return rendered(labels, rng, self.appearance, self.label_count, scan.alike, self.views)
        kinds = [SEQUENCES[n] for n in rng.permutation(len(SEQUENCES))[: self.views]]
        contrasts = [sequence_contrast(scan, kind, rng) for kind in kinds]
        return torch.cat([synthesise(labels, contrast, rng, ORDINARY) for contrast in contrasts])

    def made(self, batch: Sequence[torch.Tensor], device: torch.device) -> Sequence[torch.Tensor]:
        """The batch as it came, or made from its places on the device."""
        if not self.on_device:
            return batch
        pairs = [self.pair(step, index, device) for step, index in batch[0].tolist()]
        return [torch.stack(part) for part in zip(*pairs, strict=True)]

    def draw(self, rng: np.random.Generator, chosen: int | None, device: torch.device | str = "cpu") -> torch.Tensor:
        """One label map (D, H, W) uint8: an ensemble, or a window of the map ``chosen``."""
        if chosen is None:
            return draw_ensemble(self.side, rng, self.templates, self.ensemble, device)
        scan = self.whole[chosen]
        window = window_of(scan, self.side, rng, self.pose, self.centres[chosen]).to(device)[None]
        if len(scan.outer) and rng.random() < self.stripped:
            window = without(window, scan.outer.tolist())
        return deform(window, rng, Deformation.bending(0.2))[0]

    def _of_names(self, scan: LabelledScan) -> torch.Tensor:
        """Number of a label map to place in :attr:`names`."""
        table = np.full(256, UNNAMED, np.int16)
        table[1 : 1 + len(scan.names)] = [self.names.index(name) for name in scan.names]
        return torch.from_numpy(table)

    def _by_dataset(self) -> dict[str, torch.Tensor]:
        possible = {scan.dataset: torch.zeros(len(self.names), dtype=torch.bool) for scan in self.whole}
        for scan in self.whole:
            possible[scan.dataset][[UNNAMED, *(self.names.index(name) for name in scan.names if name)]] = True
        return possible

    def _share(self, scan: LabelledScan, weights: dict[str, float] | None) -> float:
        if not weights:
            return 1.0
        return weights.get(scan.dataset, 0.0) / sum(other.dataset == scan.dataset for other in self.whole)


@dataclass(frozen=True)
class Pose:
    """How windows lie in a map.

    Attributes
    ----------
    finest, coarsest : float
        Smallest and largest voxel of a window, in voxels of its map.
    rotation : float
        About each axis, radians.
    upright : bool
        Mirror left and right only; otherwise any axis.
    centring : float, optional
        Windows lie about a voxel of any named structure, pulled to the middle of all by this share; anywhere when
        absent, and then half of what they show of a head is air.
    """

    finest: float = 1.0
    coarsest: float = 3.0
    rotation: float = 0.6
    upright: bool = False
    centring: float | None = None


def centres_of(scan: LabelledScan) -> list[np.ndarray]:
    """Per named structure of a map, voxels (n, 3) of it to place windows about; what lies around a brain is none."""
    found = []
    for number, (name, box) in enumerate(zip(scan.names, ndimage.find_objects(scan.labels), strict=False), start=1):
        if box is not None and name and number not in scan.outer and not name.startswith("unnamed"):
            places = np.argwhere(scan.labels[box] == number) + [side.start for side in box]
            found.append(places[:: 1 + len(places) // CENTRES])
    return found


def window_of(
    scan: LabelledScan, side: Sequence[int], rng: np.random.Generator, pose: Pose | None = None,
    centres: Sequence[np.ndarray] = (),
) -> torch.Tensor:  # fmt: skip
    """A turned window (D, H, W) uint8 of a map, about one of the ``centres`` or not far into the air."""
    pose = pose or Pose()
    finest = float(scan.voxel.min())
    extent = np.array(scan.labels.shape) * scan.voxel
    # no coarser than what shows the whole scan
    widest = max(1.0, float(extent.max()) / (finest * max(side)))
    low, high = np.log(min(pose.finest, widest)), np.log(min(pose.coarsest, widest))
    spacing = finest * np.exp(rng.uniform(low, high)) * np.exp(rng.uniform(-0.1, 0.1, 3))
    mirrored = (rng.random(3) < 0.5) & np.array([True, not pose.upright, not pose.upright])
    rotation = random_rotation(rng, pose.rotation) * np.where(mirrored, -1.0, 1.0)
    if centres and pose.centring is not None:
        own = centres[int(rng.integers(len(centres)))]
        voxel = own[rng.integers(len(own))]
        voxel = voxel + pose.centring * (np.mean([each.mean(0) for each in centres], axis=0) - voxel)
        centre = voxel * scan.voxel
    else:
        centre = rng.uniform(0.25, 0.75, 3) * extent - scan.voxel / 2
    placement = Placement(centre, spacing, rotation)
    return cut_window(scan.labels[None], scan.voxel, placement, side, "nearest", 0.0)[0].to(torch.uint8)
