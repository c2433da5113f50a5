"""Intervals, tests and failure rates of a report: against textbook values and by simulation."""

import numpy as np
import pytest
from scipy import stats

from dropiris.evaluate.cases import DatasetTable
from dropiris.evaluate.comparison import ALL, compare, holm, signed_rank
from dropiris.evaluate.intervals import mean_interval, rate_interval, structures_interval, structures_mean
from dropiris.evaluate.metrics import DICE, VOLUME_SHARE
from dropiris.evaluate.score import CaseScore
from dropiris.evaluate.summary import case_dice, summarise


def row(case, structure, dice, volume=0.0, note=""):
    return CaseScore(case, structure, {"dice": dice, "volume_error_percent": volume}, 1.0, 1.0, note)


def test_intervals_cover_the_mean_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    draws = [rng.beta(8, 2, 30) for _ in range(120)]
    covered = sum(low <= 0.8 <= high for low, high in map(mean_interval, draws))
    assert 105 <= covered <= 120  # 114 of 120 are expected
    t = stats.t.interval(0.95, 29, draws[0].mean(), stats.sem(draws[0]))
    assert mean_interval(draws[0]) == pytest.approx(t, abs=0.01)


def test_intervals_of_little():
    assert mean_interval(np.array([0.5])) is None
    assert mean_interval(np.array([0.5, 0.5, 0.5])) == (0.5, 0.5)
    assert rate_interval(0, 0) is None
    assert rate_interval(2, 10) == pytest.approx((0.0567, 0.5098), abs=1e-3)  # Wilson's, as tabulated


def test_a_structure_that_few_cases_show_counts_as_much():
    table = np.array([[1.0, 0.0], [0.8, np.nan], [0.9, np.nan], [np.nan, np.nan]])
    assert structures_mean(table) == pytest.approx((0.9 + 0.0) / 2)
    low, high = structures_interval(table)
    assert low < 0.45 < high


def test_holm_is_the_textbooks_step_down():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.7, 0.9]) == [1.0, 1.0]


def test_wilcoxon_of_six_gains_and_of_nothing():
    first = np.array([0.9, 0.8, 0.85, 0.7, 0.95, 0.6])
    second = first - np.arange(1, 7) / 100
    assert signed_rank(first, second) == pytest.approx(2 / 2**6)
    assert signed_rank(first, first) == 1.0


def test_two_results_are_compared_pair_by_pair():
    cases = [f"c{n}" for n in range(8)]
    good = [row(case, name, 0.8 + n / 100, -5.0) for n, case in enumerate(cases) for name in ("liver", "spleen")]
    bad = [row(r.case, r.structure, r.values["dice"] - (0.1 if r.structure == "liver" else 0.0), 10.0) for r in good]
    found = {(c.metric, c.structure): c for c in compare(good, bad, (DICE, VOLUME_SHARE))}
    liver = found["dice", "liver"]
    assert (liver.cases, liver.better, liver.worse) == (8, 8, 0)
    assert liver.difference == pytest.approx(0.1) and liver.p == pytest.approx(2 / 2**8)
    assert liver.p_holm == pytest.approx(3 * liver.p)  # two structures and their mean
    assert found["dice", "spleen"].p == 1 and found["dice", ALL].difference == pytest.approx(0.05)
    # An error of -5 % is smaller than one of +10 %.
    assert found["volume_error_percent", "liver"].difference == pytest.approx(-5)
    assert found["volume_error_percent", "liver"].better == 8


def test_what_one_result_lacks_is_not_paired_but_counted():
    first = [row(f"c{n}", "liver", 0.9) for n in range(3)]
    second = [row(f"c{n}", "liver", 0.8) for n in range(1, 3)]
    (found,) = compare(first, second, (DICE,))
    assert (found.cases, found.unpaired) == (2, 1)


def test_failures_are_counted_by_the_stated_rule():
    rows = [
        row("a", "liver", 0.9),
        row("a", "spleen", 0.0, note="missed"),
        row("b", "liver", 0.49),
        row("c", "liver", 0.7),
    ]
    rows.append(row("c", "spleen", float("nan"), note="absent"))
    summary = summarise(rows, (DICE,), DatasetTable())
    assert summary["failures"]["cases"]["count"] == 2 and summary["failures"]["cases"]["of"] == 3
    assert summary["failures"]["structures"]["of"] == 4 and "below 0.5" in summary["rules"]["failure"]
    assert summary["structures"]["spleen"]["failed"]["count"] == 1
    assert list(case_dice(rows)) == ["a", "b", "c"]
    assert summarise(rows, (DICE,), DatasetTable(), failure=0.3)["failures"]["cases"]["count"] == 1
