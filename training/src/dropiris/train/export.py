"""From a finished run to a bundle: what cards of both methods say."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from dropiris import __version__
from dropiris.data.nnunet import Dataset
from dropiris.files.label_table import default_color
from dropiris.intensity import IntensityRule
from dropiris.models.bundle import Bundle
from dropiris.models.card import ModelCard
from dropiris.terminology import Code, terminology_entry
from dropiris.terminology_table import known_structure
from dropiris.train.config import RunConfig
from dropiris.train.iris_config import IrisConfig
from dropiris.volume import Structure


def export_iris(config: IrisConfig, run_folder: Path, state: dict[str, torch.Tensor], device: str = "auto") -> Bundle:
    """The bundle of an Iris run's weights, with its scores, without a memory of its classes."""
    from dropiris.train.iris_export import IrisExport

    return IrisExport(config, run_folder, device=device)(state)


def title_of(name: str, config: RunConfig) -> str:
    known = config.structures.get(name)
    return known.name if known else name.replace("_", " ")


def structure_of(number: int, name: str, config: RunConfig) -> Structure:
    """A structure as the settings describe it; what they leave open comes from the table of known structures."""
    chosen = config.structures.get(name)
    title = title_of(name, config)
    known = known_structure(title)
    if chosen is not None and chosen.snomed:
        modifier = Code("SCT", *chosen.modifier) if chosen.modifier else None
        entry = terminology_entry(Code("SCT", *chosen.snomed), modifier)
    else:
        entry = known.entry if known is not None else ""
    color = chosen.color if chosen is not None else known.color if known is not None else default_color(number)
    return Structure(number, title, color, entry)


def card_of(
    config: RunConfig,
    method: str,
    network: dict[str, Any],
    rule: IntensityRule,
    datasets: list[Dataset],
    extractor: dict[str, Any] | None,
    structures: tuple[Structure, ...],
    spacing: tuple[float, float, float] | None,
) -> ModelCard:
    dumped = config.model_dump(mode="json", exclude={"data", "card", "structures", "name", "title", "accelerator"})
    settings = {key: without_folders(value) for key, value in dumped.items()}
    sources = {d.name: {"licence": d.licence, "modality": d.modality, "source": d.source} for d in datasets}
    return ModelCard(
        name=config.name,
        version=config.version,
        method=method,
        window=config.window,
        network=network,
        intensity=rule.to_json(),
        title=config.title,
        extractor=extractor,
        structures=structures,
        spacing=spacing,
        training={"datasets": sources, "settings": settings, "dropiris": __version__, **how_it_was_made(config)},
        **config.card,
    )


def how_it_was_made(config: RunConfig) -> dict[str, Any]:
    """The day the card is written, at a run's end the day of training (ISO, UTC); the run's steps; its hardware.

    With patience a run may end before ``max_steps``: then its steps are not stated.
    """
    made: dict[str, Any] = {"date": datetime.now(timezone.utc).date().isoformat()}
    if not config.patience:
        made["steps"] = config.max_steps
    return {**made, "hardware": hardware_in_words(config)}


def hardware_in_words(config: RunConfig) -> str:
    """What this process computes on, as a card may say it: "NVIDIA H200, bf16-mixed"; no computer's name or address."""
    wish = config.accelerator
    if wish in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    elif wish in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        device = "Apple GPU"
    else:
        threads = torch.get_num_threads()
        device = f"processor, {threads} thread{'s' if threads > 1 else ''}"
    shared = torch.distributed.is_available() and torch.distributed.is_initialized()
    processes = torch.distributed.get_world_size() if shared else 1
    return f"{f'{processes} x ' if processes > 1 else ''}{device}, {config.precision}"


def without_folders(value: Any) -> Any:
    """A file's name for its path: a card travels, and where a file lay concerns nobody else."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
