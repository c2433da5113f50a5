"""The page of the command line, from the commands themselves: it cannot say what they do not do."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

from typer.main import get_command

from dropiris.cli.main import app

_WORDS = {Path: "PATH", int: "WHOLE NUMBER", float: "NUMBER"}

OPENING = """# Command line

Made from the code when this site was built. Every verb ends with 0 when it did what was asked, 1 when it failed and 2
when it was called wrongly; an error is one sentence. Settings in the form `KEY=VALUE` are listed under
[Training](training.md) and in the files of `training/configs/`.
"""


def commands(command: Any = None, name: str = "dropiris") -> Iterator[tuple[str, Any]]:
    """Every verb with its full name, groups left out."""
    command = command or get_command(app)
    if not hasattr(command, "commands"):
        yield name, command
        return
    # groups first: segmenting and training before the small verbs
    for word, inner in sorted(command.commands.items(), key=lambda item: not hasattr(item[1], "commands")):
        yield from commands(inner, f"{name} {word}")


def page() -> str:
    """The page, in Markdown."""
    return OPENING + "".join(_section(name, command) for name, command in commands())


def _section(name: str, command: Any) -> str:
    parts = [f"\n## {name}\n\n{_plain(command.help or '')}\n"]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help" and not p.hidden]
    usage = " ".join([name, *(_word(p) for p in arguments), "[OPTIONS]" if options else ""]).strip()
    parts.append(f"\n```text\n{usage}\n```\n")
    if arguments:
        rows = [f"| `{_word(p)}` | {_plain(p.help or '')} |" for p in arguments]
        parts.append("\n| argument | meaning |\n|---|---|\n" + "\n".join(rows) + "\n")
    if options:
        kinds = get_type_hints(inspect.unwrap(command.callback))
        rows = [f"| {_names(p)} | {_kind(p, kinds)} | {_meaning(p)} |" for p in options]
        parts.append("\n| option | value | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    return "".join(parts)


def _word(argument: Any) -> str:
    word = argument.metavar or (argument.name or "").upper()
    if argument.nargs != 1 and "..." not in word:
        word += "..."
    return word if argument.required or word.startswith("[") else f"[{word}]"


def _names(option: Any) -> str:
    return ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))


def _kind(option: Any, kinds: Mapping[str, Any]) -> str:
    """What follows an option: its choices, its own word for it, or the word for its type."""
    if option.is_flag:
        return ""
    kind = next((k for k in (*get_args(kinds[option.name]), kinds[option.name]) if isinstance(k, type)), str)
    if issubclass(kind, Enum):
        return ", ".join(f"`{choice.value}`" for choice in kind)
    return f"`{option.metavar or _WORDS.get(kind, 'TEXT')}`"


def _meaning(option: Any) -> str:
    text = _plain(option.help or "")
    default = getattr(option.default, "value", option.default)
    if option.required:
        return f"{text} **Required.**"
    if option.is_flag or default in (None, "", [], ()) or callable(default) or "Default" in text:
        return text
    return f"{text} Default: `{default}`."


def _plain(text: str) -> str:
    """Help as a table's cell: one line, no markup of its own."""
    text = re.sub(r"\s+", " ", text).strip()
    return text.replace("|", "\\|").replace("<", "&lt;")
