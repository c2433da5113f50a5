"""Make ``thumbnail.png`` of the models that ship: what each of them found in the ICBM152 template.

Run it with ``python training/demo/model_thumbnails.py`` after the models were trained anew. The template's licence
lets it be copied and changed; the README names its source.
"""

from __future__ import annotations

import numpy as np
from cases import CROP, HIPPOCAMPUS, icbm152
from scene import ROOT, crop

from dropiris.geometry import CanonicalGrid
from dropiris.inference import DropGenSegmenter, IrisSegmenter
from dropiris.models.bundle import THUMBNAIL, Bundle
from dropiris.volume import LabelMap, Reference, Volume

# Twice the side of a card's picture in the panel, for sharp screens.
SIDE = 104
MODELS = ROOT / "Resources" / "Models"


def main() -> None:
    head = icbm152()
    right, left = (crop(head, HIPPOCAMPUS[side], CROP, side) for side in ("right", "left"))
    dropgen = DropGenSegmenter(Bundle.open(MODELS / "hippocampus-t1"), "cpu")
    found = dropgen.segment(right)
    save("hippocampus-t1", picture(right, found, axis=0))
    brain = DropGenSegmenter(Bundle.open(MODELS / "brain-any-contrast"), "cpu")
    save("brain-any-contrast", picture(head, brain.segment(head), axis=2))
    iris = IrisSegmenter(Bundle.open(MODELS / "iris-general"), "cpu")
    task = iris.encode([Reference(right, (found,))])
    save("iris-general", beside(picture(right, found, axis=0), picture(left, iris.segment(left, task), axis=0)))


def picture(volume: Volume, labels: LabelMap, axis: int) -> np.ndarray:
    """RGB uint8 (SIDE, SIDE, 3): the plane across R, A or S with the most labelled voxels, structures in colour."""
    grid = CanonicalGrid.over(volume.shape, volume.affine, None)
    image, found = grid.image_to_model(volume.array), grid.labels_to_model(labels.array)
    others = tuple(n for n in range(3) if n != axis)
    at = int(np.argmax((found > 0).sum(axis=others)))
    # The patient's right (or front, in a sagittal plane) at the left, as in Slicer.
    grey, marked = (np.take(array, at, axis=axis).T[::-1, ::-1] for array in (image, found))
    low, high = np.percentile(image, [2, 99.5])
    rgb = np.repeat(np.clip((grey - low) / (high - low), 0, 1)[..., None], 3, axis=2)
    for structure in labels.structures:
        mask = marked == structure.label
        rgb[mask] = 0.45 * rgb[mask] + 0.55 * np.array(structure.color)
    return square(np.round(255 * rgb).astype(np.uint8))


def beside(reference: np.ndarray, result: np.ndarray) -> np.ndarray:
    """The halves of two pictures that hold a hippocampus's head: what was shown, and what was found with it."""
    start = SIDE // 13
    both = np.hstack([rgb[:, start : start + SIDE // 2] for rgb in (reference, result)])
    both[:, SIDE // 2 - 1 : SIDE // 2 + 1] = 255
    return both


def square(rgb: np.ndarray) -> np.ndarray:
    """The middle square of a picture, enlarged to SIDE by repeating its voxels."""
    height, width = rgb.shape[:2]
    side = min(height, width)
    top, start = (height - side) // 2, (width - side) // 2
    index = (np.arange(SIDE) * side) // SIDE
    return rgb[top : top + side, start : start + side][np.ix_(index, index)]


def save(model: str, rgb: np.ndarray) -> None:
    from matplotlib.image import imsave

    path = MODELS / model / THUMBNAIL
    imsave(path, rgb)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
