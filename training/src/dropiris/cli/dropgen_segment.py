"""``dropiris dropgen segment``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dropiris.cli.cohort import Address, Engine, EngineChoice, Engines, GpuShare, Retries, Workers, segment_cohort
from dropiris.cli.scans import DeviceChoice, Ending, is_cohort, names_of, plan, run
from dropiris.cli.trust import can_be_checked

Structures = Annotated[
    list[str] | None, typer.Option("--structures", "-s", help="Only these, by name; repeat or separate by commas.")
]
Device = Annotated[DeviceChoice, typer.Option("--device", help="Where the network runs.")]
Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", help="File (.nii.gz, .nrrd, .seg.nrrd; .dcm for a DICOM scan), or a folder for scans."
    ),
]
Format = Annotated[Ending, typer.Option("--ending", help="Format of the results in an output folder.")]
Statistics = Annotated[
    Path | None, typer.Option("--statistics", metavar="FILE.csv", help="Also write volume and intensity per structure.")
]

Trust = Annotated[
    bool,
    typer.Option("--trust", help="Also check how far to trust each structure: a number, and a word."),
]


def segment(
    scan: Annotated[Path, typer.Argument(metavar="INPUT", help="NIfTI, NRRD, a DICOM folder, or a folder of scans.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Name (see `dropiris models list`) or model folder.")],
    output: Output,
    structures: Structures = None,
    device: Device = DeviceChoice.auto,
    ending: Format = Ending.nifti,
    statistics: Statistics = None,
    trust: Trust = False,
    engine: EngineChoice = Engine.here,
    address: Address = None,
    workers: Workers = None,
    gpu_share: GpuShare = 1.0,
    retries: Retries = 2,
) -> None:
    from dropiris.cohort.recipe import DropGenRecipe
    from dropiris.errors import ModelError
    from dropiris.models.catalogue import Catalogue

    bundle = Catalogue().find(model)
    if bundle.card.method != "dropgen":
        raise ModelError(f"The model {bundle.card.name!r} is an Iris model; use it with `dropiris iris segment`.")
    wanted = names_of(structures)
    known = [s.name for s in bundle.card.structures]
    for name in wanted or []:
        if name not in known:
            raise ModelError(f"The model {bundle.card.name!r} has no structure {name!r}; it has: {', '.join(known)}.")
    engines = Engines(engine, address, workers, gpu_share, retries)
    engines.check(is_cohort(scan))
    jobs = plan(scan, output, ending, statistics)
    recipe = DropGenRecipe.of(bundle, wanted, device.value, trust and can_be_checked(bundle))
    if is_cohort(scan):
        segment_cohort(jobs, recipe, engines, statistics)
    else:
        run(jobs[0], recipe.open(), statistics)
