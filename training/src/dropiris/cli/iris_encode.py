"""``dropiris iris encode``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dropiris.cli.dropgen_segment import Device, Structures
from dropiris.cli.progress_bar import progress_bar
from dropiris.cli.scans import DeviceChoice, names_of

if TYPE_CHECKING:
    from dropiris.models.bundle import Bundle
    from dropiris.volume import Reference

TASK_ENDING = ".safetensors"
Model = Annotated[
    str | None, typer.Option("--model", "-m", help="Name or model folder; the first Iris model here if not given.")
]


def encode(
    pairs: Annotated[list[Path], typer.Argument(metavar="REFERENCE LABELS ...", help="A scan and its labels; repeat.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="TASK", help="Task file to write (.safetensors).")],
    model: Model = None,
    structures: Structures = None,
    device: Device = DeviceChoice.auto,
) -> None:
    if len(pairs) % 2:
        raise typer.BadParameter("give pairs of a scan and its labels: REFERENCE LABELS [REFERENCE LABELS ...].")
    if output.suffix != TASK_ENDING:
        raise typer.BadParameter(f"a task file ends in {TASK_ENDING}, not {output.name!r}.")
    bundle = iris_bundle(model)
    references = read_references(pairs, names_of(structures))

    from dropiris.inference import IrisSegmenter

    with progress_bar(output.name) as progress:
        task = IrisSegmenter(bundle, device=device.value).encode(references, progress, None)
        output.parent.mkdir(parents=True, exist_ok=True)
        task.save(output)
    names = ", ".join(dict.fromkeys(s.name for reference in references for s in reference.structures))
    typer.echo(f"{output}: {names}, from {len(references)} reference{'s' if len(references) > 1 else ''}")


def iris_bundle(model: str | None) -> Bundle:
    """The named Iris model, or the one to use when none is named."""
    from dropiris.errors import ModelError
    from dropiris.models.catalogue import Catalogue

    bundle = Catalogue().find(model) if model else Catalogue().default("iris")
    if bundle.card.method != "iris":
        raise ModelError(f"The model {bundle.card.name!r} is a DropGen model; use it with `dropiris dropgen segment`.")
    return bundle


def read_references(pairs: Sequence[Path], structures: list[str] | None) -> list[Reference]:
    """Read scan, labels, scan, labels, ...; keep only the named structures where names are given."""
    from dropiris.errors import InputError
    from dropiris.files import read_labels, read_volume
    from dropiris.volume import Reference

    references = []
    for scan, labels in zip(pairs[::2], pairs[1::2], strict=True):
        for path in (scan, labels):
            if not path.exists():
                raise InputError(f"{path} does not exist; check the path.")
        volume = read_volume(scan)
        layers = read_labels(labels, like=volume)
        if structures is not None:
            here = [[s.name for s in layer.structures if s.name in structures] for layer in layers]
            if not any(here):
                have = ", ".join(s.name for layer in layers for s in layer.structures)
                raise InputError(f"{labels} has no structure {structures[0]!r}; it has: {have}.")
            layers = tuple(layer.keep(names) for layer, names in zip(layers, here, strict=True) if names)
        references.append(Reference(volume, tuple(layers)))
    return references
