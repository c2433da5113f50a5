"""The scans of the demo: one that a registry package carries, and the example data when it is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scene import crop

from dropiris.data.nnunet import Dataset
from dropiris.files import read_volume
from dropiris.train.validate import as_reference
from dropiris.volume import LabelMap, Reference, Structure, Volume

# Middle of the hippocampus in MNI space (mm) and the size of the crops the hippocampus model was trained on.
HIPPOCAMPUS = {"right": (27.0, -21.0, -15.0), "left": (-27.0, -21.0, -15.0)}
CROP = (38.0, 54.0, 38.0)


@dataclass(frozen=True)
class Task:
    """One click: a scan, the module's inputs, and the labels to compare with when there are any.

    ``reference`` None means DropGenSeg with ``model``; a string names an earlier task whose result is the reference.
    """

    name: str
    volume: Volume
    model: str = ""
    reference: Reference | str | None = None
    truth: LabelMap | str | None = None
    note: str = ""


def packaged_tasks() -> list[Task]:
    """ICBM152, an average T1 of 152 people: hippocampi by DropGenSeg, the left one by IrisICL too, and the brain."""
    head = icbm152()
    right, left = (crop(head, HIPPOCAMPUS[side], CROP, f"ICBM152 {side} hippocampus") for side in ("right", "left"))
    return [
        Task("hippocampus-right-dropgen", right, "hippocampus-t1"),
        Task("hippocampus-left-dropgen", left, "hippocampus-t1"),
        Task(
            "hippocampus-left-iris",
            left,
            reference="hippocampus-right-dropgen",
            truth="hippocampus-left-dropgen",
            note="reference: DropGenSeg's right hippocampus; compared with DropGenSeg's left one, not with an expert",
        ),
        Task("brain-dropgen", head, "brain-any-contrast"),
    ]


def icbm152() -> Volume:
    """The T1 template that nilearn's wheel carries (skull-stripped, 1 mm)."""
    import nilearn

    folder = Path(nilearn.__file__).parent / "datasets" / "data"
    head = read_volume(folder / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")
    return Volume(head.array, head.affine, "ICBM152 T1", "MR")


def example_tasks(data: Path) -> list[Task]:
    """Validation scans that training never saw, with expert labels."""
    names = {"anterior": "hippocampus, anterior", "posterior": "hippocampus, posterior"}
    reference, truth = _pair(data / "Dataset001_Hippocampus", names, ((0.90, 0.62, 0.0), (0.34, 0.71, 0.91)))
    organs = ((0.87, 0.51, 0.40), (0.73, 0.40, 0.16), (0.85, 0.60, 0.30), (0.62, 0.42, 0.64))
    organ_reference, organ_truth = _pair(data / "Dataset002_AbdomenMR", {}, organs)
    note = "one reference, a training case; compared with the expert's labels"
    return [
        Task("hippocampus-dropgen", truth.volume, "hippocampus-t1", truth=truth.layers[0]),
        Task("hippocampus-iris", truth.volume, reference=reference, truth=truth.layers[0], note=note),
        Task("abdomen-iris", organ_truth.volume, reference=organ_reference, truth=organ_truth.layers[0], note=note),
    ]


Color = tuple[float, float, float]


def _pair(folder: Path, names: dict[str, str], colors: tuple[Color, ...]) -> tuple[Reference, Reference]:
    """The first training case and the first validation case, named and coloured."""
    dataset = Dataset.open(folder)
    first, held_back = (as_reference(dataset, dataset.cases(split)[0]) for split in ("Tr", "Val"))
    return _shown(first, names, colors), _shown(held_back, names, colors)


def _shown(reference: Reference, names: dict[str, str], colors: tuple[Color, ...]) -> Reference:
    layer = reference.layers[0]
    structures = tuple(
        Structure(s.label, names.get(s.name, s.name.replace("_", " ")), colors[s.label - 1]) for s in layer.structures
    )
    return Reference(reference.volume, (LabelMap(layer.array, layer.affine, structures, layer.name),))
