"""A whole small grid of ``dropiris benchmark dg``: trained, scored, reported, gone on with."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from dropiris.benchmark.dg_config import DomainBenchmark, evaluated, run_settings
from dropiris.benchmark.dg_result import DomainResult, mean_dice, read_result
from dropiris.benchmark.dg_tables import main_tables, score_shifts, seeds_table, sweep_table
from dropiris.benchmark.iris_config import InContextBenchmark
from dropiris.cli.main import app

SETTINGS = {"max_steps": 2, "window": [16, 16, 16], "base_width": 4, "downsamplings": 2, "spacing": [2, 2, 2]}
SETTINGS |= {"batch_size": 1, "accelerator": "cpu", "precision": "32-true", "workers": 0}


def call(*words):
    return CliRunner().invoke(app, ["benchmark", "dg", *map(str, words)])


@pytest.fixture(scope="module")
def grid(blob_dataset, tmp_path_factory):
    """The grid's file and what one call of it left: two methods, DropGen at two dropouts."""
    folder = tmp_path_factory.mktemp("grid")
    shift = {"name": "Blobs", "kind": "none", "data": blob_dataset.name, "test": {"cases": {"split": "Val"}}}
    grid = {"methods": ["dropgen", "erm"], "seeds": 1, "dropout": [0.0, 0.5], "shifts": [shift], "settings": SETTINGS}
    grid["shifts"][0]["validation"] = {"cases": {"split": "Val", "names": ["case10"]}}
    (folder / "grid.yaml").write_text(yaml.safe_dump(grid))
    words = ["--config", folder / "grid.yaml", "--data", blob_dataset.parent, "-o", folder / "runs"]
    done = call(*words)
    assert done.exit_code == 0, done.output
    return words, folder / "runs", done.stdout


def test_every_run_is_made_once_and_written(grid):
    _, runs, printed = grid
    results = sorted(runs.glob("*/*/result.json"))
    assert len(results) == 3 and "3/3 Blobs, dropgen p=0, seed 0" in printed
    names = {path.parent.name for path in results}
    assert {"dropgen-0-2-MIND-SSC", "erm-0-2-MIND-SSC", "dropgen-p-0-0-2-MIND-SSC"} <= names
    found = json.loads(results[0].read_text())
    assert set(found["test"]) == {"case10", "case11"} and set(found["validation"]) == {"case10"}
    assert all(0 <= dice <= 1 for case in found["test"].values() for dice in case.values())


def test_the_report_holds_every_score_and_every_table(grid):
    _, runs, _ = grid
    with (runs / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3 * 2  # runs, cases, structures
    text = (runs / "benchmark.md").read_text()
    for part in ("| method | Blobs (none) | avg. rank |", "| dataset | p = 0 | p = 0.5 |"):
        assert part in text
    page = (runs / "benchmark.html").read_text()
    assert page.count("data:image/svg+xml") == 2 and "Effect of the dropout probability" in page


def test_it_goes_on_where_it_stopped(grid):
    words, runs, _ = grid
    gone = runs / "blobs" / "erm-0-2-MIND-SSC"
    before = {path: path.read_bytes() for path in runs.glob("*/*/result.json")}
    shutil.rmtree(gone)
    only = call(*words, "--report-only")
    assert only.exit_code == 0 and not gone.exists()
    assert "1 of 3 runs have not been made" in (runs / "benchmark.md").read_text()
    again = call(*words)
    assert again.exit_code == 0 and again.stdout.count("from before") == 2
    after = {path: json.loads(path.read_text()) | {"seconds": 0} for path in runs.glob("*/*/result.json")}
    assert after == {path: json.loads(content) | {"seconds": 0} for path, content in before.items()}


def test_other_settings_and_cases_are_not_mixed_in(grid, tmp_path):
    words, _, _ = grid
    done = call(*words, "settings.learning_rate=0.1")
    assert done.exit_code == 1 and "made with learning_rate=0.0005, not 0.1" in done.output
    file = tmp_path / "grid.yaml"
    file.write_text(words[1].read_text().replace("case10", "case11"))
    done = call("--config", file, *words[2:], "--report-only")
    assert done.exit_code == 1 and "scored on other validation cases" in done.output


def test_what_cannot_be_used_is_said_before_the_first_run(grid, tmp_path):
    words, _, _ = grid
    for word, said in (("settings.windw=3", "windw"), ("shifts=[]", "shifts"), ("methods=['nothing']", "methods")):
        done = call(*words[:-1], tmp_path / "runs", word)
        assert done.exit_code in (1, 2) and said in done.output and not (tmp_path / "runs").exists()


GRIDS = sorted((Path(__file__).resolve().parents[2] / "training" / "configs" / "benchmark").glob("*.yaml"))


@pytest.mark.parametrize("file", GRIDS, ids=lambda file: file.stem)
def test_grids_that_ship_are_valid(file):
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    if "shifts" not in values:
        InContextBenchmark(**values)
        return
    benchmark = DomainBenchmark(**values)
    for shift in benchmark.shifts:
        assert evaluated(benchmark, shift, "validation", file.parent) and evaluated(
            benchmark, shift, "test", file.parent
        )
        settings = [run_settings(benchmark, shift, one, 0, file.parent) for one in benchmark.methods]
        assert [config.method for config in settings] == [one.name for one in benchmark.methods]
    if file.stem == "paper":
        few = next(shift for shift in benchmark.shifts if shift.name == "AMOS few shot")
        config = run_settings(benchmark, few, benchmark.methods[0], 0, file.parent)
        assert (config.max_steps, config.training.count, config.dropout) == (40000, 5, 0.75)


def test_results_of_the_earlier_script_are_read(tmp_path):
    scores = {"MR": {"a": {"liver": 0.5}}, "CT": {"b": {"liver": 0.25, "spleen": 0.75}, "c": {"liver": 0.75}}}
    row = {"method": "erm", "seed": 1, "steps": 700, "extractor": "MIND-SSC", "seconds": 9}
    (tmp_path / "result.json").write_text(json.dumps({**row, **scores}))
    found = read_result(tmp_path, "MR to CT", {"validation": "MR", "test": "CT"})
    assert (found.method, found.seed, found.validation) == ("erm", 1, scores["MR"])
    assert found.mean("test") == pytest.approx((0.5 + 0.75) / 2)


def result(shift, method, seed, test, dropout=None, validation=None):
    cases = {f"c{n}": {"organ": value} for n, value in enumerate(test)}
    checked = {"v": {"organ": validation}} if validation is not None else {}
    return DomainResult(shift, method, seed, 10, "MIND-SSC", 1.0, dropout, checked, cases)


def test_tables_have_the_papers_numbers():
    shifts = [{"name": name, "data": name, "setting": "all data"} for name in ("A", "B")]
    benchmark = DomainBenchmark(shifts=shifts, methods=["erm", "dropgen"], seeds=2, dropout=[0.25, 0.5])
    results = [
        result("A", "erm", 0, [0.2, 0.4]), result("A", "erm", 1, [0.4, 0.6]), result("B", "erm", 0, [0.9, 0.7]),
        result("A", "dropgen", 0, [0.6, 0.8], 0.5, 0.6), result("B", "dropgen", 0, [0.5, 0.5], 0.5, 0.7),
        result("A", "dropgen p=0.25", 0, [0.1, 0.1], 0.25, 0.65),
    ]  # fmt: skip
    scores = score_shifts(benchmark, results)
    (table,) = main_tables(benchmark, scores)
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    # Over seeds, ERM's two cases have 30 and 50: mean 40, standard error 10.
    assert rows == {"erm": ["40.0 (10.0)", "80.0 (10.0)", "1.5"], "dropgen": ["70.0 (10.0)", "50.0 (0.0)", "1.5"]}
    assert [cell.best for cell in table.rows[1][1:]] == [True, False, True]
    every = seeds_table(scores)
    assert every.head[-2:] == ["seed 0", "seed 1"]
    assert [cell.text for cell in every.rows[0]] == ["A, validation", "dropgen", "60.0", "60.0", "–"]
    assert ["A, test", "erm", "40.0 ± 14.1", "30.0", "50.0"] in [[cell.text for cell in row] for row in every.rows]
    sweep = sweep_table(benchmark, results)
    assert [[cell.text for cell in row] for row in sweep.rows] == [["A", "65.0", "60.0"], ["B", "–", "70.0"]]
    assert np.isnan(mean_dice({}))
