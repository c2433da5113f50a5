"""By what a scan and a result are known again: size and time at a glance, SHA-256 when those do not say enough."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dropiris.models.bundle import WEIGHTS, Bundle, sha256_of


def mark_of(scan: Path) -> dict[str, Any]:
    """Bytes, newest change (ns) and SHA-256 of a scan; of a DICOM folder over its files by name."""
    return {**_glance(scan), "sha256": _content(scan)}


def is_still(scan: Path, mark: Mapping[str, Any] | None) -> bool:
    """Whether a scan is the one that was marked; a copy with another time is read to find out."""
    if not mark or not scan.exists():
        return False
    now = _glance(scan)
    if now["bytes"] != mark.get("bytes"):
        return False
    return now["modified"] == mark.get("modified") or _content(scan) == mark.get("sha256")


def digest_of_facts(facts: Mapping[str, Any]) -> str:
    """SHA-256 of JSON with sorted keys."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def model_facts(bundle: Bundle) -> dict[str, Any]:
    """What of a model decides about its results; not its title, scores or thumbnail."""
    card = bundle.card.to_json()
    decisive = ("method", "network", "extractor", "spacing", "intensity", "window", "structures")
    weights = bundle.card.sha256.get(WEIGHTS) or sha256_of(bundle.weights)
    return {
        "model": bundle.card.name,
        "version": bundle.card.version,
        "weights": weights,
        "card": digest_of_facts({key: card.get(key) for key in decisive}),
    }


def _files(scan: Path) -> list[Path]:
    return sorted(path for path in scan.iterdir() if path.is_file()) if scan.is_dir() else [scan]


def _glance(scan: Path) -> dict[str, int]:
    stats = [path.stat() for path in _files(scan)]
    return {"bytes": sum(s.st_size for s in stats), "modified": max((s.st_mtime_ns for s in stats), default=0)}


def _content(scan: Path) -> str:
    if not scan.is_dir():
        return sha256_of(scan)
    return digest_of_facts({path.name: sha256_of(path) for path in _files(scan)})
