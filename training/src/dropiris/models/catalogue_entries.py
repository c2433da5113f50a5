"""The rows of the model list, read from folders of models and from the list of what can be downloaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dropiris.errors import ModelError
from dropiris.models.bundle import CARD, Bundle, read_card
from dropiris.models.card import ModelCard
from dropiris.models.shared_features import features_folders, missing_features

# Lists what can be downloaded: [{"url", "sha256", "size", "card": {...}}]. Optional.
AVAILABLE = "available.json"


@dataclass(frozen=True)
class CatalogueEntry:
    """One row of the model list.

    Attributes
    ----------
    name : str
        The card's name, or the folder's when the card cannot be read.
    card : ModelCard or None
        None when ``problem`` says why.
    folder : Path or None
        None for a model that is not on this machine.
    state : {"shipped", "installed", "available"}
    problem : str
        Why the model cannot be used and what to do, or "".
    url, sha256, size
        Where a model that is only available comes from; shown for a manual download.
    features : Path or None
        Folder of the features it shares with other models.
    """

    name: str
    card: ModelCard | None
    folder: Path | None
    state: str
    problem: str = ""
    url: str = ""
    sha256: str = ""
    size: int = 0
    features: Path | None = None


def models_in(root: Path, state: str, places: Sequence[Path]) -> list[CatalogueEntry]:
    """The models in a folder; shared features are looked for beside them, then in ``places``."""
    if not root.is_dir():
        return []
    found = []
    for folder in sorted(root.iterdir()):
        if folder.name.startswith(".") or not (folder / CARD).is_file():
            continue
        try:
            card = Bundle.open(folder, digests=False).card
        except ModelError as problem:
            found.append(CatalogueEntry(*_name_and_card(folder), folder, state, str(problem)))
            continue
        features = next(iter(features_folders(folder, card, places)), None)
        lacking = "" if features else missing_features(folder, card, places)
        found.append(CatalogueEntry(card.name, card, folder, state, lacking, features=features))
    return found


def models_to_download(path: Path) -> list[CatalogueEntry]:
    """The models that ``available.json`` lists; none where there is no such file."""
    if not path.is_file():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        cards = [ModelCard.from_json(row["card"]) for row in rows]
        return [
            CatalogueEntry(card.name, card, None, "available", "", row["url"], row["sha256"], int(row["size"]))
            for card, row in zip(cards, rows, strict=True)
        ]
    except (ValueError, KeyError, TypeError, OSError):
        raise ModelError(f"{path} is damaged; install the program again, or delete that file.") from None


def _name_and_card(folder: Path) -> tuple[str, ModelCard | None]:
    try:
        card = read_card(folder)
        return card.name, card
    except ModelError:
        return folder.name, None
