"""``dropiris train dropgen|iris|extractor``: settings from a file and from ``key=value`` words, then one call."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from dropiris.cli.sentences import say
from dropiris.cli.settings import read_settings

if TYPE_CHECKING:
    from dropiris.models.bundle import Bundle
    from dropiris.train.config import RunConfig

Data = Annotated[
    list[Path] | None, typer.Option("--data", "-d", metavar="DATASET", help="nnU-Net dataset folder; repeat.")
]
Run = Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="Folder of the run; an earlier one goes on.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings, YAML or JSON.")]
InitFrom = Annotated[
    Path | None,
    typer.Option("--init-from", metavar="FILE|MODEL", help="Start from the weights of a model or a run."),
]
Made = TypeVar("Made")
Settings = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, e.g. max_steps=2.")]


def dropgen(
    output: Run,
    settings: Settings = None,
    data: Data = None,
    method: Annotated[str | None, typer.Option("--method", help="dropgen, or a baseline of the paper.")] = None,
    config: ConfigFile = None,
    init_from: InitFrom = None,
) -> None:
    words = _words(settings, method=method, init_from=init_from)
    from dropiris.train.dropgen_config import DropGenConfig

    made = read_settings(DropGenConfig, config, data, words)
    from dropiris.train import train_dropgen

    _train(train_dropgen, made, output)


def iris(
    output: Run,
    settings: Settings = None,
    data: Data = None,
    config: ConfigFile = None,
    init_from: InitFrom = None,
) -> None:
    from dropiris.train.iris_config import IrisConfig

    made = read_settings(IrisConfig, config, data, _words(settings, init_from=init_from))
    from dropiris.train import train_iris

    _train(train_iris, made, output)


def extractor(
    output: Run,
    settings: Settings = None,
    data: Data = None,
    config: ConfigFile = None,
    init_from: InitFrom = None,
) -> None:
    from dropiris.train.extractor_config import ExtractorConfig

    made = read_settings(ExtractorConfig, config, data, _words(settings, init_from=init_from))
    from dropiris.train import train_extractor

    _train(train_extractor, made, output, "train with it: dropiris train dropgen extractor={folder}")


def _words(settings: list[str] | None, **options: object) -> list[str]:
    """Options are settings with a name of their own."""
    return [*(settings or []), *(f"{key}={value}" for key, value in options.items() if value is not None)]


def _tell(result: str) -> None:
    """The result on stdout, once: every process of torchrun or srun runs this."""
    if int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0) == 0:
        typer.echo(result)


def _train(loop: Callable[[Any, Path], Bundle], settings: RunConfig, run: Path, then: str = "") -> None:
    bundle = _run(loop, settings, run)
    said = f"{bundle.folder}: {bundle.card.name} {bundle.card.version}, {bundle.size / 1e6:.1f} MB"
    _tell("; ".join(filter(None, [said, then.format(folder=bundle.folder)])))


def _run(loop: Callable[[Any, Path], Made], settings: RunConfig, run: Path) -> Made:
    """Run a training loop; Ctrl-C keeps what the last checkpoint holds, SIGTERM what is done."""
    import logging

    from dropiris.errors import Cancelled, InputError
    from dropiris.train.preemption import REQUEUE, Preempted

    for folder in settings.data:
        if not folder.is_dir():
            raise InputError(f"{folder} is no dataset folder; check the path.")
    if run.is_file():
        raise InputError(f"{run} is a file; give a folder for the run.")
    logging.basicConfig(format="%(message)s")
    logging.getLogger("dropiris.train").setLevel(logging.INFO)
    try:
        return loop(settings, run)
    except Preempted as stop:
        say(str(stop))
        raise typer.Exit(REQUEUE) from None
    except KeyboardInterrupt:
        raise Cancelled("Cancelled; the same command goes on from the last checkpoint.") from None
