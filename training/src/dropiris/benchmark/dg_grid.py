"""The runs of a domain generalization benchmark: planned, made, and gone on with where they stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dropiris.benchmark.dg_config import (
    SWEPT,
    Contender,
    DomainBenchmark,
    Shift,
    evaluated,
    folder_name,
    is_plain_dropgen,
    run_settings,
)
from dropiris.benchmark.dg_result import ROLES, DomainResult, Scores, read_result, write_result
from dropiris.data.nnunet import Case, Dataset
from dropiris.data.selection import Selection
from dropiris.errors import DropIrisError, InputError
from dropiris.evaluate.cases import plain_name
from dropiris.models.bundle import Bundle
from dropiris.train.dropgen_config import DropGenConfig
from dropiris.train.preemption import Preempted

log = logging.getLogger("dropiris.benchmark")


@dataclass(frozen=True)
class PlannedRun:
    """One run, and the cases its model is scored on: role to (dataset folder, selection)."""

    shift: Shift
    contender: Contender
    config: DropGenConfig
    folder: Path
    scored: dict[str, tuple[Path, Selection]]

    @property
    def dropout(self) -> float | None:
        config = self.config
        return config.dropout if config.method == "dropgen" and config.ablation != "no-dropout" else None


def plan_grid(benchmark: DomainBenchmark, output: Path, beside: Path) -> list[PlannedRun]:
    """Every run of the grid, seed by seed, so that an early stop leaves whole rows.

    A swept dropout that a contender has anyway is not a run of its own.

    Raises
    ------
    InputError
        A dataset, recipe or setting that cannot be used: before the first run, not after a night.
    """
    runs: dict[Path, PlannedRun] = {}
    for seed in benchmark.seeds:
        for shift in benchmark.shifts:
            scored = {role: found for role in ROLES if (found := evaluated(benchmark, shift, role, beside)) is not None}
            if not scored:
                raise InputError(f"{shift.name} names no cases to score; give it a test, or a recipe that has one.")
            for contender in [*benchmark.methods, *_sweep(benchmark, shift, beside)]:
                config = run_settings(benchmark, shift, contender, seed, beside)
                run = PlannedRun(shift, contender, config, _folder(output, shift, contender, config), scored)
                runs[run.folder] = run
    for run in {run.shift.name: run for run in runs.values()}.values():
        _check_data(run)
    return list(runs.values())


def _sweep(benchmark: DomainBenchmark, shift: Shift, beside: Path) -> list[Contender]:
    """DropGen at the dropouts that no contender has."""
    had = set()
    for contender in benchmark.methods:
        config = run_settings(benchmark, shift, contender, 0, beside)
        if is_plain_dropgen(contender):
            had.add(config.dropout)
    return [
        Contender(name=f"{SWEPT}{p:g}", settings={"method": "dropgen", "dropout": p})
        for p in benchmark.dropout
        if p not in had
    ]


def _folder(output: Path, shift: Shift, contender: Contender, config: DropGenConfig) -> Path:
    name = f"{folder_name(contender.name)}-{config.seed}-{config.max_steps}-{Path(config.extractor).stem}"
    earlier = output / name  # where a grid of one shift stood before shifts had folders
    return earlier if (earlier / "config.yaml").is_file() else output / folder_name(shift.name) / name


def _check_data(run: PlannedRun) -> None:
    trained = Dataset.open(run.config.data[0])
    run.config.training.cases(trained)
    for role, (folder, selection) in run.scored.items():
        dataset = _shared(Dataset.open(folder), trained)
        if not [case for case in selection.cases(dataset) if case.image]:
            raise InputError(f"{run.shift.name}: {folder} has no {role} cases in images{selection.split}; correct it.")


def _cases(run: PlannedRun, role: str) -> list[str]:
    """What a run's scored cases are called."""
    folder, selection = run.scored[role]
    return [_called(case, selection) for case in selection.cases(Dataset.open(folder)) if case.image]


def read_grid(runs: list[PlannedRun]) -> Iterator[DomainResult]:
    """Results that are there already."""
    for run in runs:
        found = finished(run)
        if found is not None:
            yield found


def finished(run: PlannedRun) -> DomainResult | None:
    """The run's result if it was made with the same settings; None if there is none yet.

    Raises
    ------
    InputError
        The folder holds a run with other settings: mixing them would make a table of nothing.
    """
    from dropiris.train.planning import planned
    from dropiris.train.stored_config import changed_settings

    if (run.folder / "config.yaml").is_file():
        config = planned(run.config, Dataset.open(run.config.data[0]))
        # A dataset may have moved; what the model is called and told at its end changes no score.
        ignored = {"data", "name", "version", "title", "card", "test", "validation_cases", "checkpoint_every"}
        for key, (then, now) in changed_settings(config, run.folder).items():
            if key not in ignored:
                raise InputError(
                    f"{run.folder} was made with {key}={then}, not {now}; choose another output or remove that run."
                )
    found = read_result(run.folder, run.shift.name, {role: folder.name for role, (folder, _) in run.scored.items()})
    if found is None:
        return None
    for role in run.scored:
        if set(getattr(found, role)) != set(_cases(run, role)):
            raise InputError(
                f"{run.folder} was scored on other {role} cases; remove its result.json to score them, or choose "
                "another output."
            )
    # Earlier results do not say what they are called here.
    return replace(found, method=run.contender.name, dropout=run.dropout)


def run_grid(runs: list[PlannedRun], tell: Callable[[str], None]) -> tuple[list[DomainResult], list[str]]:
    """Make what is missing; returns all results and a sentence for each run that failed."""
    results, failures = [], []
    for number, run in enumerate(runs, start=1):
        what = f"{number}/{len(runs)} {run.shift.name}, {run.contender.name}, seed {run.config.seed}"
        try:
            result = finished(run)
            made = result is None
            result = result or make(run)
        except Preempted:
            raise
        except DropIrisError as problem:
            failures.append(f"{what}: {problem}")
            tell(f"{what}: failed: {problem}")
            continue
        results.append(result)
        means = [f"{role} {100 * result.mean(role):.1f}" for role in ROLES if getattr(result, role)]
        tell(f"{what}: {', '.join(means)}" + (f" ({result.seconds:.0f} s)" if made else " (from before)"))
    return results, failures


def make(run: PlannedRun) -> DomainResult:
    """Train (or go on training), score every case, write ``result.json``."""
    from dropiris.train import train_dropgen

    started = time.perf_counter()
    bundle = train_dropgen(run.config, run.folder)
    seconds = round(time.perf_counter() - started, 1)
    scores = {role: score_cases(bundle, run.config, *found) for role, found in run.scored.items()}
    config = run.config
    result = DomainResult(
        shift=run.shift.name,
        method=run.contender.name,
        seed=config.seed,
        steps=config.max_steps,
        extractor=config.extractor,
        seconds=seconds,
        dropout=run.dropout,
        **scores,
    )
    write_result(run.folder, result)
    return result


def score_cases(bundle: Bundle, config: DropGenConfig, folder: Path, selection: Selection) -> Scores:
    """Dice of every annotated structure of every case that the model was trained to find."""
    from dropiris.inference import DropGenSegmenter
    from dropiris.train.validate import dice_per_structure

    trained = Dataset.open(config.data[0])
    dataset = _titled(_shared(Dataset.open(folder), trained), config)
    device = {"cpu": "cpu", "cuda": "cuda", "gpu": "cuda", "mps": "mps"}.get(config.accelerator, "auto")
    segmenter = DropGenSegmenter(bundle, device)
    cases = [case for case in selection.cases(dataset) if case.image]
    return {_called(case, selection): dice_per_structure(dataset, case, segmenter.segment) for case in cases}


def _called(case: Case, selection: Selection) -> str:
    """Channels of a case are scans of their own."""
    if len(selection.channels) == 1 or case.image is None:
        return case.name
    return case.image.name.removesuffix(".nii.gz")


def _shared(dataset: Dataset, trained: Dataset) -> Dataset:
    """Structures that both datasets have, called as the trained one calls them."""
    known = {plain_name(name): name for name in trained.structures}
    called = {name: known[plain_name(name)] for name in dataset.structures if plain_name(name) in known}
    if not called:
        raise InputError(f"{dataset.folder} has none of the structures of {trained.folder}; name them alike.")
    structures = {called[name]: value for name, value in dataset.structures.items() if name in called}
    partial = {
        case: [called[name] for name in names if name in called] for case, names in dataset.partially_labelled.items()
    }
    return replace(dataset, structures=structures, partially_labelled=partial)


def _titled(dataset: Dataset, config: DropGenConfig) -> Dataset:
    """Structures called as the bundle calls them."""
    from dropiris.train.export import title_of

    called = {name: title_of(name, config) for name in dataset.structures}
    structures = {called[name]: value for name, value in dataset.structures.items()}
    partial = {case: [called[name] for name in names] for case, names in dataset.partially_labelled.items()}
    return replace(dataset, structures=structures, partially_labelled=partial)
