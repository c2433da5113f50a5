"""Pieces of a benchmark, each with a result file of its own: what is there is read, what is missing is made."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropiris.errors import DropIrisError, InputError
from dropiris.files.writing import replacing


@dataclass(frozen=True)
class Unit:
    """One piece of work.

    Attributes
    ----------
    what : str
        For messages: "hippocampus, ensemble of 3, draw 2".
    file : Path
        Where its result goes.
    settings : dict
        Everything the result depends on, plain JSON; a stored result with other settings is refused.
    make : callable
        Returns the result, plain JSON.
    """

    what: str
    file: Path
    settings: dict[str, Any]
    make: Callable[[], dict[str, Any]]

    def read(self) -> dict[str, Any] | None:
        """The stored result; None where there is none yet.

        Raises
        ------
        InputError
            The file is damaged, or was made with other settings.
        """
        try:
            stored = json.loads(self.file.read_text(encoding="utf-8"))
            then, result = stored["settings"], stored["result"]
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise InputError(f"{self.file} cannot be read ({problem.strerror}); check its permissions.") from None
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{self.file} is damaged; remove it and it is made again.") from None
        for key, now in self.settings.items():
            if then.get(key) != now:
                raise InputError(
                    f"{self.file} was made with {key}={then.get(key)}, not {now}; choose another output or remove it."
                )
        return dict(result)

    def run(self) -> dict[str, Any]:
        """Make the result and store it."""
        result = self.make()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.file, ".json") as hidden:
            text = json.dumps({"settings": self.settings, "result": result}, indent=1)
            hidden.write_text(text + "\n", encoding="utf-8")
        return result


def run_units(
    units: Sequence[Unit], tell: Callable[[str], None], only_read: bool = False
) -> tuple[list[tuple[Unit, dict[str, Any]]], list[str]]:
    """Results of all units that have one, and a sentence for each that failed."""
    results, failures = [], []
    for number, unit in enumerate(units, start=1):
        what = f"{number}/{len(units)} {unit.what}"
        try:
            result = unit.read()
            if result is None and not only_read:
                result = unit.run()
                tell(f"{what}: {result.get('told', 'done')}")
        except DropIrisError as problem:
            failures.append(f"{what}: {problem}")
            tell(f"{what}: failed: {problem}")
            continue
        if result is not None:
            results.append((unit, result))
    return results, failures
