"""A model and its settings in words that travel to another process, which opens them there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dropiris.cohort.marks import digest_of_facts, model_facts
from dropiris.cohort.station import Station
from dropiris.errors import ModelError
from dropiris.models.bundle import Bundle
from dropiris.progress import ProgressCallback, ignore_progress


class Recipe(Protocol):
    """What a worker is given to make its own :class:`~dropiris.cohort.station.Station`."""

    @property
    def digest(self) -> str:
        """Equal for recipes that make equal results."""

    @property
    def trust(self) -> bool:
        """Whether results are checked too."""

    @property
    def device(self) -> str:
        """As the user chose it."""

    def open(self, progress: ProgressCallback = ignore_progress) -> Station:
        """Load the model; imports torch."""


@dataclass(frozen=True)
class DropGenRecipe:
    """A DropGen model; ``facts`` are those of its bundle where the recipe was written."""

    model: Path
    facts: tuple[tuple[str, Any], ...]
    structures: tuple[str, ...] | None = None
    device: str = "auto"
    trust: bool = False

    @classmethod
    def of(cls, bundle: Bundle, structures: list[str] | None, device: str, trust: bool) -> DropGenRecipe:
        names = None if structures is None else tuple(structures)
        return cls(bundle.folder, facts_of(bundle), names, device, trust)

    @property
    def digest(self) -> str:
        return digest_of_facts({**dict(self.facts), "structures": self.structures})

    def open(self, progress: ProgressCallback = ignore_progress) -> Station:
        from dropiris.inference import DropGenSegmenter
        from dropiris.inference.view_agreement import view_agreement

        bundle = same_bundle(self.model, self.facts)
        segmenter = DropGenSegmenter(bundle, device=self.device)
        return Station(
            lambda volume, report, cancel: segmenter.segment(volume, self.structures, report, cancel),
            bundle.card,
            str(segmenter.device),
            (lambda *given: view_agreement(segmenter, *given)) if self.trust else None,
        )


def facts_of(bundle: Bundle) -> tuple[tuple[str, Any], ...]:
    return tuple(model_facts(bundle).items())


def same_bundle(folder: Path, facts: tuple[tuple[str, Any], ...]) -> Bundle:
    """The model in a folder of this machine, which must be the one the recipe was written for."""
    bundle = Bundle.open(folder)
    if facts_of(bundle) != facts:
        raise ModelError(f"{folder} holds another model here than where the run was started; copy the model again.")
    return bundle
