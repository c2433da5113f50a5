"""The ``dropiris`` command: one verb per thing a person does.

Nothing heavy is imported before a verb runs: ``dropiris --help`` must answer at once.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from dropiris import __version__
from dropiris.cli import benchmark, data, doctor, dropgen_segment, evaluate, iris_encode, iris_segment, models, train
from dropiris.cli.sentences import CANCELLED, SentenceGroup, say

app = typer.Typer(
    name="dropiris",
    cls=SentenceGroup,
    help="Segment 3D scans with DropGen (automatic) and Iris (from labelled references). Not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
dropgen = typer.Typer(help="Automatic segmentation with a trained model.", no_args_is_help=True)
iris = typer.Typer(help="Segmentation of any structure from labelled references.", no_args_is_help=True)
training = typer.Typer(help="Train a model on nnU-Net-style datasets.", no_args_is_help=True)

dropgen.command("segment", help="Segment a scan or a folder of scans.")(dropgen_segment.segment)
iris.command("encode", help="Turn labelled references into a task file, for any number of scans.")(iris_encode.encode)
iris.command(
    "segment", cls=iris_segment.ReferencePairs, help="Segment what references show in a scan or a folder of scans."
)(iris_segment.segment)
training.command("dropgen", help="Train a DropGen model: structures of its own, any scanner.")(train.dropgen)
training.command("iris", help="Train an Iris model: any structure, from a reference.")(train.iris)
training.command("extractor", help="Pretrain the stable extractor of DropGen on rendered label maps.")(train.extractor)
app.add_typer(dropgen, name="dropgen")
app.add_typer(iris, name="iris")
app.add_typer(training, name="train")
app.command("evaluate", help="Compare predictions with label maps: Dice, NSD and HD95.")(evaluate.evaluate)
app.add_typer(data.app, name="data")
app.add_typer(benchmark.app, name="benchmark")
app.add_typer(models.app, name="models")
app.command("doctor", help="Say what runs here, and what to do if it does not.")(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dropiris {__version__}")
        raise typer.Exit()


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the full traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every verb."""


def main() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name that a Windows code page cannot show must not end the run.
            stream.reconfigure(errors="replace")
    try:
        app()
    except KeyboardInterrupt:  # before a verb runs or after it ended
        say(CANCELLED)
        sys.exit(1)


if __name__ == "__main__":
    main()
