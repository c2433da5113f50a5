"""What a domain generalization benchmark is told: shifts, methods, seeds (DropGen, Tables 1 to 3)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dropiris.data.selection import Selection
from dropiris.errors import InputError
from dropiris.train.dropgen_config import DropGenConfig

# What DropGen at a swept dropout is called.
SWEPT = "dropgen p="


class Evaluated(BaseModel):
    """Cases that finished models are scored on; without ``data`` those of the training dataset."""

    model_config = ConfigDict(extra="forbid")

    data: Path | None = None
    cases: Selection = Selection(split="Ts")


class Shift(BaseModel):
    """A column of the table: trained on one domain, tested on another."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, description="as the table calls it")
    kind: str = Field(default="", description="what shifts: modality, sequence, site, ...")
    setting: str = Field(default="", description="shifts of one setting share a table: all data, few shot")
    data: Path = Field(description="dataset to train on")
    recipe: Path | None = Field(default=None, description="settings file of `dropiris train dropgen`, beside this file")
    settings: dict[str, Any] = Field(default_factory=dict, description="over the recipe and the benchmark's own")
    validation: Evaluated | None = Field(default=None, description="default: the recipe's")
    test: Evaluated | None = Field(default=None, description="default: the recipe's")


class Contender(BaseModel):
    """A row of the table: a method, an ablation, DropGen with another extractor, ..."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict, description="of `dropiris train dropgen`: method, ablation")


class DomainBenchmark(BaseModel):
    """The grid: every contender on every shift with every seed, and DropGen at every dropout."""

    model_config = ConfigDict(extra="forbid")

    title: str = "Domain generalization"
    data: Path = Field(default=Path("."), description="folder that datasets are in")
    shifts: list[Shift] = Field(min_length=1)
    methods: list[Contender] = Field(min_length=1, description="names of methods, or a name with settings")
    seeds: list[int] = Field(default=[0], min_length=1)
    dropout: list[float] = Field(default=[], description="of DropGen, swept on validation cases (Table 3)")
    settings: dict[str, Any] = Field(default_factory=dict, description="of every run")

    @field_validator("methods", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """``erm`` is short for ``{name: erm, settings: {method: erm}}``."""
        if not isinstance(value, list):
            return value
        return [{"name": one, "settings": {"method": one}} if isinstance(one, str) else one for one in value]

    @field_validator("seeds", mode="before")
    @classmethod
    def _counted(cls, value: Any) -> Any:
        """``3`` is short for ``[0, 1, 2]``."""
        return list(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _told_apart(self) -> DomainBenchmark:
        for what, names in (
            ("shifts", [shift.name for shift in self.shifts]),
            ("methods", [contender.name for contender in self.methods]),
        ):
            folders = [folder_name(name) for name in names]
            if len(set(folders)) < len(folders):
                raise ValueError(f"two {what} have the same name; each needs one of its own")
        return self


def is_plain_dropgen(contender: Contender) -> bool:
    """Whether it is DropGen with nothing but its dropout changed."""
    own = contender.settings
    return own.get("method", "dropgen") in ("dropgen", "maskgen") and not own.keys() - {"method", "dropout"}


def folder_name(name: str) -> str:
    """Lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "run"


def run_settings(
    benchmark: DomainBenchmark, shift: Shift, contender: Contender, seed: int, beside: Path
) -> DropGenConfig:
    """Settings of one run: recipe, benchmark, shift, contender, each over the one before.

    Parameters
    ----------
    beside : Path
        Folder of the benchmark's file, which recipes are named from.

    Raises
    ------
    InputError
        A recipe that cannot be read, or a setting that cannot be used.
    """
    merged: dict[str, Any] = _recipe(beside / shift.recipe) if shift.recipe else {}
    for more in (benchmark.settings, shift.settings, contender.settings):
        merged |= more
    # Cases are scored one by one when the run is done, so its own test would only repeat that.
    merged |= {"data": [benchmark.data / shift.data], "seed": seed, "test": None}
    merged["name"] = f"{re.sub(r'[^a-z0-9]+', '-', contender.name.lower()).strip('-') or 'run'}-{seed}"
    try:
        return DropGenConfig(**merged)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise InputError(
            f"{shift.name}, {contender.name}: {f'the setting {where}: ' if where else ''}{said}."
        ) from None


def evaluated(benchmark: DomainBenchmark, shift: Shift, role: str, beside: Path) -> tuple[Path, Selection] | None:
    """Dataset folder and cases of ``validation`` or ``test``; None where neither shift nor recipe names any."""
    chosen: Evaluated | None = getattr(shift, role)
    if chosen is not None:
        return benchmark.data / (chosen.data or shift.data), chosen.cases
    given = (_recipe(beside / shift.recipe) if shift.recipe else {}).get(role)
    if given is None:
        return None
    try:
        return benchmark.data / shift.data, Selection(**given)
    except (ValidationError, TypeError):
        raise InputError(f"{shift.recipe}: {role} selects no cases; correct it.") from None


def _recipe(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise InputError(
            f"{path} cannot be read ({problem.strerror}); recipes are named from the file's folder."
        ) from None
    except yaml.YAMLError:
        raise InputError(f"{path} is no valid YAML; correct it.") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no settings; write one `key: value` a line.")
    return values
