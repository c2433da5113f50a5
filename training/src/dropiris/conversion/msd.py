"""Medical Segmentation Decathlon: ``dataset.json`` with a list of training pairs; channels in the fourth dimension."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dropiris.conversion.nnunet_writer import coloured
from dropiris.conversion.source import ReadCase, Source, SourceCase, integer_labels, named_once, place_labels
from dropiris.curation.grid import read_voxels
from dropiris.errors import InputError
from dropiris.files.nifti import read_nifti_grid
from dropiris.files.reading import library, reading
from dropiris.volume import LabelMap, Structure, Volume


def is_msd(folder: Path) -> bool:
    """Whether ``dataset.json`` lists training pairs."""
    try:
        return isinstance(_json(folder).get("training"), list)
    except (OSError, ValueError, AttributeError):
        return False


def open_msd(folder: Path) -> Source:
    """Read ``dataset.json`` (Antonelli et al. 2022); test images become ``imagesTs`` without labels."""
    try:
        data = _json(folder)
        channels = tuple(str(name) for _, name in sorted(data["modality"].items(), key=lambda item: int(item[0])))
        structures = tuple(coloured(int(value), str(name)) for value, name in data["labels"].items() if int(value) > 0)
        pairs = [(folder / item["image"], folder / item["label"]) for item in data["training"]]
        tests = [folder / (item["image"] if isinstance(item, dict) else item) for item in data.get("test", [])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise InputError(
            f"{folder / 'dataset.json'} is no dataset file of the Medical Segmentation Decathlon "
            f"({type(problem).__name__}: {problem}); correct it."
        ) from problem
    cases = [SourceCase(_stem(image), partial(_read, image, labels, channels, structures)) for image, labels in pairs]
    cases += [SourceCase(_stem(image), partial(_read, image, None, channels, ()), "Ts") for image in tests]
    about = {
        "licence": str(data.get("licence") or data.get("license") or ""),
        "source": str(data.get("reference", "")),
        "notes": str(data.get("description", "")),
    }
    return Source("msd", str(data.get("name") or folder.name), channels, named_once(cases), structures, about)


def _json(folder: Path) -> Any:
    return json.loads((folder / "dataset.json").read_text(encoding="utf-8"))


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _read(image: Path, labels: Path | None, channels: tuple[str, ...], structures: tuple[Structure, ...]) -> ReadCase:
    for path in (image, labels):
        if path is not None and not path.is_file():
            raise InputError(f"{path} is missing; add it or take it out of dataset.json.")
    volumes = _channels(image, channels)
    if labels is None:
        return ReadCase(volumes, None)
    array, grid = read_voxels(labels)
    found = LabelMap(integer_labels(array, labels.name), grid.affine, structures, labels.name)
    return ReadCase(volumes, place_labels(volumes[0], found))


def _channels(path: Path, names: tuple[str, ...]) -> tuple[Volume, ...]:
    if len(names) == 1:
        array, grid = read_voxels(path)
        return (Volume(array, grid.affine, path.name),)
    nibabel = library("nibabel", "nibabel", "NIfTI")
    with reading(path, "a NIfTI file", nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError):
        image = nibabel.load(path, mmap=False)
        if len(image.shape) != 4 or image.shape[3] != len(names):
            raise InputError(
                f"{path.name} has the shape {image.shape}, but dataset.json names {len(names)} modalities; correct it."
            )
        _, affine = read_nifti_grid(path)
        array = np.asarray(image.dataobj)
        if array.dtype == np.float64 and image.get_data_dtype() != np.float64:
            array = array.astype(np.float32)  # scaled integers
    return tuple(Volume(array[..., n], affine, f"{path.name} ({name})") for n, name in enumerate(names))
