"""Stable features that several models share: a bundle of its own that their cards name, instead of a copy in each.

``extractor`` of such a model's card holds ``"bundle": {"name": "stable-features", "version": "1.0.0", "sha256": ...}``,
the digest being that of the features' weights file. Finding them needs no torch.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dropiris.errors import ModelError
from dropiris.models.bundle import CARD, PREFIX, WEIGHTS, Bundle, check_digest, read_card, write_bundle
from dropiris.models.card import ModelCard
from dropiris.models.folders import installed_folder, shipped_folder
from dropiris.models.weights_header import read_weights_header

_OWN = PREFIX["extractor"]


def shared_features(card: ModelCard) -> dict[str, str] | None:
    """``{"name", "version", "sha256"}`` of the features a model shares; None where it has its own, or none."""
    return (card.extractor or {}).get("bundle")


def own_extractor(card: ModelCard) -> dict[str, Any]:
    """The network that a card's ``extractor`` names, without where its weights are."""
    return {key: value for key, value in (card.extractor or {}).items() if key != "bundle"}


def features_folders(folder: Path, card: ModelCard, places: Sequence[Path] | None = None) -> list[Path]:
    """Folders whose card lists the features that the model in ``folder`` shares; nothing is hashed.

    Parameters
    ----------
    places : sequence of Path, optional
        Searched after the folder beside the model; by default the installed models, then the shipped ones.
    """
    wanted = shared_features(card)
    if wanted is None:
        return []
    return [place for place in _candidates(folder, wanted, places) if _listed(place) == wanted["sha256"]]


def find_features(bundle: Bundle, places: Sequence[Path] | None = None) -> Bundle | None:
    """The features that a model shares, their digest checked; None where it holds its own, or needs none.

    Raises
    ------
    ModelError
        They are not here, or others of that name: which ones to import.
    """
    wanted = shared_features(bundle.card)
    if wanted is None:
        return None
    found = features_folders(bundle.folder, bundle.card, places)
    if not found:
        raise ModelError(missing_features(bundle.folder, bundle.card, places))
    check_digest(found[0], WEIGHTS, wanted["sha256"])
    return Bundle.open(found[0])


def missing_features(folder: Path, card: ModelCard, places: Sequence[Path] | None = None) -> str:
    """What a model lacks and what to do, in one sentence; "" where its features are here or it needs none."""
    wanted = shared_features(card)
    if wanted is None or features_folders(folder, card, places):
        return ""
    needed = f"{wanted['name']} {wanted['version']}"
    others = [place for place in _candidates(folder, wanted, places) if (place / CARD).is_file()]
    here = f"{others[0]} holds others" if others else "they are not here"
    return f"The model {card.name!r} needs the features {needed}, and {here}; import {needed} too."


def share_extractor(bundle: Bundle, features: Bundle) -> Bundle:
    """Rewrite ``bundle`` in its place without the extractor that ``features`` holds as well, to the last bit.

    Raises
    ------
    ModelError
        The two extractors differ, or there is nothing to share; the bundle is left as it was.
    """
    import torch

    card, who = bundle.card, f"The model {bundle.card.name!r}"
    if features.card.method != "extractor":
        raise ModelError(f"{features.folder} is a {features.card.method} model; give a bundle of features.")
    digest = features.card.sha256.get(WEIGHTS)
    if digest is None:
        raise ModelError(f"{features.folder / CARD} lists no SHA-256 of its weights; export the features again.")
    found = {"name": features.card.name, "version": features.card.version, "sha256": digest}
    if shared_features(card) == found:
        return bundle
    tensors = bundle.tensors()
    own = {name: value for name, value in tensors.items() if name.startswith(_OWN)}
    if card.extractor is None or not own:
        raise ModelError(f"{who} holds no extractor that it could share; train it with these features.")
    theirs = features.tensors()
    equal = own.keys() == theirs.keys() and all(torch.equal(own[name], theirs[name]) for name in own)
    if not equal:
        raise ModelError(f"{who} was trained with other features than {features.card.name}; it must keep its own.")
    extractor = {**own_extractor(card), "bundle": found}
    half = any(info.dtype == "F16" for info in read_weights_header(bundle.weights)[0].values())
    rest = {name: value for name, value in tensors.items() if name not in own}
    shared = replace(card, extractor=extractor)
    return write_bundle(bundle.folder, shared, rest, half=half, also=bundle.others())


def _candidates(folder: Path, wanted: dict[str, str], places: Sequence[Path] | None) -> list[Path]:
    roots = [folder.parent, *((installed_folder(), shipped_folder()) if places is None else places)]
    return list(dict.fromkeys(Path(os.path.abspath(root)) / wanted["name"] for root in roots))


def _listed(folder: Path) -> str:
    """The digest that a features' card lists of its weights, "" where there is none to use."""
    try:
        card = read_card(folder)
    except ModelError:
        return ""
    there = card.method == "extractor" and (folder / WEIGHTS).is_file()
    return card.sha256.get(WEIGHTS, "") if there else ""
