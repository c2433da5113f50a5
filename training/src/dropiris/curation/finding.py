"""One thing to know about a dataset or one of its cases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

# Errors make training or scoring wrong or impossible; warnings need a look; notes are worth knowing.
SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """What is wrong or odd, in words.

    Attributes
    ----------
    severity : {"error", "warning", "note"}
    topic : str
        What it is about, in a word or two: findings of one topic are shown together.
    sentence : str
        What it is and what to do.
    dataset : str
        Folder name.
    split, case : str
        "Tr", "Val", "Ts", ... and the case's name; both empty for the whole dataset.
    """

    severity: str
    topic: str
    sentence: str
    dataset: str = ""
    split: str = ""
    case: str = ""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity is {self.severity!r}; it must be one of {SEVERITIES}")

    @property
    def where(self) -> str:
        """ "Dataset001_X Tr/case", or the dataset alone."""
        return f"{self.dataset} {self.split}/{self.case}" if self.case else self.dataset

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first; within a severity by topic, else in the order they were found."""
    return sorted(findings, key=lambda found: (SEVERITIES.index(found.severity), found.topic, found.dataset))
