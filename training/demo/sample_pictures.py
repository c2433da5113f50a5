"""Thumbnails of the samples, as Slicer's Sample Data module shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from dropiris.volume import Reference

SIZE = (180, 120)  # pixels; Sample Data scales them to six by four icons


def write_thumbnails(folder: Path) -> list[Path]:
    """One PNG per sample, named after it: a slice through the labelled structures with their colours over it."""
    from dropiris.panels.sample_data import samples

    written = []
    for sample in samples():
        scans = [reference for reference, _labelled in sample.scans()]
        # A set of several contrasts shows two of them.
        shown = scans[:1] if sample.method else [scans[0], scans[-1]]
        picture = np.concatenate([_tile(reference, SIZE[0] // len(shown)) for reference in shown], axis=1)
        path = folder / f"{sample.key}.png"
        Image.fromarray(picture).quantize(128).save(path, optimize=True)
        written.append(path)
    return written


def _tile(reference: Reference, width: int) -> np.ndarray:
    """(SIZE[1], width, 3) uint8: a slice that shows the labels well, the patient's right (or front) on the left."""
    from dropiris.geometry import CanonicalGrid

    volume, layer = reference.volume, reference.layers[0]
    grid = CanonicalGrid.over(volume.shape, volume.affine, (1.5, 1.5, 1.5) if max(volume.shape) > 60 else None)
    image, labels = grid.image_to_model(volume.array), grid.labels_to_model(layer.array)
    # What a crop was made around, else everything.
    wanted = [s for s in layer.structures if s.name in volume.name] or layer.structures
    axis = 0 if "hippocampus" in volume.name else 1 if "head" in volume.name else 2
    plane = int(np.bincount(np.nonzero(np.isin(labels, [s.label for s in wanted]))[axis]).argmax())
    grey, marked = (np.take(array, plane, axis).T[::-1, ::-1] for array in (image, labels))
    low, high = (-160, 260) if volume.modality == "CT" else (0, np.percentile(image, 99.7))
    grey = np.clip((grey - low) / (high - low), 0, 1)
    rgb = np.repeat(grey[..., None], 3, axis=2)
    for structure in wanted:
        rgb[marked == structure.label] = 0.5 * rgb[marked == structure.label] + 0.5 * np.array(structure.color)
    picture = Image.fromarray((255 * rgb).astype(np.uint8))
    scale = max(width / picture.width, SIZE[1] / picture.height)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
    left, top = (picture.width - width) // 2, (picture.height - SIZE[1]) // 2
    return np.asarray(picture.crop((left, top, left + width, top + SIZE[1])))
