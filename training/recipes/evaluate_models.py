"""Score the models that ship: ``python evaluate_models.py [MODEL ...] [--data FOLDER] [--reports FOLDER]``.

Every DropGen model segments the held-back cases (Val, Ts) of each dataset that has one of its structures; Iris
segments those of every dataset with one labelled reference, the middle training case. Reports are those of
`dropiris evaluate`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dropiris.data.nnunet import Case, Dataset
from dropiris.errors import DropIrisError
from dropiris.evaluate.cases import CasePair, plain_name, read_table
from dropiris.evaluate.metrics import metrics_of
from dropiris.evaluate.overlays import worst_cases
from dropiris.evaluate.report import write_report
from dropiris.evaluate.report_page import report_page
from dropiris.evaluate.score import CaseScore, score_case
from dropiris.evaluate.summary import summarise
from dropiris.files import write_labels
from dropiris.inference import DropGenSegmenter, IrisSegmenter
from dropiris.models.bundle import Bundle
from dropiris.models.catalogue import Catalogue
from dropiris.train.validate import as_reference
from dropiris.volume import LabelMap, Volume

ROOT = Path(__file__).resolve().parents[2]
Predict = Callable[[Volume], LabelMap]


def predictor(segmenter: DropGenSegmenter | IrisSegmenter, dataset: Dataset) -> tuple[Predict | None, list[str]]:
    """How this model segments this dataset and which of its structures, or None where it has nothing to say."""
    if isinstance(segmenter, DropGenSegmenter):
        known = {plain_name(s.name) for s in segmenter.structures}
        shared = [name for name in dataset.structures if plain_name(name) in known]
        return (segmenter.segment if shared else None), shared
    training = [case for case in dataset.cases("Tr") if case.image]
    if not training:
        return None, []
    reference = as_reference(dataset, training[len(training) // 2])
    task = segmenter.encode([reference])
    return partial(segmenter.segment, task=task), [s.name for s in reference.structures]


def evaluate(bundle: Bundle, dataset: Dataset, cases: list[Case], reports: Path) -> None:
    """Segment and score; predictions and report go below ``reports``."""
    kind = DropGenSegmenter if bundle.card.method == "dropgen" else IrisSegmenter
    predict, structures = predictor(kind(bundle), dataset)
    if predict is None:
        return
    folder = reports / bundle.card.name / dataset.name
    (folder / "predictions").mkdir(parents=True, exist_ok=True)
    rows: list[CaseScore] = []
    table, metrics, pairs = read_table(cases[0].labels), metrics_of(), []
    for case in cases:
        volume, _ = case.read()
        if volume is None:
            continue
        prediction = folder / "predictions" / f"{case.name}.nii.gz"
        write_labels(predict(volume), prediction)
        pairs.append(CasePair(case.name, prediction, case.labels))
        rows += score_case(pairs[-1], table, structures=structures)
    summary = summarise(rows, metrics, table)
    scans = {case.name: case.image for case in cases if case.image}
    pictures = worst_cases(pairs, rows, table, scans)
    page = report_page(summary, rows, metrics, pictures, f"{bundle.card.name} on {dataset.name}")
    write_report(folder, rows, metrics, summary, page=page)
    dice, hd95 = (summary["overall"][key]["mean"] for key in ("dice", "hd95_mm"))
    scores = "nothing to score" if dice is None else f"Dice {dice:.3f}" + (f", HD95 {hd95:.1f} mm" if hd95 else "")
    print(f"{bundle.card.name} on {dataset.name}: {scores}, {summary['cases']} cases, {len(structures)} structures")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names; default: every model here")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of nnU-Net datasets")
    parser.add_argument("--reports", type=Path, default=ROOT / "reports")
    parser.add_argument("--cases", type=int, default=5, help="at most so many per dataset; 0 takes all")
    chosen = parser.parse_args()
    try:
        catalogue = Catalogue()
        usable = [entry for entry in catalogue.list() if entry.card and entry.folder and not entry.problem]
        names = chosen.models or [entry.name for entry in usable if entry.card.method != "extractor"]
        folders = [path.parent for path in sorted(chosen.data.glob("*/dataset.json"))]
        if not folders or not names:
            what = "datasets" if names else "models"
            print(f"There are no {what} to evaluate; give datasets with --data, or train models.", file=sys.stderr)
            return 1
        for name in names:
            for dataset in map(Dataset.open, folders):
                cases = [case for case in [*dataset.cases("Val"), *dataset.cases("Ts")] if case.image]
                if cases:
                    evaluate(catalogue.find(name), dataset, cases[: chosen.cases or None], chosen.reports)
    except DropIrisError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
