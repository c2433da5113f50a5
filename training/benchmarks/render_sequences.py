"""Heads rendered as T1, T2, FLAIR and CT, as a dataset: ``python render_sequences.py FOLDER [--data FOLDER]``.

Dataset105_RenderedHeads under FOLDER: scans of T1 to train on, of other heads T1 (Val) and T2, FLAIR and CT (Ts). What
`training/configs/benchmark/rendered-contrast.yaml` asks for: from T1 to sequences that training never saw, on the same
anatomy. Label maps: Dataset005; left and right are one structure.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dropiris.data.brain_structures import brain_groups
from dropiris.data.nnunet import Case, Dataset
from dropiris.data.rendered_volume import rendered_volume
from dropiris.data.sequences import SEQUENCES
from dropiris.errors import DropIrisError
from dropiris.files import write_labels, write_volume
from dropiris.geometry import CanonicalGrid
from dropiris.volume import LabelMap, Structure, Volume

ROOT = Path(__file__).resolve().parents[2]
NAME, TRAINED, HELD_OUT, SPACING = "Dataset105_RenderedHeads", 12, 4, (2.0, 2.0, 2.0)


def render(dataset: Dataset, case: Case, sequence: str, split: str, folder: Path) -> None:
    """One scan with its labels, half of them without the skull, on a grid of :data:`SPACING`."""
    number, order = int(case.name.rsplit("_", 1)[-1]), SEQUENCES.index(sequence)
    rng = np.random.default_rng([number, order])
    volume, labels = rendered_volume(case, dataset, sequence, rng, stripped=bool(number % 2))
    grid = CanonicalGrid.over(volume.shape, volume.affine, SPACING)
    name = f"{case.name}_{sequence}"
    structures = tuple(Structure(value, title) for title, value in dataset.structures.items())
    small = LabelMap(grid.labels_to_model(labels.array.astype(np.uint8)), grid.affine, structures, name)
    for part in ("images", "labels"):
        (folder / f"{part}{split}").mkdir(parents=True, exist_ok=True)
    write_volume(
        Volume(grid.image_to_model(volume.array), grid.affine, name), folder / f"images{split}" / f"{name}_0000.nii.gz"
    )
    write_labels(small, folder / f"labels{split}" / f"{name}.nii.gz")


def plan(cases: Sequence[Case]) -> list[tuple[Case, str, str]]:
    """Cases with their sequence and split: the last heads are held out."""
    trained, others = cases[:TRAINED], cases[-HELD_OUT:]
    seen, *unseen = SEQUENCES
    found = [(case, seen, "Tr") for case in trained] + [(case, seen, "Val") for case in others]
    return found + [(case, sequence, "Ts") for sequence in unseen for case in others]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    chosen = parser.parse_args()
    try:
        dataset = Dataset.open(chosen.data / "Dataset005_BrainLabelMaps")
        dataset = dataset.merge(brain_groups(dataset.structures, sides=False))
        folder = chosen.folder / NAME
        wanted = plan(dataset.cases("Tr"))
        for number, (case, sequence, split) in enumerate(wanted, start=1):
            render(dataset, case, sequence, split, folder)
            print(f"{number} of {len(wanted)}: {case.name} as {sequence}", flush=True)
        content = {
            "name": NAME,
            "channel_names": {"0": "rendered"},
            "labels": {"background": 0, **dataset.structures},
            "numTraining": TRAINED,
            "file_ending": ".nii.gz",
        }
        (folder / "dataset.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
    except DropIrisError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
