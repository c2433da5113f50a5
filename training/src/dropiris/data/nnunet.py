"""Datasets in nnU-Net v2's raw layout."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from dropiris.errors import InputError
from dropiris.files import read_labels, read_volume
from dropiris.volume import LabelMap, Volume


@dataclass(frozen=True)
class Case:
    """One labelled scan of a dataset; ``image`` is None where only a label map exists.

    ``merged`` are values that :meth:`read` puts in place of the file's; those it does not name become 0.
    """

    name: str
    image: Path | None
    labels: Path
    merged: Mapping[int, int] | None = None

    def read(self) -> tuple[Volume | None, LabelMap]:
        """Read both files; they share shape and affine.

        Raises
        ------
        InputError
            A file cannot be read, or image and label map have different shapes.
        """
        volume = read_volume(self.image) if self.image else None
        labels = read_labels(self.labels)[0]
        if volume is not None and volume.shape != labels.shape:
            sizes = " and ".join(" x ".join(map(str, shape)) for shape in (volume.shape, labels.shape))
            raise InputError(f"{self.name}: image and label map differ in size ({sizes} voxels); correct them.")
        if self.merged is not None:
            labels = replace(labels, array=merge(labels.array, self.merged))
        return volume, labels


def merge(labels: np.ndarray, values: Mapping[int, int]) -> np.ndarray:
    """A label array with its values replaced; those that ``values`` does not name become 0."""
    present, where = np.unique(labels, return_inverse=True)
    new = np.array([values.get(int(value), 0) for value in present], dtype=labels.dtype)
    return new[where].reshape(labels.shape)


@dataclass(frozen=True)
class Dataset:
    """A folder with ``dataset.json``, ``imagesTr``/``labelsTr`` and optionally ``Val`` and ``Ts``.

    Attributes
    ----------
    structures : dict
        Name to label value, background left out.
    partially_labelled : dict
        Case name to the structures that were annotated in it.
    """

    folder: Path
    name: str
    structures: dict[str, int]
    licence: str = ""
    modality: str = ""
    source: Any = ""
    partially_labelled: dict[str, list[str]] = field(default_factory=dict)
    merged: Mapping[int, int] | None = None

    @classmethod
    def open(cls, folder: Path | str) -> Dataset:
        """Read ``dataset.json``; an :class:`InputError` names what is missing."""
        folder = Path(folder)
        try:
            data = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
            labels = {str(k): int(v) for k, v in data["labels"].items() if int(v) > 0}
        except FileNotFoundError:
            raise InputError(f"{folder} has no dataset.json; give a dataset in nnU-Net's raw layout.") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{folder / 'dataset.json'} is not an nnU-Net dataset file ({error}); correct it."
            ) from None
        return cls(
            folder=folder,
            name=folder.name,
            structures=labels,
            licence=str(data.get("licence", "")),
            modality=str(data.get("modality", "")),
            source=data.get("source", ""),
            partially_labelled=dict(data.get("partially_labelled", {})),
        )

    def cases(self, split: str = "Tr", channel: int = 0) -> list[Case]:
        """Cases of ``images<split>``/``labels<split>``, sorted; [] when the split does not exist."""
        labels = self.folder / f"labels{split}"
        return [self._case(path, split, channel) for path in sorted(labels.glob("*.nii.gz"))] if labels.is_dir() else []

    def _case(self, path: Path, split: str, channel: int) -> Case:
        name = path.name.removesuffix(".nii.gz")
        image = self.folder / f"images{split}" / f"{name}_{channel:04d}.nii.gz"
        if image.exists():
            return Case(name, image, path, self.merged)
        if image.parent.is_dir():
            raise InputError(f"{image} is missing, but its label map exists; add the image or remove the label map.")
        return Case(name, None, path, self.merged)

    def merge(self, groups: Mapping[str, Sequence[str]]) -> Dataset:
        """The dataset with other structures, each made of several of its own; what is in no group is background.

        Raises
        ------
        InputError
            A name that the dataset does not have.
        """
        if not groups:
            return self
        values: dict[int, int] = {}
        for number, (group, names) in enumerate(groups.items(), start=1):
            for name in names:
                if name not in self.structures:
                    near = get_close_matches(name, self.structures, n=1)
                    hint = f"did you mean {near[0]!r}?" if near else "see its dataset.json."
                    raise InputError(f"{self.folder} has no structure {name!r} to make {group!r} of; {hint}")
                values[self.structures[name]] = number
        partly = {
            case: [group for group, names in groups.items() if set(names) <= set(drawn)]
            for case, drawn in self.partially_labelled.items()
        }
        numbered = {group: number for number, group in enumerate(groups, start=1)}
        return replace(self, structures=numbered, partially_labelled=partly, merged=values)

    def present(self, labels: np.ndarray) -> Iterator[tuple[str, int]]:
        """The dataset's structures that occur in a label array."""
        values = set(np.unique(labels).tolist())
        return ((name, value) for name, value in self.structures.items() if value in values)
