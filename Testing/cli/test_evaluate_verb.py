"""``dropiris evaluate``: scores that can be computed by hand, and the rules for what is absent."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from dropiris.volume import LabelMap, Structure

Run = Callable[..., Result]
SHAPE = (24, 20, 16)


def save(path: Path, array: np.ndarray, spacing: tuple[float, ...] = (1.0, 1.0, 2.0)) -> Path:
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array.astype(np.uint8), np.diag([*spacing, 1.0])), path)
    return path


def box(label: int, start: int = 4, stop: int = 12) -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[start:stop, 4:12, 4:10] = label
    return array


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = tmp_path / "Dataset"
    table = {"labels": {"background": 0, "liver": 1, "left_kidney": 2}, "partially_labelled": {"b": ["liver"]}}
    (root / "labelsTs").mkdir(parents=True)
    (root / "dataset.json").write_text(json.dumps(table))
    save(root / "labelsTs" / "a.nii.gz", np.maximum(box(1), box(2, 14, 20)))
    save(root / "labelsTs" / "b.nii.gz", box(1))
    return root


def rows_of(report: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (report / "scores.csv").open(encoding="utf-8", newline="") as file:
        return {(row["case"], row["structure"]): row for row in csv.DictReader(file)}


def test_perfect_and_shifted_predictions_score_as_by_hand(dropiris: Run, dataset: Path, tmp_path: Path) -> None:
    # a: liver perfect, kidney missed. b: liver shifted by 1 of 8 voxels; its kidney is not annotated.
    save(tmp_path / "pred" / "a.nii.gz", box(1))
    save(tmp_path / "pred" / "b.nii.gz", np.maximum(box(1, 5, 13), box(2, 14, 20)))
    done = dropiris(
        "evaluate", tmp_path / "pred", dataset / "labelsTs", "-o", tmp_path / "report", "--tolerance", 1, "--no-page"
    )
    assert done.exit_code == 0, done.output
    rows = rows_of(tmp_path / "report")
    assert rows.keys() == {("a", "liver"), ("a", "left_kidney"), ("b", "liver")}
    assert float(rows["a", "liver"]["dice"]) == 1 and float(rows["a", "liver"]["hd95_mm"]) == 0
    assert float(rows["b", "liver"]["dice"]) == pytest.approx(7 / 8, abs=1e-4)
    assert float(rows["b", "liver"]["hd95_mm"]) == 1 and float(rows["b", "liver"]["nsd_1mm"]) == 1
    kidney = rows["a", "left_kidney"]
    assert (kidney["note"], float(kidney["dice"]), kidney["hd95_mm"]) == ("missed", 0, "")
    assert float(rows["a", "liver"]["label_ml"]) == pytest.approx(8 * 8 * 6 * 2 / 1000)


def test_the_report_states_its_rules_and_what_was_left_out(dropiris: Run, dataset: Path, tmp_path: Path) -> None:
    for case in "ab":
        save(tmp_path / "pred" / f"{case}.nii.gz", box(1))
    dropiris("evaluate", tmp_path / "pred", dataset / "labelsTs", "-o", tmp_path / "report", "--no-page")
    report = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert report["partially_labelled"] == {"b": ["liver"]} and "undefined" in report["rules"]["empty"]
    liver, kidney = (report["structures"][name] for name in ("liver", "left_kidney"))
    assert liver["dice"] == {"mean": 1, "interval": [1, 1], "sd": 0, "median": 1, "n": 2, "undefined": 0}
    assert kidney["missed"] == 1 and (kidney["hd95_mm"]["n"], kidney["hd95_mm"]["undefined"]) == (0, 1)
    assert kidney["hd95_mm"]["mean"] is None and report["overall"]["dice"]["mean"] == 0.5
    assert report["failures"]["failed"] == [{"case": "a", "structure": "left_kidney", "dice": 0.0}]
    written = ["report.json", "scores.csv", "structures.csv"]
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == written


def test_absent_and_invented_structures_follow_the_rule(dropiris: Run, dataset: Path, tmp_path: Path) -> None:
    save(dataset / "labelsTs" / "c.nii.gz", box(1))
    save(tmp_path / "pred" / "c.nii.gz", np.maximum(box(1), box(2, 14, 20)))
    save(tmp_path / "empty" / "c.nii.gz", box(1))
    for folder, note, dice in (("pred", "invented", "0"), ("empty", "absent", "")):
        labels = dataset / "labelsTs"
        done = dropiris("evaluate", tmp_path / folder, labels, "-o", tmp_path / "r", "--ignore-missing", "--no-page")
        assert done.exit_code == 0, done.output
        row = rows_of(tmp_path / "r")["c", "left_kidney"]
        assert (row["note"], row["dice"], row["hd95_mm"]) == (note, dice, "")


def test_structures_are_matched_by_name_not_by_number(dropiris: Run, dataset: Path, tmp_path: Path) -> None:
    from dropiris.files import write_labels

    array = np.maximum(box(2), box(1, 14, 20))
    structures = (Structure(1, "Left kidney"), Structure(2, "liver"))
    for name in ("a.seg.nrrd", "a.nii.gz"):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        write_labels(LabelMap(array, np.diag([1.0, 1, 2, 1]), structures), folder / name)
        done = dropiris("evaluate", folder, dataset / "labelsTs", "-o", tmp_path / "r", "--ignore-missing", "--no-page")
        assert done.exit_code == 0, done.output
        assert {row["dice"] for row in rows_of(tmp_path / "r").values()} == {"1"}


def test_two_files_that_call_everything_differently_are_not_a_row_of_zeros(
    dropiris: Run, dataset: Path, tmp_path: Path
) -> None:
    from dropiris.files import write_labels

    (tmp_path / "pred").mkdir()
    found = LabelMap(box(1), np.diag([1.0, 1, 2, 1]), (Structure(1, "hepar"),))
    write_labels(found, tmp_path / "pred" / "b.seg.nrrd")
    words = [tmp_path / "pred", dataset / "labelsTs", "-o", tmp_path / "r", "--no-page", "--ignore-missing"]
    done = dropiris("evaluate", *words)
    assert done.exit_code == 1 and "b.seg.nrrd has hepar, but the labels are called liver" in done.stderr
    assert dropiris("evaluate", *words, "--by-value").exit_code == 0
    assert rows_of(tmp_path / "r")["b", "liver"]["dice"] == "1"


def test_two_files_without_names_are_compared_by_value(dropiris: Run, tmp_path: Path) -> None:
    one, two = save(tmp_path / "p.nii.gz", box(3)), save(tmp_path / "l.nii.gz", box(3))
    done = dropiris("evaluate", one, two, "-o", tmp_path / "r", "--no-page")
    assert done.exit_code == 0, done.output
    assert [row["dice"] for row in rows_of(tmp_path / "r").values()] == ["1"]


def test_two_results_on_the_same_cases_are_compared_on_one_page(dropiris: Run, dataset: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for case in "ab":
        truth = box(1) if case == "b" else np.maximum(box(1), box(2, 14, 20))
        save(tmp_path / "good" / f"{case}.nii.gz", truth)
        save(tmp_path / "bad" / f"{case}.nii.gz", np.roll(truth == 1, 3, 1))
        save(tmp_path / "scans" / f"{case}_0000.nii.gz", 40 * truth + rng.integers(0, 20, truth.shape))
    words = [tmp_path / "good", dataset / "labelsTs", "-o", tmp_path / "r", "--images", tmp_path / "scans"]
    done = dropiris("evaluate", *words, "--against", tmp_path / "bad", "--worst", 1)
    assert done.exit_code == 0, done.output
    assert "Dice of liver: +0.375 against the second result" in done.stdout.replace("\n", " ")
    with (tmp_path / "r" / "comparison.csv").open(encoding="utf-8", newline="") as file:
        lines = {(line["metric"], line["structure"]): line for line in csv.DictReader(file)}
    assert lines["dice", "liver"]["better"] == "2" and ("hd95_mm", "left_kidney") not in lines
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 4 and "no scan was given" not in page
    assert "http" not in page.partition("<main>")[2].replace("data:image/svg+xml", "")


def test_regions_and_ignored_voxels_of_nnunet_are_understood(dropiris: Run, dataset: Path, tmp_path: Path) -> None:
    table = {"labels": {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}}
    (dataset / "dataset.json").write_text(json.dumps(table))
    truth = np.maximum(box(1), box(2, 12, 16))
    truth[18:] = 3
    save(dataset / "labelsTs" / "a.nii.gz", truth)
    predicted = np.maximum(box(1), box(2, 12, 16))
    predicted[18:22] = 2  # nobody said what is there
    save(tmp_path / "pred" / "a.nii.gz", predicted)
    done = dropiris(
        "evaluate", tmp_path / "pred", dataset / "labelsTs", "-o", tmp_path / "r", "--ignore-missing", "--no-page"
    )
    assert done.exit_code == 0, done.output
    rows = rows_of(tmp_path / "r")
    assert {name: rows["a", name]["dice"] for name in ("whole", "core")} == {"whole": "1", "core": "1"}
    assert float(rows["a", "whole"]["label_ml"]) == pytest.approx(12 * 8 * 6 * 2 / 1000)


def test_a_case_without_prediction_can_count_as_a_failure(dropiris: Run, dataset: Path, tmp_path: Path) -> None:
    save(tmp_path / "pred" / "a.nii.gz", np.maximum(box(1), box(2, 14, 20)))
    labels = dataset / "labelsTs"
    done = dropiris("evaluate", tmp_path / "pred", labels, "-o", tmp_path / "r", "--missing-fails", "--no-page")
    assert done.exit_code == 0, done.output
    assert rows_of(tmp_path / "r")["b", "liver"]["note"] == "missed" and "1 with a Dice below 0.5" in done.stdout


def test_what_cannot_be_compared_is_one_sentence_and_leaves_no_report(
    dropiris: Run, dataset: Path, tmp_path: Path
) -> None:
    save(tmp_path / "few" / "a.nii.gz", box(1))
    save(tmp_path / "grid" / "a.nii.gz", box(1), (1.0, 1.0, 1.0))
    save(tmp_path / "names" / "x.nii.gz", box(1))
    for folder, words in (
        ("few", "--ignore-missing"),
        ("grid", "another grid"),
        ("names", "No file"),
        ("no", "not exist"),
    ):
        options = ["--ignore-missing"] if folder == "grid" else []
        done = dropiris("evaluate", tmp_path / folder, dataset / "labelsTs", "-o", tmp_path / "r", *options)
        assert done.exit_code == 1 and words in done.stderr, done.output
        assert len(done.stderr.strip().splitlines()) == 1 and not (tmp_path / "r").exists()
