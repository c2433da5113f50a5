"""``dropiris iris encode``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dropiris.cli.dropgen_segment import Device, Structures
from dropiris.cli.progress_bar import progress_bar
from dropiris.cli.scans import DeviceChoice, names_of

if TYPE_CHECKING:
    from dropiris.models.bundle import Bundle

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
    from dropiris.files.reference_files import read_references

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
