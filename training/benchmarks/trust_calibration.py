"""How honest the trust of a model is: its number beside the real Dice, the threshold, and what that catches.

``python trust_calibration.py MODEL DATASET:SPLIT[:REFERENCES] ... --out FOLDER`` segments every case as it is and
made hard on purpose (see hard_inputs.py: good models fail too seldom on held-back cases), checks each result as the
panels do, and compares with the labels. Iris takes its references from the training cases of the dataset itself, or of
REFERENCES: a reference of another kind is one more way to fail. Every second case chooses the threshold, the others
give the figures.

It goes on where it was stopped; FOLDER holds the numbers (trust.csv) and the picture (trust.png). With --write the
figures go into the model's card.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from hard_inputs import HARD
from trust_figures import GOOD_DICE, calibrate, draw

from dropiris.data.nnunet import Case, Dataset
from dropiris.errors import DropIrisError
from dropiris.inference import DropGenSegmenter, IrisSegmenter
from dropiris.inference.reverse_check import reverse_check, see
from dropiris.inference.view_agreement import view_agreement
from dropiris.models.bundle import Bundle, change_card
from dropiris.models.catalogue import Catalogue
from dropiris.train.validate import as_reference, labelled_structures, spread_references
from dropiris.trust import TrustReport
from dropiris.volume import LabelMap, Volume

ROOT = Path(__file__).resolve().parents[2]
# A structure of which a crop left fewer voxels than this is not scored.
FEWEST = 30


@dataclass(frozen=True)
class Row:
    """One structure of one result; ``half`` 0 chooses the threshold, 1 is reported; ``parts`` of the trust by name."""

    data: str
    case: str
    half: int
    hard: str
    reference: str
    structure: str
    voxels: int
    trust: float
    dice: float
    parts: str = ""


class DropGenWay:
    """A DropGen model's results and their view agreement."""

    references = ("",)

    def __init__(self, bundle: Bundle):
        self.segmenter = DropGenSegmenter(bundle, "cpu")

    def take_references(self, dataset: Dataset, count: int) -> None: ...

    def result(self, volume: Volume, reference: str) -> tuple[LabelMap, TrustReport]:
        labels = self.segmenter.segment(volume)
        return labels, view_agreement(self.segmenter, volume, labels)


class IrisWay:
    """An Iris model's one-shot results and their reverse check."""

    def __init__(self, bundle: Bundle):
        self.segmenter = IrisSegmenter(bundle, "cpu")

    def take_references(self, dataset: Dataset, count: int) -> None:
        self._known = {}
        for case in spread_references([case for case in dataset.cases("Tr") if case.image], count):
            reference = as_reference(dataset, case)
            spacing = self.segmenter.working_spacings([reference])
            windows = self.segmenter.reference_windows(reference, spacing)
            task = self.segmenter.encode_windows(windows, reference.structures)
            seen = see(self.segmenter, task, windows, self.segmenter.atlas(reference))
            self._known[case.name] = (task, spacing, seen)

    @property
    def references(self) -> tuple[str, ...]:
        return tuple(self._known)

    def result(self, volume: Volume, reference: str) -> tuple[LabelMap, TrustReport]:
        task, spacing, seen = self._known[reference]
        labels = self.segmenter.segment(volume, task, atlases=[seen.atlas])
        return labels, reverse_check(self.segmenter, volume, labels, spacing, [seen])


def rows_of(way: DropGenWay | IrisWay, dataset: Dataset, case: Case, half: int, reference: str) -> Iterator[Row]:
    """Every annotated structure of a case, as it is and made hard."""
    volume, truth = case.read()
    assert volume is not None
    annotated = {plain(s.name): s.label for s in labelled_structures(dataset, case.name, truth.array)}
    for hard, harden in HARD.items():
        scan, labels = harden(volume, truth, np.random.default_rng(0))
        result, report = way.result(scan, reference)
        for structure in result.structures:
            value = report.values[structure.name]
            mask = labels.array == annotated.get(plain(structure.name), -1)
            if value is not None and mask.sum() >= FEWEST:
                ours = result.mask(structure)
                dice = float(2 * (ours & mask).sum() / (ours.sum() + mask.sum()))
                about = (dataset.name, case.name, half, hard, reference, structure.name)
                parts = "; ".join(f"{part} {share:.4f}" for part, share in report.parts.get(structure.name, {}).items())
                yield Row(*about, int(ours.sum()), round(value, 5), round(dice, 5), parts)


def plain(name: str) -> str:
    """Names as datasets and models write them: "hippocampus, anterior" and "anterior" are one."""
    return name.rsplit(", ", 1)[-1].replace("_", " ").lower()


def read_rows(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    kinds = {field.name: {"int": int, "float": float}.get(str(field.type), str) for field in fields(Row)}
    with path.open(newline="", encoding="utf-8") as file:
        return [Row(**{key: kinds[key](value) for key, value in row.items()}) for row in csv.DictReader(file)]


def write_rows(path: Path, rows: list[Row]) -> None:
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(map(asdict, rows))
    part.replace(path)


def measure(way: DropGenWay | IrisWay, sets: list[str], chosen: argparse.Namespace, path: Path) -> list[Row]:
    """All rows, those of an earlier call included."""
    rows = read_rows(path)
    done = {(row.data, row.case, row.reference) for row in rows}
    for words in sets:
        name, split, *other = words.split(":")
        dataset = Dataset.open(chosen.data / name)
        way.take_references(Dataset.open(chosen.data / (other[0] if other else name)), chosen.references)
        cases = [case for case in dataset.cases(split) if case.image][: chosen.cases or None]
        for number, case in enumerate(cases):
            # Many cases: each with one reference, in turn; few: each with all.
            turn = [way.references[number % len(way.references)]] if len(cases) > 4 else way.references
            for reference in turn:
                if (dataset.name, case.name, reference) in done:
                    continue
                began = time.process_time()
                rows += rows_of(way, dataset, case, number % 2, reference)
                write_rows(path, rows)
                print(f"{name} {case.name} {reference}: {time.process_time() - began:.1f} s", flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name, or model folder")
    parser.add_argument("sets", nargs="+", metavar="DATASET:SPLIT[:REFERENCES]")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=0, help="at most so many per dataset; 0 takes all")
    parser.add_argument("--references", type=int, default=3, help="of Iris, per dataset")
    parser.add_argument("--write", action="store_true", help="write threshold and figures into the model's card")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    try:
        bundle = Catalogue().find(chosen.model)
        bundle = Bundle.open(bundle.folder)
        chosen.out.mkdir(parents=True, exist_ok=True)
        way = (DropGenWay if bundle.card.method == "dropgen" else IrisWay)(bundle)
        rows = measure(way, chosen.sets, chosen, chosen.out / "trust.csv")
    except DropIrisError as problem:
        print(problem, file=sys.stderr)
        return 1
    figures = calibrate(rows, ", ".join(chosen.sets))
    print(json.dumps(figures, indent=2))
    draw(rows, figures, bundle.card.title, chosen.out / "trust.png")
    if figures["threshold"] is None:
        print(f"There are too few good results (Dice {GOOD_DICE} or more) to choose a threshold.", file=sys.stderr)
        return 1
    if chosen.write:
        change_card(bundle.folder, trust={key: value for key, value in figures.items() if value is not None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
