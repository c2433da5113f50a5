"""Which models are here: shipped with the program, installed by the user, or available for download."""

from __future__ import annotations

import difflib
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from dropiris.errors import ModelError
from dropiris.models.bundle import CARD, Bundle, check_digest, new_folder_beside, put_in_place, read_card
from dropiris.models.card import ModelCard
from dropiris.models.download import fetch
from dropiris.models.unpack import unpack
from dropiris.progress import CancelToken, ProgressCallback, ignore_progress

SHIPPED_VARIABLE = "DROPIRIS_MODELS"
INSTALLED_VARIABLE = "DROPIRIS_USER_MODELS"
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
    """

    name: str
    card: ModelCard | None
    folder: Path | None
    state: str
    problem: str = ""
    url: str = ""
    sha256: str = ""
    size: int = 0


# The method Catalogue.list hides the type of that name inside the class.
Entries = list[CatalogueEntry]
Names = list[str]


def shipped_folder() -> Path:
    """``Resources/Models`` of the extension: an environment variable, or the first one above this file."""
    chosen = os.environ.get(SHIPPED_VARIABLE)
    if chosen:
        return Path(chosen)
    here = Path(__file__).resolve()
    for parent in here.parents:
        if (parent / "Resources" / "Models").is_dir():
            return parent / "Resources" / "Models"
    return here.parent / "shipped"  # a bare pip installation: nothing is shipped


def installed_folder() -> Path:
    """Where the user's own models live on this system."""
    chosen = os.environ.get(INSTALLED_VARIABLE)
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "dropiris" / "models"


class Catalogue:
    """The models in two folders: ``shipped`` is only read, ``installed`` belongs to the user.

    Creating one touches no file, and nothing here uses the network but :meth:`download`.
    """

    def __init__(self, shipped: str | os.PathLike[str] | None = None, installed: str | os.PathLike[str] | None = None):
        self.shipped = Path(shipped) if shipped is not None else shipped_folder()
        self.installed = Path(installed) if installed is not None else installed_folder()

    def list(self) -> Entries:
        """Every model: shipped ones first, then installed, then available. An installed one hides a shipped namesake.

        Weights are not hashed here (:meth:`find` and :meth:`verify` do), so a list of many models stays quick.
        """
        shipped = self._scan(self.shipped, "shipped")
        installed = self._scan(self.installed, "installed")
        mine = {entry.name for entry in installed}
        here = [entry for entry in shipped if entry.name not in mine] + installed
        names = {entry.name for entry in here}
        return here + [entry for entry in self._available() if entry.name not in names]

    def find(self, name_or_path: str | os.PathLike[str]) -> Bundle:
        """Open a model by name, or by the path of its folder.

        Raises
        ------
        ModelError
            Naming the nearest model for an unknown name, or what is wrong with the one that was found.
        """
        text = os.fspath(name_or_path)
        entries = {entry.name: entry for entry in self.list()}
        entry = entries.get(text)
        if entry is not None and entry.folder is not None:
            return Bundle.open(entry.folder)
        if entry is not None:
            raise ModelError(
                f"The model {text!r} is not on this machine; run `dropiris models download {text}`, "
                f"or download {entry.url} elsewhere and import it."
            )
        path = Path(text)
        if path.is_dir():
            return Bundle.open(path)
        if path.is_file():
            raise ModelError(f"{path} is a file; import it first with `dropiris models import {path.name}`.")
        raise ModelError(self._unknown(text, sorted(entries)))

    def default(self, method: str) -> Bundle:
        """The model used when none is named: the first usable one of a method, installed before shipped."""
        usable = [e for e in self.list() if e.folder and not e.problem and e.card and e.card.method == method]
        if not usable:
            raise ModelError(f"There is no {method} model here; import one with `dropiris models import FILE`.")
        return Bundle.open(sorted(usable, key=lambda e: e.state)[0].folder or "")

    def import_bundle(self, path: str | os.PathLike[str]) -> Bundle:
        """Copy a bundle (folder or ``.zip``) to the installed models, checked and in one step."""
        source = Path(path)
        work = new_folder_beside(self.installed / "model", "importing")
        try:
            unpack(source, work)
            bundle = Bundle.open(work)
            target = self.installed / bundle.card.name
            put_in_place(work, target)
        except ModelError as problem:
            # The user knows the file that was given, not the temporary folder.
            raise ModelError(str(problem).replace(str(work), str(source))) from None
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return Bundle.open(target)

    def remove(self, name: str) -> None:
        """Delete an installed model; a shipped one cannot be removed."""
        entries = {entry.name: entry for entry in self.list()}
        entry = entries.get(name)
        if entry is None:
            raise ModelError(self._unknown(name, sorted(entries)))
        if entry.state != "installed" or entry.folder is None:
            raise ModelError(f"The model {name!r} is {entry.state}, not installed by you; it cannot be removed.")
        trash = new_folder_beside(entry.folder, "removing")
        try:
            # Renamed first: a half-deleted folder would otherwise be listed as a damaged model.
            entry.folder.rename(trash / "bundle")
        except OSError as problem:
            raise ModelError(f"{entry.folder} cannot be removed ({problem.strerror}); close what uses it.") from None
        finally:
            shutil.rmtree(trash, ignore_errors=True)

    def verify(self, name: str) -> Bundle:
        """Read every byte: card, header, and the SHA-256 of all listed files."""
        bundle = self.find(name)
        for file, digest in bundle.card.sha256.items():
            check_digest(bundle.folder, file, digest, again=True)
        return bundle

    def download(
        self,
        entry: CatalogueEntry,
        progress: ProgressCallback = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> Bundle:
        """Fetch an available model (resumed when a part is here), check its SHA-256 and install it.

        Nothing is fetched when that version is already installed.
        """
        target = self.installed / entry.name
        if entry.card and (target / CARD).is_file():
            bundle = Bundle.open(target)
            if bundle.card.version == entry.card.version:
                return bundle
        if not entry.url:
            raise ModelError(f"The model {entry.name!r} has no download address; import it from a file.")
        archive = fetch(entry.url, entry.sha256, self.installed / ".downloads", progress, cancel)
        bundle = self.import_bundle(archive)
        archive.unlink(missing_ok=True)
        return bundle

    def _scan(self, root: Path, state: str) -> Entries:
        if not root.is_dir():
            return []
        found = []
        for folder in sorted(root.iterdir()):
            if folder.name.startswith(".") or not (folder / CARD).is_file():
                continue
            try:
                card = Bundle.open(folder, digests=False).card
                found.append(CatalogueEntry(card.name, card, folder, state))
            except ModelError as problem:
                found.append(CatalogueEntry(*_name_and_card(folder), folder, state, str(problem)))
        return found

    def _available(self) -> Entries:
        path = self.shipped / AVAILABLE
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

    @staticmethod
    def _unknown(name: str, names: Names) -> str:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        if near:
            return f"There is no model {name!r}; did you mean {near[0]!r}?"
        have = f"choose among: {', '.join(names)}" if names else "import one with `dropiris models import FILE`"
        return f"There is no model {name!r}; {have}."


def _name_and_card(folder: Path) -> tuple[str, ModelCard | None]:
    try:
        card = read_card(folder)
        return card.name, card
    except ModelError:
        return folder.name, None
