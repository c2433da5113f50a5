"""A bundle out of a folder or a ``.zip`` that may come from anyone."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path, PurePosixPath

from dropiris.errors import ModelError
from dropiris.models.bundle import CARD, WEIGHTS

# What a bundle may hold; anything else in the source is left behind, code above all.
_ENDINGS = (".json", ".safetensors", ".png", ".md", ".txt")
# A few kB of zip can claim to be terabytes; no model of ours comes near this.
_LARGEST = 8 << 30


def unpack(source: Path, work: Path) -> None:
    """Copy the bundle in ``source`` into the empty folder ``work``; only plain files of known kinds are taken."""
    if source.is_dir():
        for path in sorted(source.iterdir()):
            if path.is_file() and path.suffix in _ENDINGS and not path.name.startswith("."):
                shutil.copyfile(path, work / path.name)
    elif source.is_file():
        _unzip(source, work)
    else:
        raise ModelError(f"{source} does not exist; give a model's folder or .zip file.")


def _unzip(source: Path, work: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            if any(_escapes(info.filename) for info in members):
                raise ModelError(f"{source} holds a path that leads outside of it; do not use this file.")
            if sum(info.file_size for info in members) > _LARGEST:
                raise ModelError(f"{source} unpacks to more than 8 GB, which no model does; do not use this file.")
            cards = [PurePosixPath(info.filename) for info in members if info.filename.split("/")[-1] == CARD]
            if len(cards) != 1:
                raise ModelError(f"{source} holds {len(cards)} models; give a .zip with one {CARD} and {WEIGHTS}.")
            for info in members:
                path = PurePosixPath(info.filename)
                if path.parent == cards[0].parent and path.suffix in _ENDINGS and not path.name.startswith("."):
                    # Written under its bare name: the archive's own paths and links never reach the disk.
                    with archive.open(info) as stored, (work / path.name).open("wb") as file:
                        shutil.copyfileobj(stored, file)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError):
        raise ModelError(f"{source} is not a readable .zip file; copy or download it again.") from None


def _escapes(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return not parts or ".." in parts or parts[0].startswith("/") or ":" in parts[0]
