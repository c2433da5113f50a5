"""What Iris models are scored on with one reference: five tasks, each a fixed choice of references and queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dropiris.data.brain_structures import brain_groups
from dropiris.data.nnunet import Case, Dataset
from dropiris.train.validate import spread_references


@dataclass(frozen=True)
class IrisTask:
    """Rows of the table: pairs of a labelled reference and a scan to segment.

    Attributes
    ----------
    name : str
        For files and ``--tasks``.
    references, queries : (str, str)
        Dataset and split. Where both are the same, references are no queries.
    most_references, most_queries : int
        Spread evenly over the cases in the order of their names: a choice nobody tuned.
    brain : bool
        Structures of the brain by :func:`~dropiris.data.brain_structures.brain_groups`, left and right as one.
    parts : dict
        Further rows: their title and the structures they are the mean of.
    seen : str
        What a model may have been trained on.
    """

    name: str
    title: str
    references: tuple[str, str]
    queries: tuple[str, str]
    most_references: int = 3
    most_queries: int = 6
    brain: bool = False
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def available(self, data: Path) -> bool:
        return all((data / dataset / "dataset.json").is_file() for dataset, _ in (self.references, self.queries))

    def open(self, data: Path) -> tuple[Dataset, list[Case], Dataset, list[Case]]:
        """References and queries, each with its dataset (structures by the names they are scored under).

        Raises
        ------
        InputError
            A dataset that cannot be read.
        """
        sources, targets = (self._dataset(data / name) for name, _ in (self.references, self.queries))
        references = spread_references(sources.cases(self.references[1]), self.most_references)
        taken = {case.name for case in references} if self.references == self.queries else set()
        others = [case for case in targets.cases(self.queries[1]) if case.name not in taken]
        return sources, references, targets, spread_references(others, self.most_queries)

    def _dataset(self, folder: Path) -> Dataset:
        dataset = Dataset.open(folder)
        return dataset.merge(brain_groups(dataset.structures, sides=False)) if self.brain else dataset


HIPPOCAMPUS, ABDOMEN_MR, ABDOMEN_CT = "Dataset001_Hippocampus", "Dataset002_AbdomenMR", "Dataset003_AbdomenCT"
FETAL, BRAIN = "Dataset004_FetalBrain", "Dataset006_BrainT1"

TASKS = (
    IrisTask("hippocampus", "Hippocampus, T1 crops", (HIPPOCAMPUS, "Tr"), (HIPPOCAMPUS, "Val")),
    IrisTask("abdomen-mr", "Abdominal MR", (ABDOMEN_MR, "Tr"), (ABDOMEN_MR, "Val")),
    IrisTask("fetal-brain", "Fetal brain, T2", (FETAL, "Tr"), (FETAL, "Val")),
    IrisTask("brain-t1", "Real brain T1, never trained on", (BRAIN, "Ts"), (BRAIN, "Ts"), 2, 3, brain=True),
    IrisTask(
        "mr-to-ct",
        "MR reference, CT query",
        (ABDOMEN_MR, "Tr"),
        (ABDOMEN_CT, "Ts"),
        parts={"liver": ("liver",), "kidneys": ("right_kidney", "left_kidney"), "spleen": ("spleen",)},
    ),
)
