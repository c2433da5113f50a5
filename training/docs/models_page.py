"""The page of the models that ship, from their cards: it says of a model what its own card says, and no more."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from repository_links import DOCS, ROOT, outside_code

from dropiris.cli.trust import calibration_in_words
from dropiris.models.bundle import CARD, Bundle, read_card
from dropiris.models.card import METHODS, ModelCard
from dropiris.models.card_words import score_in_words, training_in_words

MODELS = ROOT / "Resources" / "Models"
# Links are written as if the page lay there, like those of the pages beside it.
ADDRESS = "models.md"
_NO_DEVICE = "Not a medical device."
_KINDS = {"dropgen": "DropGen", "iris": "Iris", "features": "stable features, segments nothing by itself"}
# Characters that mean something to Markdown, to HTML or to equations; underscores only at the edge of a word.
_MARKUP = re.compile(r"[\\*\[\]{}<>|$#&]|(?<!\w)_|_(?!\w)")

OPENING = """# Models

The models that ship, as their cards describe them: made from the cards when this site was built.
`dropiris models info MODEL` shows the card of any model, these or your own.

!!! warning "Research software, not a medical device"
    None of these models is a medical device. Check every result before you use it.

Weights that were trained on data under CC BY-SA are released under CC BY-SA 4.0; whom to name stands under
*Training data*. Numbers in brackets are 95 % bootstrap intervals over cases, see [Evaluation](evaluation.md). What
holds for all models, and what nobody has seen, is on the page [Limits](limits.md).
"""


def page(models: Path = MODELS) -> str:
    """The page, in Markdown: models that segment first, then features."""
    bundles = [Bundle(path.parent, read_card(path.parent)) for path in sorted(models.glob(f"*/{CARD}"))]
    return OPENING + "".join(_model(b) for b in sorted(bundles, key=lambda b: METHODS.index(b.card.method)))


def _model(bundle: Bundle) -> str:
    card = bundle.card
    picture = _picture(bundle.thumbnail, card.title, "align=right") if bundle.thumbnail else ""
    parts = [f"## {plain(card.title)} {{ #{card.name} }}", picture, plain(card.description), _facts(card)]
    sections: dict[str, str] = {
        "Training data": _data(card),
        "Scores": _scores(card.scores),
        "Trust": _trust(card.trust),
        "Known failures": _failures(bundle),
        "Versions": _versions(card.to_json()["changelog"]),
    }
    for title, text in sections.items():
        parts += [f"### {title} {{ #{card.name}-{title.lower().replace(' ', '-')} }}", text] if text else []
    return "\n" + "\n\n".join(part for part in parts if part) + "\n"


def _facts(card: ModelCard) -> str:
    names, iris = "; ".join(s.name for s in card.structures), card.method == "iris"
    use = str(card.to_json()["intended_use"])
    rows = {
        "Kind": _KINDS[card.kind],
        "Structures": "any, from a reference" if iris else names,
        "Remembers": names if iris else "",
        "Modality": ", ".join(card.modality) or "any",
        "Anatomy": ", ".join(card.anatomy),
        "Voxel size": " x ".join(f"{side:g}" for side in card.spacing) + " mm" if card.spacing else "",
        "Licence": card.licence,
        "Authors": card.authors,
        "Citation": card.citation,
        "Trained": training_in_words(card.training),
        "Intended use": use if "not a medical device" in use.lower() else f"{use} {_NO_DEVICE}".strip(),
    }
    known = [[key, plain(value)] for key, value in rows.items() if value]
    return _table(["Name", f"`{card.name}`, version {plain(card.version)}"], known)


def _data(card: ModelCard) -> str:
    sets, said = card.training.get("datasets"), plain(card.to_json()["data_source"])
    if not isinstance(sets, Mapping) or not sets:
        return said or "The card does not name it."
    rows = []
    for name, about in sets.items():
        told = about if isinstance(about, Mapping) else {}
        parts = [("", "modality"), ("Licence: ", "licence"), ("Source: ", "source")]
        words = [f"{label}{plain(told[key])}." for label, key in parts if told.get(key)]
        rows.append(" ".join([f"- **{plain(name)}**:", *words]))
    return "\n".join(rows) + (f"\n\n{said}" if said else "")


def _scores(scores: Sequence[Mapping[str, Any]]) -> str:
    """A table without the columns that no score fills."""
    filled = [
        key for key in ("structure", "value", "cases", "note") if any(s.get(key) not in ("", None) for s in scores)
    ]
    head = ["dataset", "metric", *filled]
    rows = [[score_in_words(s) if key == "value" else plain(s.get(key, "")) for key in head] for s in scores]
    return _table(head, rows) if rows else "Nothing was measured."


def _trust(trust: Mapping[str, Any]) -> str:
    """How it was calibrated; "" for a model that never was."""
    figures = calibration_in_words(trust)
    if not figures:
        return ""
    measured = f"Measured on {plain(trust['data'])}." if trust.get("data") else ""
    return " ".join([f"A [trust](trust.md) {plain(figures)}.", measured, plain(trust.get("note", ""))]).strip()


def _failures(bundle: Bundle) -> str:
    said = []
    for failure in bundle.card.failures:
        path, text = bundle.picture(failure), plain(failure["text"])
        said.append(f"- {text}" + (f"\n\n    {_picture(path, failure['text'])}" if path else ""))
    return "\n".join(said) or "The card names none; see [Limits](limits.md)."


def _versions(changelog: Any) -> str:
    if not isinstance(changelog, Mapping):
        return plain(changelog)
    return "\n".join(f"- {plain(version)}: {plain(change)}" for version, change in changelog.items())


def _picture(path: Path, words: str, look: str = "") -> str:
    target = Path(os.path.relpath(path, DOCS)).as_posix()
    return f"![{plain(words)}]({target})" + (f"{{ {look} }}" if look else "")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def plain(text: Any) -> str:
    """A card's text as one line that shows as it was written; code in backticks stays code."""
    pieces = outside_code(re.sub(r"\s+", " ", str(text)).strip())
    return "".join(p if code else _MARKUP.sub(lambda m: f"&#{ord(m.group())};", p) for code, p in pieces)
