"""Which models are here: shipped with the program, installed by the user, or available for download."""

from __future__ import annotations

import difflib
import os
import shutil
from pathlib import Path

from dropiris.errors import ModelError
from dropiris.models.bundle import CARD, WEIGHTS, Bundle, check_digest, new_folder_beside, put_in_place, read_card
from dropiris.models.card import ModelCard
from dropiris.models.catalogue_entries import AVAILABLE, CatalogueEntry, models_in, models_to_download
from dropiris.models.download import fetch
from dropiris.models.folders import installed_folder, shipped_folder
from dropiris.models.shared_features import features_folders, find_features, shared_features
from dropiris.models.unpack import unpack
from dropiris.progress import CancelToken, ProgressCallback, ignore_progress

__all__ = ["AVAILABLE", "Catalogue", "CatalogueEntry"]

# The method Catalogue.list hides the type of that name inside the class.
Entries = list[CatalogueEntry]
Names = list[str]


class Catalogue:
    """The models in two folders: ``shipped`` is only read, ``installed`` belongs to the user.

    Creating one touches no file, and nothing here uses the network but :meth:`download`.
    """

    def __init__(self, shipped: str | os.PathLike[str] | None = None, installed: str | os.PathLike[str] | None = None):
        self.shipped = Path(shipped) if shipped is not None else shipped_folder()
        self.installed = Path(installed) if installed is not None else installed_folder()

    def list(self) -> Entries:
        """Every model: shipped ones first, then installed, then available. An installed one hides a shipped namesake.

        Features that models share are listed too, with method "extractor"; a model whose features are not here has
        that as its problem. Weights are not hashed here (:meth:`find` and :meth:`verify` do), so a list of many models
        stays quick.
        """
        shipped = models_in(self.shipped, "shipped", self._places)
        installed = models_in(self.installed, "installed", self._places)
        mine = {entry.name for entry in installed}
        here = [entry for entry in shipped if entry.name not in mine] + installed
        names = {entry.name for entry in here}
        return here + [entry for entry in models_to_download(self.shipped / AVAILABLE) if entry.name not in names]

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
            return self._open(entry.folder)
        if entry is not None:
            raise ModelError(
                f"The model {text!r} is not on this machine; run `dropiris models download {text}`, "
                f"or download {entry.url} elsewhere and import it."
            )
        path = Path(text)
        if path.is_dir():
            return self._open(path)
        if path.is_file():
            raise ModelError(f"{path} is a file; import it first with `dropiris models import {path.name}`.")
        raise ModelError(self._unknown(text, sorted(entries)))

    def default(self, method: str) -> Bundle:
        """The model used when none is named: the first usable one of a method, installed before shipped."""
        usable = [e for e in self.list() if e.folder and not e.problem and e.card and e.card.method == method]
        if not usable:
            raise ModelError(f"There is no {method} model here; import one with `dropiris models import FILE`.")
        return self._open(sorted(usable, key=lambda e: e.state)[0].folder or "")

    def import_bundle(self, path: str | os.PathLike[str]) -> Bundle:
        """Copy a bundle (folder or ``.zip``) to the installed models, checked and in one step.

        A model may come before the features it shares: :meth:`list` says what it lacks until they are here. Features
        that models use are not replaced by other ones.
        """
        source = Path(path)
        work = new_folder_beside(self.installed / "model", "importing")
        try:
            unpack(source, work)
            bundle = Bundle.open(work)
            target = self.installed / bundle.card.name
            self._refuse_replacing(target, bundle.card)
            put_in_place(work, target)
        except ModelError as problem:
            # The user knows the file that was given, not the temporary folder.
            raise ModelError(str(problem).replace(str(work), str(source))) from None
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return Bundle.open(target)

    def remove(self, name: str) -> None:
        """Delete an installed model; a shipped one cannot be removed, nor features that models use."""
        entries = {entry.name: entry for entry in self.list()}
        entry = entries.get(name)
        if entry is None:
            raise ModelError(self._unknown(name, sorted(entries)))
        if entry.state != "installed" or entry.folder is None:
            raise ModelError(f"The model {name!r} is {entry.state}, not installed by you; it cannot be removed.")
        users = self.users(entry.folder)
        if users:
            raise ModelError(f"The model {users[0]!r} uses the features {name!r}; remove that model first.")
        trash = new_folder_beside(entry.folder, "removing")
        try:
            # Renamed first: a half-deleted folder would otherwise be listed as a damaged model.
            entry.folder.rename(trash / "bundle")
        except OSError as problem:
            raise ModelError(f"{entry.folder} cannot be removed ({problem.strerror}); close what uses it.") from None
        finally:
            shutil.rmtree(trash, ignore_errors=True)

    def verify(self, name: str) -> Bundle:
        """Read every byte: card, header, and the SHA-256 of all listed files, those of shared features too."""
        bundle = self.find(name)
        features = find_features(bundle, self._places)
        for part in [bundle, features] if features else [bundle]:
            for file, digest in part.card.sha256.items():
                check_digest(part.folder, file, digest, again=True)
        return bundle

    def users(self, folder: str | os.PathLike[str]) -> Names:
        """Models that could not be used without the features in ``folder``."""
        where, found = Path(os.path.abspath(folder)), []
        for entry in self.list():
            if entry.card is not None and entry.folder is not None:
                if features_folders(entry.folder, entry.card, self._places) == [where]:
                    found.append(entry.name)
        return found

    def download(
        self,
        entry: CatalogueEntry,
        progress: ProgressCallback = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> Bundle:
        """Fetch an available model (resumed when a part is here), check its SHA-256 and install it.

        Nothing is fetched when that version is already installed. Features that it shares are fetched first where
        they are available and not here.
        """
        target = self.installed / entry.name
        if entry.card and (target / CARD).is_file():
            bundle = Bundle.open(target)
            if bundle.card.version == entry.card.version:
                return bundle
        if not entry.url:
            raise ModelError(f"The model {entry.name!r} has no download address; import it from a file.")
        needed = self._available_features(entry)
        if needed is not None:
            self.download(needed, progress, cancel)
        archive = fetch(entry.url, entry.sha256, self.installed / ".downloads", progress, cancel)
        bundle = self.import_bundle(archive)
        archive.unlink(missing_ok=True)
        return bundle

    @property
    def _places(self) -> tuple[Path, Path]:
        return self.installed, self.shipped

    def _open(self, folder: str | os.PathLike[str]) -> Bundle:
        """A bundle whose features, where it shares some, are here."""
        bundle = Bundle.open(folder)
        find_features(bundle, self._places)
        return bundle

    def _refuse_replacing(self, target: Path, card: ModelCard) -> None:
        users = self.users(target)
        if users and read_card(target).sha256.get(WEIGHTS) != card.sha256.get(WEIGHTS):
            used = f"{card.name} {read_card(target).version}"
            raise ModelError(
                f"The model {users[0]!r} uses the features {used}, which {card.version} would replace; "
                "first import a version of that model for them, or remove it."
            )

    def _available_features(self, entry: CatalogueEntry) -> CatalogueEntry | None:
        """Where the features come from that a model shares, if they are not here."""
        card, wanted = entry.card, shared_features(entry.card) if entry.card else None
        if card is None or wanted is None or features_folders(self.installed / entry.name, card, self._places):
            return None
        for row in models_to_download(self.shipped / AVAILABLE):
            if row.name == wanted["name"] and row.card and row.card.sha256.get(WEIGHTS) == wanted["sha256"]:
                return row
        return None

    @staticmethod
    def _unknown(name: str, names: Names) -> str:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        if near:
            return f"There is no model {name!r}; did you mean {near[0]!r}?"
        have = f"choose among: {', '.join(names)}" if names else "import one with `dropiris models import FILE`"
        return f"There is no model {name!r}; {have}."
