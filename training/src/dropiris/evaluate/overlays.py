"""Pictures of the worst cases: label and prediction outlined where they differ most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dropiris.errors import InputError
from dropiris.evaluate.cases import ENDINGS, CasePair, DatasetTable
from dropiris.evaluate.metrics import DICE
from dropiris.evaluate.plots import COLOURS, new_figure
from dropiris.evaluate.score import CaseScore, ComparedMasks, compared_masks
from dropiris.evaluate.summary import case_dice
from dropiris.files.reading import library
from dropiris.geometry import CanonicalGrid

# Per plane: the axis looked along, then what stands at the left, right, bottom and top edge (canonical RAS grid).
PLANES = (("axial", 2, "RLPA"), ("coronal", 1, "RLIS"), ("sagittal", 0, "APIS"))
LABEL, PREDICTION = COLOURS[4], COLOURS[1]
_MARGIN = 25.0  # mm around both masks


@dataclass(frozen=True)
class Overlay:
    """The worst structure of a bad case: an RGB picture (rows, columns, 3) of uint8, and what it shows."""

    score: CaseScore
    case_dice: float
    picture: np.ndarray
    background: bool


def worst_cases(
    pairs: Sequence[CasePair],
    rows: Sequence[CaseScore],
    table: DatasetTable,
    images: Path | Mapping[str, Path] | None = None,
    count: int = 5,
    by_value: bool = False,
) -> list[Overlay]:
    """Overlays of the ``count`` cases of lowest mean Dice, each of its worst structure.

    ``images`` is a scan, a folder with ``CASE_0000`` or ``CASE`` in a readable format, or the scan of each case;
    without it outlines stand on black.

    Raises
    ------
    InputError
        A scan that lies on another grid than its labels.
    """
    found, by_case = [], {pair.case: pair for pair in pairs}
    for case, mean in list(case_dice(rows).items())[:count]:
        worst = min((row for row in rows if row.case == case and row.scored), key=lambda row: row.values[DICE.key])
        pair = by_case[case]
        compared = compared_masks(pair, table, by_value=by_value)
        masks = next(masks for masks in compared if masks.structure == worst.structure)
        image = None if images is None else _image_of(case, images, masks)
        found.append(Overlay(worst, mean, picture_of(masks, image), image is not None))
    return found


def picture_of(masks: ComparedMasks, image: np.ndarray | None = None) -> np.ndarray:
    """Three planes as a radiologist sees them, each through the slice with most voxels in only one of the masks.

    ``image`` is the scan (I, J, K) on the masks' grid.
    """
    canvas = library("matplotlib.backends.backend_agg", "dropiris[train]", "Picture").FigureCanvasAgg
    grid = CanonicalGrid.over(masks.label.shape, masks.affine, None)
    label, ours = (grid.labels_to_model(mask.astype(np.uint8)) > 0 for mask in (masks.label, masks.prediction))
    scan = np.zeros(label.shape, np.float32) if image is None else grid.image_to_model(image)
    low, high = np.percentile(scan, [1, 99.5])
    wrong = label ^ ours if (label ^ ours).any() else label | ours
    at = [int(wrong.sum(tuple(n for n in range(3) if n != axis)).argmax()) for axis in range(3)]
    box = _around(label | ours, grid.spacing)
    figure = new_figure(11, 4)
    figure.set_facecolor("black")
    figure.subplots_adjust(0.005, 0.01, 0.995, 0.93, wspace=0.02)
    for column, (name, axis, edges) in enumerate(PLANES, start=1):
        axes = figure.add_subplot(1, 3, column)
        across, up = [n for n in range(3) if n != axis]
        cut = tuple(at[axis] if n == axis else box[n] for n in range(3))
        mm = [grid.spacing[across], grid.spacing[up]]
        rows, columns = scan[cut].T.shape
        extent = (0, columns * mm[0], 0, rows * mm[1])
        axes.imshow(scan[cut].T, origin="lower", cmap="gray", vmin=low, vmax=max(high, low + 1e-6), extent=extent)
        for mask, colour, line in ((label, LABEL, "solid"), (ours, PREDICTION, "dashed")):
            plane = np.pad(mask[cut].T.astype(float), 1)
            if plane.any():
                places = [(np.arange(n) - 0.5) * size for n, size in zip(plane.shape[::-1], mm, strict=True)]
                axes.contour(*places, plane, levels=[0.5], colors=[colour], linewidths=1.5, linestyles=[line])
        axes.invert_xaxis()  # the patient's right (or front, in a sagittal plane) at the left, as in Slicer
        for letter, place in zip(edges, ((0.03, 0.5), (0.97, 0.5), (0.5, 0.03), (0.5, 0.97)), strict=True):
            axes.text(*place, letter, color="yellow", ha="center", va="center", transform=axes.transAxes)
        axes.set_title(name, color="white", fontsize=10)
        axes.axis("off")
    drawn = canvas(figure)
    drawn.draw()
    return np.asarray(drawn.buffer_rgba())[..., :3].copy()


def _around(mask: np.ndarray, spacing: np.ndarray) -> list[slice]:
    box = []
    for axis in range(3):
        at = np.flatnonzero(mask.any(tuple(n for n in range(3) if n != axis)))
        margin = int(np.ceil(_MARGIN / spacing[axis]))
        box.append(slice(max(int(at[0]) - margin, 0), int(at[-1]) + margin + 1))
    return box


def _image_of(case: str, images: Path | Mapping[str, Path], masks: ComparedMasks) -> np.ndarray | None:
    from dropiris.files import read_volume

    if isinstance(images, Path):
        names = [f"{case}{channel}{ending}" for channel in ("_0000", "") for ending in ENDINGS]
        path = images if images.is_file() else next((images / n for n in names if (images / n).is_file()), None)
    else:
        path = images.get(case)
    if path is None:
        return None
    volume = read_volume(path)
    same = volume.shape == masks.label.shape and np.allclose(volume.affine, masks.affine, atol=0.1)
    if not same:
        raise InputError(
            f"{path} lies on another grid than the label map of {case}; give the scans the labels belong to."
        )
    return volume.array
