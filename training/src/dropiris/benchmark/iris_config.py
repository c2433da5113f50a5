"""What an in-context benchmark is told: strategies, held-out data, compute, embeddings (Iris, Sec. 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dropiris.data.selection import Selection

Strategy = Literal["ensemble", "image-retrieval", "retrieval", "tune"]


class Cases(BaseModel):
    """Labelled scans of a dataset."""

    model_config = ConfigDict(extra="forbid")

    data: Path
    cases: Selection = Selection(split="Tr")
    structures: list[str] | None = Field(default=None, min_length=1, description="only these; by the dataset's names")


class StrategyTrial(BaseModel):
    """A panel of Figure 4: one dataset, every strategy with growing numbers of references."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1)
    pool: Cases
    queries: Cases
    references: list[int] = Field(default=[1, 2, 3, 5], min_length=1, description="how many are used of the pool")
    strategies: list[Strategy] = ["ensemble", "image-retrieval", "retrieval", "tune"]
    repeats: int = Field(default=3, ge=1, description="random draws of references")


class OneShotTrial(BaseModel):
    """A column of Table 2: every reference alone on every query; a query is never its own reference."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1)
    references: Cases
    queries: Cases


class ComputeTrial(BaseModel):
    """Table 3: one reference, then queries, all of one window's size."""

    model_config = ConfigDict(extra="forbid")

    queries: int = Field(default=10, ge=1)
    classes: int = Field(default=15, ge=1)
    size: int = Field(default=128, ge=32, multiple_of=16, description="voxels along each side")


class InContextBenchmark(BaseModel):
    """Every part that is named is run with every model."""

    model_config = ConfigDict(extra="forbid")

    title: str = "In-context segmentation"
    data: Path = Field(default=Path("."), description="folder that datasets are in")
    models: list[str] = Field(default=[], description="names or folders; default: the Iris model that is used anyway")
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    strategies: list[StrategyTrial] = []
    one_shot: list[OneShotTrial] = []
    compute: ComputeTrial | None = None
    embeddings: list[Cases] = Field(default=[], description="of the t-SNE; every case is a reference")

    @model_validator(mode="after")
    def _told_apart(self) -> InContextBenchmark:
        for what, names in (
            ("strategies", [trial.name for trial in self.strategies]),
            ("one_shot", [trial.name for trial in self.one_shot]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"two parts of {what} have the same name; each needs one of its own")
        if not (self.strategies or self.one_shot or self.compute or self.embeddings):
            raise ValueError("nothing is named to run; give strategies, one_shot, compute or embeddings")
        return self
