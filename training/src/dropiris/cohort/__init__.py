"""Cohorts: thousands of scans through one model, on one machine or on a Ray cluster, so that nothing is lost.

A cohort is a folder of scans and a folder of results. Beside the results lie ``cohort.jsonl`` (one line per finished
attempt, the memory from which a broken run goes on) and ``cohort.csv`` (one row per case, for people). No torch here
until a model is opened.
"""

from dropiris.cohort.case import Case, CaseRecord
from dropiris.cohort.journal import Journal
from dropiris.cohort.run import Crew, run_cohort

__all__ = ["Case", "CaseRecord", "Crew", "Journal", "run_cohort"]
