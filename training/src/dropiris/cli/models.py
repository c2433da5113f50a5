"""``dropiris models list|info|import|download|verify|remove|share``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dropiris.cli.progress_bar import progress_bar
from dropiris.cli.sentences import say
from dropiris.cli.trust import calibration_in_words

app = typer.Typer(help="The models on this machine.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="MODEL", help="Name, see `dropiris models list`.")]


@app.command("list", help="List every model: shipped, installed, available.")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="For programs: the cards and their states.")] = False,
) -> None:
    from dropiris.models.catalogue import Catalogue

    catalogue = Catalogue()
    entries = catalogue.list()
    if as_json:
        rows = [
            {
                "name": entry.name,
                "state": entry.state,
                "folder": str(entry.folder or ""),
                "problem": entry.problem,
                "card": entry.card.to_json() if entry.card else None,
            }
            for entry in entries
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    if not entries:
        typer.echo(f"No model yet; `dropiris models import FILE` puts one into {catalogue.installed}.")
    width = max((len(entry.name) for entry in entries), default=0)
    for entry in entries:
        card = entry.card
        about = f"{card.kind:<8}  {card.version:<8}  {card.title}" if card else ""
        typer.echo(f"{entry.name:<{width}}  {entry.state:<9}  {about}".rstrip())
        if entry.problem:
            say(f"  cannot be used: {entry.problem}")


@app.command(help="Show a model's card: what it segments, where it comes from, what was measured.")
def info(name: Name, as_json: Annotated[bool, typer.Option("--json", help="The whole card.")] = False) -> None:
    from dropiris.models.card_words import score_in_words, training_in_words
    from dropiris.models.catalogue import Catalogue
    from dropiris.models.shared_features import find_features

    catalogue = Catalogue()
    bundle = catalogue.find(name)
    card, shared = bundle.card, find_features(bundle)
    if as_json:
        typer.echo(json.dumps(card.to_json(), indent=2))
        return
    typer.echo(f"{card.title} ({card.name} {card.version}, {card.kind})")
    spacing = "" if card.spacing is None else " x ".join(f"{s:g}" for s in card.spacing) + " mm"
    parts = [bundle, shared] if shared else [bundle]
    numbers, size = sum(part.parameters for part in parts), sum(part.size for part in parts)
    lines = {
        "About": card.description,
        "Structures": "any, from a reference" if card.method == "iris" else ", ".join(s.name for s in card.structures),
        "Remembers": ", ".join(s.name for s in card.structures) if card.method == "iris" else "",
        "Modality": ", ".join(card.modality) or "any",
        "Anatomy": ", ".join(card.anatomy),
        "Voxel size": spacing or ("follows the structure" if card.method == "iris" else ""),
        "Size": f"{numbers / 1e6:.1f} M numbers, {size / 1e6:.1f} MB",
        "Shares": f"{shared.card.name} {shared.card.version}, {shared.size / 1e6:.1f} MB of these" if shared else "",
        "Used by": ", ".join(catalogue.users(bundle.folder)),
        "Trained": training_in_words(card.training),
        "Licence": card.licence,
        "Authors": card.authors,
        "Citation": card.citation,
        "Intended use": str(card.to_json()["intended_use"]),
        "Folder": str(bundle.folder),
    }
    for key, value in lines.items():
        if value:
            typer.echo(f"{key + ':':<13} {value}")
    for score in card.scores:
        cases = f" ({score['cases']} cases)" if score.get("cases") else ""
        typer.echo(
            f"{'Score:':<13} {score['dataset']}, {score.get('structure') or 'mean'}: "
            f"{score['metric']} {score_in_words(score, 3)}{cases}"
        )
    for failure in card.failures:
        picture = bundle.picture(failure)
        typer.echo(f"{'Failure:':<13} {failure['text']}{f' (see {picture.name})' if picture else ''}")
    if calibrated := calibration_in_words(card.trust):
        typer.echo(f"{'Trust:':<13} {calibrated}")


@app.command("import", help="Install a model from a folder, a .zip file, or best.pth of DropGen's own training code.")
def import_model(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Model folder, .zip, or .pth.")],
    extractor: Annotated[
        Path | None, typer.Option("--extractor", metavar="FILE", help="For a .pth: anatomix.pth, if not beside it.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="For a .pth: what the model is called.")] = None,
) -> None:
    import tempfile

    from dropiris.models.catalogue import Catalogue
    from dropiris.models.dropgen_checkpoint import ENDINGS, import_dropgen_checkpoint, name_of_checkpoint

    catalogue = Catalogue()
    if path.suffix.lower() not in ENDINGS:
        if extractor or name:
            raise typer.BadParameter("--extractor and --name belong to a .pth file; a bundle has both already.")
        bundle = catalogue.import_bundle(path)
    else:
        with tempfile.TemporaryDirectory() as folder:
            made = import_dropgen_checkpoint(path, Path(folder) / "model", name or name_of_checkpoint(path), extractor)
            bundle = catalogue.import_bundle(made.folder)
    typer.echo(f"{bundle.card.name} {bundle.card.version} is installed in {bundle.folder}")
    if lacking := next((entry.problem for entry in catalogue.list() if entry.folder == bundle.folder), ""):
        say(lacking)


@app.command(help="Fetch an available model; goes on where an earlier download stopped.")
def download(name: Name) -> None:
    from dropiris.errors import ModelError
    from dropiris.models.catalogue import Catalogue

    catalogue = Catalogue()
    entry = next((entry for entry in catalogue.list() if entry.name == name), None)
    if entry is None or entry.state != "available":
        bundle = catalogue.find(name)  # a sentence naming the nearest model, if there is none
        raise ModelError(f"The model {name!r} is already here, in {bundle.folder}.")
    typer.echo(f"{entry.url}\nSHA-256 {entry.sha256}")
    with progress_bar(name) as progress:
        bundle = catalogue.download(entry, progress)
    typer.echo(f"{bundle.card.name} {bundle.card.version} is installed in {bundle.folder}")


@app.command(help="Read every byte of a model and compare it with its SHA-256 digests.")
def verify(name: Name) -> None:
    from dropiris.models.catalogue import Catalogue

    bundle = Catalogue().verify(name)
    checked = ", ".join(bundle.card.sha256) or "header only: the card lists no SHA-256"
    typer.echo(f"{bundle.card.name} {bundle.card.version} is whole ({checked})")


@app.command(help="Delete a model you installed.")
def remove(name: Name) -> None:
    from dropiris.models.catalogue import Catalogue

    Catalogue().remove(name)
    typer.echo(f"{name} was removed")


@app.command(help="Drop a model's own copy of features, where they are the same to the last bit.")
def share(
    name: Name,
    features: Annotated[str, typer.Argument(metavar="FEATURES", help="Bundle of features, by name or folder.")],
) -> None:
    from dropiris.models.catalogue import Catalogue
    from dropiris.models.shared_features import share_extractor

    catalogue = Catalogue()
    bundle = share_extractor(catalogue.find(name), catalogue.find(features))
    typer.echo(f"{bundle.card.name} shares {features}: {bundle.size / 1e6:.1f} MB of its own in {bundle.folder}")
