"""What a model's card tells a user, in words short enough for one card of the list; and which models a search finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from dropiris.models.bundle import THUMBNAIL
from dropiris.models.card_words import score_in_words
from dropiris.panels.choices import count

# The filter's entries in the order of the .ui file; "" lists all.
STATES = ("", "shipped", "installed", "available")
# What a search for a scan's modality finds as well: models whose card says "any".
ANY = ("MR", "CT")


def listed(entries: Sequence[Any], method: str, words: str = "", state: str = "") -> list[Any]:
    """The entries of a method (and broken ones, whose method is unknown) that hold every word of a search.

    Features that models share segment nothing and have a method of their own.
    """
    wanted = words.casefold().split()
    return [
        entry
        for entry in entries
        if (entry.card is None or entry.card.method == method)
        and state in ("", entry.state)
        and all(word in _searched(entry) for word in wanted)
    ]


def usable(entry: Any) -> bool:
    """Whether a model is on this machine and has no problem."""
    return entry.card is not None and entry.folder is not None and not entry.problem


def why_not(entry: Any) -> str:
    """Why a chosen model cannot segment yet, as the Segment button says it, or ""."""
    if entry.problem:
        return str(entry.problem)
    if entry.folder is None:
        return _("Download the model first")
    return ""


def facts(entry: Any) -> list[str]:
    """The lines under a model's title: region, modality and structures; Dice, size, licence, where it is."""
    if entry.problem:
        return [str(entry.problem)]
    card = entry.card
    structures = (
        _("any structure of a reference") if card.method == "iris" else count(len(card.structures), _("structure"))
    )
    where = {"shipped": _("shipped"), "installed": _("installed"), "available": _("to download")}
    first = [", ".join(card.anatomy), ", ".join(card.modality), structures]
    second = [dice(card), megabytes(size(entry)), card.licence, where.get(entry.state, entry.state)]
    return [" · ".join(part for part in line if part) for line in (first, second)]


def dice(card: Any) -> str:
    """Mean measured Dice of a card, "" when nothing was measured."""
    values = [score for score in card.scores if score.get("metric", "").lower() == "dice"]
    means = [score["value"] for score in values if score.get("structure") == "mean"]
    chosen = means or [score["value"] for score in values]
    return f"Dice {sum(chosen) / len(chosen):.2f}" if chosen else _("not measured")


def measured(card: Any) -> str:
    """Every measured score, one a line."""
    return "\n".join(
        f"{score['dataset']}, {score['structure']}: {score['metric']} {score_in_words(score)} "
        f"({count(score.get('cases', 0), _('case'))})"
        for score in card.scores
    )


def known_failures(card: Any) -> str:
    """What the model is known to get wrong, one a line."""
    return "\n".join(_("Known failure: {what}").format(what=failure["text"]) for failure in card.failures)


def description(entry: Any) -> str:
    """What stands under the list for the chosen model; what it finds stands in the list of structures."""
    return str(entry.problem or entry.card.description)


def about(entry: Any) -> str:
    """The tooltip of a model: everything the card says in words, and where a download comes from."""
    if entry.card is None:
        return str(entry.problem)
    card = entry.card
    parts = [f"{card.title} {card.version}", entry.problem, measured(card), known_failures(card), card.citation]
    if entry.url:
        parts.append(f"{entry.url}\nSHA-256 {entry.sha256}")
    return "\n".join(part for part in parts if part)


def size(entry: Any) -> int:
    """Bytes on disk, those of features that it shares with other models too; or of the download."""
    if entry.folder is None:
        return int(entry.size)
    folders = [Path(folder) for folder in (entry.folder, entry.features) if folder is not None]
    files = [path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file()]
    return sum(path.stat().st_size for path in files)


def megabytes(number: int) -> str:
    """ "6.7 MB"; "" for nothing."""
    if not number:
        return ""
    value = number / 1e6
    return f"{value:.1f} MB" if value < 100 else f"{value:.0f} MB"


def thumbnail(entry: Any) -> str:
    """Path of the bundle's picture, or ""."""
    path = Path(entry.folder) / THUMBNAIL if entry.folder is not None else None
    return str(path) if path is not None and path.is_file() else ""


def _searched(entry: Any) -> str:
    card = entry.card
    if card is None:
        return str(entry.name).casefold()
    structures = [structure.name for structure in card.structures]
    modality = [*card.modality, *(ANY if "any" in card.modality else ())]
    parts = [entry.name, card.title, card.description, *card.anatomy, *modality, *structures]
    return " ".join(parts).casefold()
