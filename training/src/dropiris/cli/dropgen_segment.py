"""``dropiris dropgen segment``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dropiris.cli.scans import Algorithm, DeviceChoice, Ending, Trusted, names_of, plan, run
from dropiris.cli.trust import can_be_checked, judged

if TYPE_CHECKING:
    from dropiris.progress import CancelToken, ProgressCallback
    from dropiris.volume import LabelMap, Volume

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
) -> None:
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
    jobs = plan(scan, output, ending, statistics)

    from dropiris.inference import DropGenSegmenter
    from dropiris.inference.view_agreement import view_agreement

    segmenter = DropGenSegmenter(bundle, device=device.value)

    def check(volume: Volume, labels: LabelMap, progress: ProgressCallback, cancel: CancelToken) -> Trusted:
        return judged(view_agreement(segmenter, volume, labels, progress, cancel), bundle)

    run(
        jobs,
        lambda volume, progress, cancel: segmenter.segment(volume, wanted, progress, cancel),
        Algorithm(bundle.card.title, bundle.card.version),
        statistics,
        check if trust and can_be_checked(bundle) else None,
    )
