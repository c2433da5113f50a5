"""Checks of a model card's fields: each returns the value in its final type or says in one sentence what is wrong."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dropiris.errors import ModelError
from dropiris.intensity import IntensityRule
from dropiris.volume import SPACING_RANGE, Structure

# uint16 is the widest label array inference writes.
LARGEST_LABEL = 65535
_DIGEST = re.compile(r"[0-9a-f]{64}")
# Beside the card on any system; imports leave hidden files behind, so no leading dot.
_PICTURE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.png")


def text(who: str, key: str, value: Any) -> str:
    """A string; a list of strings is joined (MONAI writes authors either way)."""
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if not isinstance(value, str):
        raise ModelError(f"{who} has {key} {value!r}; it must be text.")
    return value


def pattern(who: str, key: str, value: Any, expected: re.Pattern[str], meaning: str) -> str:
    if not isinstance(value, str) or not expected.fullmatch(value):
        raise ModelError(f"{who} has {key} {value!r}; it must be {meaning}.")
    return value


def texts(who: str, key: str, value: Any) -> list[str]:
    """A list of strings; a single string counts as a list of one."""
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise ModelError(f"{who} has {key} {value!r}; it must be a list of words.")
    return list(value)


def mapping(who: str, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ModelError(f"{who} has {key} {value!r}; it must be an object of names and values.")
    return dict(value)


def items(who: str, key: str, data: Mapping[str, Any]) -> list[Any]:
    """The list under ``key``, empty when absent."""
    value = data.get(key, [])
    if not isinstance(value, list | tuple):
        raise ModelError(f"{who} has {key} {value!r}; it must be a list.")
    return list(value)


def window(who: str, value: Any) -> tuple[int, int, int]:
    good = isinstance(value, list | tuple) and len(value) == 3
    if not good or not all(isinstance(n, int) and not isinstance(n, bool) and 8 <= n <= 1024 for n in value):
        raise ModelError(f"{who} has window {value!r}; it must be three whole numbers of voxels from 8 to 1024.")
    return (value[0], value[1], value[2])


def mirrored(who: str, value: Any, method: str) -> bool:
    """True for DropGen models only."""
    if not isinstance(value, bool) or (value and method != "dropgen"):
        raise ModelError(f"{who} has mirrored {value!r}; it must be true or false, and true for DropGen models only.")
    return value


def spacing(who: str, value: Any, method: str) -> tuple[float, float, float] | None:
    if value is None:
        if method == "dropgen":
            raise ModelError(f"{who} has no spacing; a DropGen model needs three voxel sizes in mm.")
        return None
    low, high = SPACING_RANGE
    good = isinstance(value, list | tuple) and len(value) == 3 and all(isinstance(n, int | float) for n in value)
    if not good or not all(low <= n <= high for n in value):
        raise ModelError(f"{who} has spacing {value!r}; it must be three voxel sizes in mm.")
    return (float(value[0]), float(value[1]), float(value[2]))


def structure(who: str, item: Any) -> Structure:
    """One structure from ``{label, name, color, terminology}``."""
    if not isinstance(item, Mapping) or "label" not in item or "name" not in item:
        raise ModelError(f"{who} has a structure {item!r} without label and name; export the model again.")
    color = item.get("color", (0.5, 0.5, 0.5))
    if not isinstance(color, list | tuple):
        raise ModelError(f"{who} gives {item['name']!r} the color {color!r}; it must be three numbers from 0 to 1.")
    return Structure(item["label"], item["name"], tuple(color), item.get("terminology", ""))  # type: ignore[arg-type]


def structures(who: str, value: Any, method: str) -> tuple[Structure, ...]:
    """Structures with unique names and labels from 1; a DropGen model has at least one."""
    found = tuple(value)
    for item in found:
        label, name, color = item.label, item.name, item.color
        if not isinstance(label, int) or isinstance(label, bool) or not 1 <= label <= LARGEST_LABEL:
            raise ModelError(f"{who} gives {name!r} the label {label!r}; it must be from 1 to {LARGEST_LABEL}.")
        if not isinstance(name, str) or not name.strip():
            raise ModelError(f"{who} has a structure without a name (label {label}); name it.")
        if len(color) != 3 or not all(isinstance(c, int | float) and 0 <= c <= 1 for c in color):
            raise ModelError(f"{who} gives {name!r} the color {color!r}; it must be three numbers from 0 to 1.")
        if not isinstance(item.terminology, str):
            raise ModelError(f"{who} gives {name!r} a terminology that is not text; export the model again.")
    for key in ("label", "name"):
        values = [getattr(item, key) for item in found]
        twice = [v for v in values if values.count(v) > 1]
        if twice:
            raise ModelError(f"{who} lists the structure {key} {twice[0]!r} twice; each must be unique.")
    if method == "dropgen" and not found:
        raise ModelError(f"{who} lists no structure; a DropGen model names what it segments.")
    return found


def built_from(who: str, key: str, value: Any) -> dict[str, Any]:
    """``{"name": ..., ...constructor arguments}``."""
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str) or not value["name"]:
        raise ModelError(f'{who} has {key} {value!r}; it must be an object with a "name".')
    return dict(value)


def extractor(who: str, value: Any, method: str, name: re.Pattern[str]) -> dict[str, Any]:
    """As :func:`built_from`; shared features are named by a folder's name, a version and a digest."""
    data = built_from(who, "extractor", value)
    if method == "extractor":
        raise ModelError(f"{who} is an extractor and names another; export it again.")
    if "bundle" in data:
        shared = data["bundle"]
        keys = ("name", "version", "sha256")
        good = isinstance(shared, Mapping) and all(isinstance(shared.get(key), str) for key in keys)
        # The name leads to a folder: nothing that leads elsewhere.
        if not good or not name.fullmatch(shared["name"]) or not _DIGEST.fullmatch(shared["sha256"]):
            raise ModelError(f"{who} shares the features {shared!r}; they must have a name, a version and a sha256.")
        data["bundle"] = dict(shared)
    return data


def intensity(who: str, value: Any) -> dict[str, Any]:
    data = mapping(who, "intensity", value)
    try:
        rule = IntensityRule.from_json(data)
        ranges = [rule.percentiles, *([rule.ct_window] if rule.ct_window else [])]
        good = rule.scale in ("unit", "zscore") and all(float(low) < float(high) for low, high in ranges)
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ModelError(f"{who} has intensity {value!r}; give scale unit or zscore, percentiles and a ct_window.")
    return rule.to_json()


def scores(who: str, value: Any) -> list[dict[str, Any]]:
    """Measured scores; every one names its data set, metric and a finite value, and may have an interval."""
    if not isinstance(value, list | tuple):
        raise ModelError(f"{who} has scores {value!r}; they must be a list.")
    for item in value:
        good = isinstance(item, Mapping) and all(isinstance(item.get(key), str) for key in ("dataset", "metric"))
        number = item.get("value") if good else None
        if not isinstance(number, int | float) or not math.isfinite(number):
            raise ModelError(f"{who} has the score {item!r}; each needs dataset, structure, metric, value and cases.")
        if "interval" in item and not _is_interval(item["interval"]):
            raise ModelError(f"{who} has the score {item!r}; its interval must be two numbers, the lower one first.")
    return [dict(item) for item in value]


def _is_interval(value: Any) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return False
    numbers = all(isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in value)
    return numbers and value[0] <= value[1]


def failures(who: str, value: Any) -> list[dict[str, Any]]:
    """What is known to go wrong: a text each, and the file name of a picture in the bundle where there is one."""
    if not isinstance(value, list | tuple):
        raise ModelError(f"{who} has failures {value!r}; they must be a list.")
    for item in value:
        said = item.get("text") if isinstance(item, Mapping) else None
        if not isinstance(said, str) or not said.strip():
            raise ModelError(f"{who} has the failure {item!r}; each needs a text that says what goes wrong.")
        picture = item.get("picture", "none.png")
        if not isinstance(picture, str) or not _PICTURE.fullmatch(picture):
            raise ModelError(f"{who} has the picture {picture!r}; it must be the name of a .png file beside the card.")
    return [dict(item) for item in value]


def trust(who: str, value: Any) -> dict[str, Any]:
    """A calibration: its threshold lies from 0 to 1, its rank correlation from -1 to 1; the rest is free."""
    data = mapping(who, "trust", value)
    for key, low in (("threshold", 0.0), ("rank_correlation", -1.0)):
        number = data.get(key, 0.0)
        if not isinstance(number, int | float) or isinstance(number, bool) or not low <= number <= 1.0:
            raise ModelError(f"{who} has the trust {key} {number!r}; it must be a number from {low:g} to 1.")
    return data


def digests(who: str, value: Any) -> dict[str, str]:
    data = mapping(who, "sha256", value)
    for name, digest in data.items():
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise ModelError(f"{who} lists {digest!r} as the SHA-256 of {name}; it must be 64 hexadecimal digits.")
    return data


def plain(data: dict[str, Any]) -> dict[str, Any]:
    """The same content in JSON's own types (tuples become lists); NaN and objects are refused."""
    try:
        return json.loads(json.dumps(data, allow_nan=False))
    except (TypeError, ValueError) as problem:
        raise ModelError(f"The model card {data.get('name')!r} holds a value that JSON cannot: {problem}.") from None
