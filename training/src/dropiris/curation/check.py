"""The check of one or more datasets: every case by itself, then all of them beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dropiris.curation.case_check import CaseRecord, check_case
from dropiris.curation.cohort import check_cohort
from dropiris.curation.dataset_table import DatasetTable, read_dataset_table
from dropiris.curation.duplicates import check_duplicates
from dropiris.curation.finding import Finding, by_severity
from dropiris.curation.layout import find_cases
from dropiris.curation.mirroring import check_mirroring
from dropiris.curation.relatives import check_relatives
from dropiris.errors import InputError
from dropiris.progress import Progress, ProgressCallback, ignore_progress

# From here on only suspect cases get a picture: 2,000 make a page of 40 MB, more than a browser likes.
MOST_PICTURES = 2000


@dataclass
class CheckedDataset:
    """One dataset and what was seen of its cases."""

    name: str
    folder: Path
    table: DatasetTable
    records: list[CaseRecord] = field(default_factory=list)


@dataclass(frozen=True)
class Check:
    """The result: datasets with their cases, and every finding, errors first."""

    datasets: tuple[CheckedDataset, ...]
    findings: tuple[Finding, ...]

    def count(self, severity: str) -> int:
        return sum(found.severity == severity for found in self.findings)


def check_datasets(
    folders: Sequence[Path], progress: ProgressCallback = ignore_progress, pictures: bool = True
) -> Check:
    """Check datasets in nnU-Net's raw layout, also against each other.

    One case is in memory at a time. A file that cannot be read is a finding, never the end.

    Raises
    ------
    InputError
        A folder does not exist, or two have the same name.
    """
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder; give a dataset in nnU-Net's raw layout.")
    names = [folder.resolve().name for folder in folders]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"Two datasets are called {twice[0]}; check them one after the other or rename one.")
    findings: list[Finding] = []
    datasets, todo = [], []
    for folder in folders:
        table, found = read_dataset_table(folder.resolve())
        cases, faults = find_cases(folder.resolve(), table)
        findings += [*found, *faults]
        datasets.append(CheckedDataset(folder.resolve().name, folder, table))
        todo += [(datasets[-1], files) for files in cases]
    shown = "none" if not pictures else "all" if len(todo) <= MOST_PICTURES else "suspect"
    for n, (dataset, files) in enumerate(todo):
        progress(Progress(f"{dataset.name} {files.name}", n / len(todo)))
        dataset.records.append(check_case(files, dataset.table, shown))
    for dataset in datasets:
        findings += [found for record in dataset.records for found in record.findings]
        findings += check_cohort(dataset.records, dataset.table, dataset.name)
        findings += check_relatives(dataset.records, dataset.name)
    records = [record for dataset in datasets for record in dataset.records]
    findings += [*check_mirroring(records), *check_duplicates(records)]
    return Check(tuple(datasets), tuple(by_severity(findings)))
