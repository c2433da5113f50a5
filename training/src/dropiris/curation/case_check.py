"""One case, looked at by itself: every file read once, one at a time, and whatever is broken named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dropiris.curation.dataset_table import DatasetTable
from dropiris.curation.finding import Finding
from dropiris.curation.fingerprint import Fingerprint, fingerprint
from dropiris.curation.grid import Grid, disagreement, header_faults, read_voxels
from dropiris.curation.intensities import Intensities, examine_intensities, intensity_faults
from dropiris.curation.labels import count_labels, examine_labels, structures_of, whole_numbers
from dropiris.curation.layout import CaseFiles
from dropiris.curation.three_planes import three_planes
from dropiris.errors import InputError
from dropiris.evaluate.page import photo_uri
from dropiris.references.extent import Extent
from dropiris.volume import LabelMap, Volume


@dataclass
class CaseRecord:
    """What is kept of a case after it was looked at: a few kilobytes, so that thousands fit into memory.

    Attributes
    ----------
    files : CaseFiles
    grid : Grid or None
        Of the first channel, or of the labels where there is no image.
    intensities, prints : dict
        By channel.
    labels_print : Fingerprint or None
    label_type : str
        Type that the labels are stored in, such as "uint8"; "" without readable labels.
    counts : dict or None
        Voxels of each label value; None when there are no readable labels.
    extents : tuple of Extent
    picture : str
        Three slices as a ``data:`` URI (JPEG, about 20 kB), or "".
    findings : list of Finding
    """

    files: CaseFiles
    grid: Grid | None = None
    intensities: dict[int, Intensities] = field(default_factory=dict)
    prints: dict[int, Fingerprint] = field(default_factory=dict)
    labels_print: Fingerprint | None = None
    label_type: str = ""
    counts: Mapping[int, int] | None = None
    extents: tuple[Extent, ...] = ()
    picture: str = ""
    findings: list[Finding] = field(default_factory=list)

    @property
    def name(self) -> str:
        """ "Tr/case" """
        return f"{self.files.split}/{self.files.name}"

    def say(self, severity: str, topic: str, sentence: str) -> None:
        where = self.files
        self.findings.append(Finding(severity, topic, sentence, where.dataset, where.split, where.name))


def check_case(files: CaseFiles, table: DatasetTable, picture: str = "all") -> CaseRecord:
    """Look at one case; nothing that is wrong with its files raises, it becomes a finding.

    ``picture`` is "all", "suspect" (only where something was wrong) or "none".
    """
    record = CaseRecord(files)
    scan = _images(record, table)
    try:
        labels = _labels(record, table)
    except (InputError, MemoryError) as problem:
        record.say("error", "unreadable", _sentence(problem, files.labels))
        labels = None
    try:
        if labels is not None:
            _labels_on_scan(record, table, labels, scan)
        suspect = any(found.severity != "note" for found in record.findings)
        if picture == "all" or (picture == "suspect" and suspect):
            record.picture = _picture(record, labels, scan)
    except (InputError, MemoryError) as problem:
        record.say("error", "unreadable", _sentence(problem, files.labels))
    except Exception as problem:  # one odd case must not end the check of a thousand others
        record.say("error", "unreadable", f"It could not be checked ({type(problem).__name__}: {problem}); look at it.")
    return record


def _sentence(problem: Exception, path: Path | None) -> str:
    if isinstance(problem, MemoryError):
        return f"{path.name if path else 'It'} does not fit into memory; crop it or use a larger machine."
    return str(problem)


def _images(record: CaseRecord, table: DatasetTable) -> Volume | None:
    """Look at every channel; the first readable one is returned, the others are forgotten."""
    scan: Volume | None = None
    for channel, path in sorted(record.files.channels.items()):
        try:
            array, grid = read_voxels(path)
            for severity, sentence in header_faults(path, grid):
                record.say(severity, "geometry", sentence)
            looks = examine_intensities(array, grid.affine)
            for severity, sentence in intensity_faults(looks, path.name, table.says_ct(channel)):
                record.say(severity, "intensities", sentence)
            record.intensities[channel] = looks
            record.prints[channel] = fingerprint(array, grid.affine)
        except (InputError, MemoryError) as problem:
            record.say("error", "unreadable", _sentence(problem, path))
            continue
        except Exception as problem:
            record.say("error", "unreadable", f"{path.name}: {type(problem).__name__}: {problem}; export it again.")
            continue
        if min(grid.shape) == 1:
            record.say("warning", "geometry", f"{path.name} is a single slice; this package works on 3D scans.")
        if record.grid is None or scan is None:
            record.grid, scan = grid, Volume(array, grid.affine, path.name)
        elif fault := disagreement(record.grid, grid, f"The channels {scan.name} and {path.name}"):
            record.say(fault[0], "geometry", fault[1])
    return scan


def _labels(record: CaseRecord, table: DatasetTable) -> LabelMap | None:
    path = record.files.labels
    if path is None:
        return None
    array, grid = read_voxels(path)
    if record.grid is None:
        record.grid = grid
        for severity, sentence in header_faults(path, grid):
            record.say(severity, "geometry", sentence)
    elif fault := disagreement(record.grid, grid, "Image and label map"):
        record.say(fault[0], "geometry", fault[1])
    record.label_type = array.dtype.name
    array = whole_numbers(array, path.name)
    record.counts = count_labels(array)
    record.labels_print = fingerprint(array, grid.affine, picture=False)
    return LabelMap(array, grid.affine, structures_of(table, record.counts), path.name)


def _labels_on_scan(record: CaseRecord, table: DatasetTable, labels: LabelMap, scan: Volume | None) -> None:
    if scan is None or scan.shape != labels.shape:
        # Without an image what is labelled stands for the body.
        scan = Volume((labels.array > 0).astype(np.uint8), labels.affine, labels.name)
    seen = examine_labels(labels, scan, table, record.files.name)
    record.extents = seen.extents
    for severity, topic, sentence in seen.findings:
        record.say(severity, topic, sentence)


def _picture(record: CaseRecord, labels: LabelMap | None, scan: Volume | None) -> str:
    if scan is None and labels is None:
        return ""
    if scan is None:
        assert labels is not None
        return photo_uri(three_planes(Volume(np.zeros(labels.shape, np.uint8), labels.affine, labels.name), labels))
    first = record.intensities[min(record.intensities)]
    same = labels is not None and labels.shape == scan.shape
    return photo_uri(three_planes(scan, labels if same else None, first.hounsfield))
