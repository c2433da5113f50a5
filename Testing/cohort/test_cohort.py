"""Cohorts on one machine: nothing lost, nothing twice, every failure named. Seconds, without torch."""

import csv
import json
import os

import numpy as np
import pytest
from threshold_recipe import ThresholdRecipe

from dropiris.cohort import Case, CaseRecord, Journal, run_cohort
from dropiris.cohort.case import CHANGED, DONE, FAILED, WAITING
from dropiris.cohort.one_machine import OneMachine
from dropiris.errors import InputError
from dropiris.files import read_labels, read_volume, write_labels, write_volume


def go(cohort, stop_after=None, **recipe):
    """One run; returns its summary and the cases in the order they ended."""
    cases, scans, results = cohort
    ended, made = [], ThresholdRecipe(scans, **recipe)

    def tell(record, number, total):
        ended.append((record.case, record.status))
        if len(ended) == stop_after:
            raise KeyboardInterrupt

    with Journal(results, cases) as journal:
        summary = run_cohort(cases, made, lambda count: OneMachine(made), journal, tell=tell)
    return summary, ended


def table(results):
    with open(results / "cohort.csv", newline="", encoding="utf-8-sig") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def lines(results):
    return [json.loads(line) for line in (results / "cohort.jsonl").read_text().splitlines()]


def test_every_case_has_a_row_and_the_one_that_failed_says_why(cohort):
    summary, _ = go(cohort)
    assert (summary.done, summary.failed) == (4, 1)
    rows = table(cohort[2])
    assert list(rows) == list("abcde")
    assert [rows[name]["status"] for name in "abcde"] == [DONE, DONE, FAILED, DONE, DONE]
    assert [float(rows[name]["bright mL"]) for name in "abde"] == pytest.approx([0.01, 0.02, 0.04, 0.05])
    assert "c.nii.gz" in rows["c"]["error"] and "copy or export it again" in rows["c"]["error"]
    assert rows["c"]["attempts"] == "1", "a damaged file does not heal by trying again"


def test_a_run_that_goes_on_does_what_is_missing_and_nothing_else(cohort):
    with pytest.raises(KeyboardInterrupt):
        go(cohort, stop_after=2)
    assert [row["status"] for row in table(cohort[2]).values()] == [DONE, DONE, WAITING, WAITING, WAITING]
    summary, ended = go(cohort)
    assert [name for name, _ in ended] == list("cde") and summary.skipped == 2
    summary, ended = go(cohort)
    assert ended == [("c", FAILED)], "only what failed is tried again"
    assert [line["case"] for line in lines(cohort[2]) if line["status"] == DONE] == list("abde")


def test_other_settings_another_scan_or_a_lost_result_are_segmented_anew(cohort):
    cases, scans, _ = cohort
    go(cohort)
    volume = read_volume(scans / "a.nii.gz")
    write_volume(type(volume)(volume.array + 1, volume.affine), scans / "a.nii.gz")  # another scan of that name
    cases[1].result.unlink()
    cases[3].result.write_bytes(cases[3].result.read_bytes()[:-20])  # cut short
    os.utime(scans / "e.nii.gz", (1, 1))  # copied: another time, the same voxels
    _, ended = go(cohort)
    assert [name for name, status in ended if status == DONE] == ["a", "b", "d"]
    _, ended = go(cohort, digest="threshold 160")
    assert [name for name, status in ended if status == DONE] == list("abde")


def test_a_result_that_a_person_corrected_is_kept(cohort):
    cases, _, results = cohort
    go(cohort)
    (labels,) = read_labels(cases[0].result)
    corrected = labels.array.copy()
    corrected[5, 5, 5] = 1
    write_labels(type(labels)(corrected, labels.affine, labels.structures), cases[0].result)
    summary, ended = go(cohort, digest="threshold 160")
    assert "a" not in [name for name, _ in ended] and summary.changed == 1
    assert np.array_equal(read_labels(cases[0].result)[0].array, corrected)
    assert table(results)["a"]["status"] == CHANGED
    assert go(cohort, digest="threshold 160")[0].changed == 1, "and still at the next run"


def test_a_disk_that_is_full_once_is_tried_again_and_one_that_stays_full_stops_the_run(cohort):
    _, scans, results = cohort
    (scans / "b.full").touch()
    summary, _ = go(cohort)
    assert summary.done == 4 and "No space left" in table(results)["b"]["notes"]
    assert table(results)["b"]["attempts"] == "2"
    for name in "abde":
        (results / f"{name}.nii.gz").unlink()
        (scans / f"{name}.full").touch()
    with pytest.raises(InputError, match="is full; free some space and run the same command"):
        go(cohort)
    assert go(cohort)[0].done == 4


def test_a_journal_survives_a_crash_in_the_middle_of_a_line_and_a_full_disk(cohort, monkeypatch):
    cases, _, results = cohort
    go(cohort)
    text = (results / "cohort.jsonl").read_text()
    (results / "cohort.jsonl").write_text(text[:-30])
    (results / ".0123abcd.nii.gz").touch()  # of a worker that was killed
    assert [name for name, status in go(cohort)[1] if status == DONE] == ["e"]
    assert not (results / ".0123abcd.nii.gz").exists()
    failing = iter([OSError(28, "No space left on device"), None, None])

    def once(descriptor):
        problem = next(failing, None)
        if problem:
            raise problem

    monkeypatch.setattr(os, "fsync", once)
    with Journal(results, cases) as journal:
        for case in cases[:2]:
            journal.add(CaseRecord.of(case, FAILED, error=f"second thoughts about {case.name}"))
    with Journal(results, cases) as journal:
        assert [journal.records[n].error for n in "ab"] == ["second thoughts about a", "second thoughts about b"]


def test_two_runs_do_not_share_a_folder(cohort):
    cases, _, results = cohort
    with Journal(results, cases), pytest.raises(InputError, match="Another run writes to"), Journal(results, cases):
        pass


def test_cases_are_named_by_their_results(tmp_path):
    assert Case(tmp_path / "x", tmp_path / "case.1.seg.nrrd").name == "case.1"
