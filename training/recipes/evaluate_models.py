"""Score the models that ship: ``python evaluate_models.py [MODEL ...] [--data FOLDER] [--reports FOLDER]``.

Iris models stand in one table with two baselines, copying the mask and registration (``pip install antspyx``; without
it the column says so): five tasks, one reference each time. DropGen models segment the scans that their recipe holds
back and real brains. Then every score on a card is measured again. What an earlier call has measured is not measured
again unless weights or settings differ.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import dropgen_scores
import iris_table
from baselines import CentredMask, Registration
from card_check import differences, rows_again, unlisted
from iris_scores import IrisModel, Method, NotInstalled, PairScore, card_rows, measure
from iris_tasks import TASKS, IrisTask
from train_models import ROOT, read_recipe, recipe_file

from dropiris.errors import DropIrisError
from dropiris.evaluate.report import write_all
from dropiris.models.bundle import Bundle, change_card
from dropiris.models.catalogue import Catalogue
from dropiris.train.dropgen_config import DropGenConfig
from dropiris.train.iris_config import IrisConfig

METHODS = ("iris", "dropgen")  # other bundles hold features


def main() -> int:
    names = [task.name for task in TASKS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names or folders; default: every model here")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of nnU-Net datasets")
    parser.add_argument("--reports", type=Path, default=ROOT / "reports" / "evaluation")
    parser.add_argument("--tasks", nargs="*", default=names, choices=names, help="rows of the table of Iris")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--results", type=Path, help="file whose table of Iris is replaced, such as training/RESULTS.md"
    )
    parser.add_argument("--report-only", action="store_true", help="the table of Iris with what is measured; no more")
    parser.add_argument("--no-cards", action="store_true", help="leave out measuring the cards' scores again")
    parser.add_argument("--write", action="store_true", help="put scores on scans that a card does not list on it")
    chosen = parser.parse_args()
    try:
        bundles = find_models(chosen.models)
        tasks = [task for task in TASKS if task.name in chosen.tasks and task.available(chosen.data)]
        if not bundles or not any(chosen.data.glob("*/dataset.json")):
            what = "datasets" if bundles else "models"
            print(f"There are no {what} to evaluate; give datasets with --data, or train models.", file=sys.stderr)
            return 1
        iris_models = [bundle for bundle in bundles if bundle.card.method == "iris"]
        if iris_models and tasks:
            own = [IrisModel(bundle, chosen.device, align) for bundle in iris_models for align in (True, False)]
            methods = [CentredMask(), Registration(), *own]
            table = compare(tasks, methods, chosen.data, chosen.reports, chosen.report_only)
            if chosen.results:
                iris_table.put_section(chosen.results, table)
        if chosen.report_only:
            return 0
        wrong = [problem for bundle in bundles for problem in examine(bundle, chosen)]
    except DropIrisError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 1 if wrong else 0


def find_models(names: Sequence[str]) -> list[Bundle]:
    """The named models, or every one here that segments."""
    catalogue = Catalogue()
    usable = [entry for entry in catalogue.list() if entry.card and entry.folder and not entry.problem]
    everyone = [entry.name for entry in usable if entry.card and entry.card.method in METHODS]
    return [catalogue.find(name) for name in names or everyone]


def compare(
    tasks: Sequence[IrisTask], methods: Sequence[Method], data: Path, reports: Path, stored: bool = False
) -> str:
    """Measure what is missing, print the table and write it to ``iris.md`` and ``iris.csv``."""
    measured: dict[tuple[str, str], list[PairScore] | str] = {}
    for task in tasks:
        for method in methods:
            try:
                measured[task.name, method.name] = measure(method, task, data, reports / "iris", stored=stored)
            except NotInstalled as problem:
                measured[task.name, method.name] = str(problem)
    table = iris_table.markdown(tasks, methods, measured)
    csv = iris_table.structures_csv(tasks, methods, measured)
    write_all(reports, {"iris.md": table + "\n", "iris.csv": csv})
    print(f"\n{table}\n")
    return table


def examine(bundle: Bundle, chosen: argparse.Namespace) -> list[str]:
    """Scores beside those of training, and what on a card does not come out again."""
    config = recipe_of(bundle, chosen.data)
    rows = []
    if bundle.card.method == "dropgen":
        known = config if isinstance(config, DropGenConfig) else None
        for task in dropgen_scores.tasks_of(bundle, known, chosen.data):
            summary = dropgen_scores.evaluate(bundle, task, chosen.reports / "dropgen", chosen.device)
            rows += dropgen_scores.card_rows(task, summary)
            low, high = summary["overall"]["dice"]["interval"] or (float("nan"), float("nan"))
            print(f"{bundle.card.name} on {task.scored_as}: Dice {rows[-1]['value']:.3f} [{low:.2f}, {high:.2f}]")
    if bundle.card.method == "iris":
        # training measures validation splits itself
        for task in [task for task in TASKS if task.name in chosen.tasks and task.queries[1] != "Val"]:
            if task.available(chosen.data):
                pairs = measure(IrisModel(bundle, chosen.device), task, chosen.data, chosen.reports / "iris")
                rows += card_rows(task, pairs, chosen.data)
    if chosen.write and (new := unlisted(bundle.card.scores, rows)):
        change_card(bundle.folder, scores=[*bundle.card.scores, *new])
        bundle = Bundle.open(bundle.folder)
    if chosen.no_cards:
        return []
    if config is None:
        print(f"{bundle.card.name} has no recipe; its card is not measured again.")
        return []
    problems = differences(bundle.card.scores, [*rows, *rows_again(bundle, config, chosen.device)])
    print(
        f"{bundle.card.name}: {len(bundle.card.scores) - len(problems)} of {len(bundle.card.scores)} scores come again"
    )
    for problem in problems:
        print(f"  {problem}")
    return problems


def recipe_of(bundle: Bundle, data: Path) -> IrisConfig | DropGenConfig | None:
    """The recipe of that name."""
    return read_recipe(bundle.card.name, data) if recipe_file(bundle.card.name).is_file() else None


if __name__ == "__main__":
    sys.exit(main())
