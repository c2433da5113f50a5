"""Settings of a training run from a file and from ``key=value`` words, or one sentence about what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel


def read_settings(kind: type[BaseModel], file: Path | None, data: list[Path] | None, words: list[str]) -> Any:
    """Validated settings; words win over ``--data``, which wins over the file.

    A word may reach into a setting: ``training.count=5``.

    Raises
    ------
    InputError
        A file that cannot be read, or a value in it that cannot be used.
    typer.BadParameter
        A word that cannot be used.
    """
    from pydantic import ValidationError

    from dropiris.errors import InputError

    values = _read_file(file) if file else {}
    typed: dict[str, Any] = {"data": [str(path) for path in data]} if data else {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{word!r} is no setting; write key=value, for example max_steps=1000.")
        _put(typed, key, _value(text))
    try:
        return kind(**_merged(values, typed))
    except ValidationError as problem:
        first = problem.errors()[0]
        sentence = _sentence(kind, first)
        if file and not _has(typed, first["loc"]) and _has(values, first["loc"]):
            raise InputError(f"{file}: {sentence}") from None
        raise typer.BadParameter(sentence) from None


def _put(typed: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        inner = typed.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise typer.BadParameter(f"{key} reaches into {parent}, which was given as a whole; write one of them.")
        typed = inner
    typed[last] = value


def _merged(values: dict[str, Any], typed: dict[str, Any]) -> dict[str, Any]:
    """``typed`` over ``values``; inside a setting only what was typed is replaced."""
    merged = dict(values)
    for key, value in typed.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _has(values: Any, place: tuple[int | str, ...]) -> bool:
    for step in place:
        if not isinstance(values, dict) or step not in values:
            return isinstance(values, list)
        values = values[step]
    return True


def _sentence(kind: type[BaseModel], error: Any) -> str:
    import difflib

    place = tuple(str(step) for step in error["loc"])
    name = ".".join(place)
    if error["type"] == "extra_forbidden":
        known = [".".join((*place[:-1], key)) for key in _settings_at(kind, place[:-1])]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose among: {', '.join(known)}."
        return f"there is no setting {name!r}; {hint}"
    if error["type"] == "missing" and name == "data":
        return "give at least one dataset: --data DATASET."
    if error["type"] == "missing":
        return f"the setting {name} is needed."
    if not place:  # settings that do not fit each other
        return f"{error['msg'].removeprefix('Value error, ')}."
    return f"the setting {name}={error['input']!r} cannot be used: {error['msg'].lower()}."


def _settings_at(kind: Any, place: tuple[str, ...]) -> list[str]:
    """Names of the settings at a place: walks from model to model through optional ones, lists and dictionaries."""
    from typing import get_args

    from pydantic import BaseModel

    def models(annotation: Any) -> list[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return [annotation]
        return [model for part in get_args(annotation) for model in models(part)]

    for step in place:
        if step in kind.model_fields:
            inner = models(kind.model_fields[step].annotation)
            kind = inner[0] if inner else kind
    return list(kind.model_fields)


def _read_file(file: Path) -> dict[str, Any]:
    from dropiris.errors import InputError

    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix.lower() == ".json":
            values = json.loads(text)
        else:
            import yaml

            try:
                values = yaml.safe_load(text) or {}
            except yaml.YAMLError as problem:
                raise ValueError from problem
    except OSError as problem:
        raise InputError(f"{file} cannot be read ({problem.strerror}); check the path.") from None
    except ValueError:
        raise InputError(f"{file} is no valid YAML or JSON; correct it.") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InputError(f"{file} holds no settings; write one `key: value` a line.")
    return values


def _value(text: str) -> Any:
    """A word's value: JSON where it is JSON (2, 0.5, true, null, [1, 2]), a number like 5e-4, else text."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return float(text)  # JSON knows 5e-4 but not .5
    except ValueError:
        return text
