"""Every failure as one sentence on stderr and an exit code: 0 done, 1 failed, 2 bad usage."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from dropiris.errors import Cancelled, DropIrisError

CANCELLED = "Cancelled; nothing was written."


class SentenceGroup(TyperGroup):
    """The top-level command: turns exceptions into sentences, with ``--debug`` anywhere on the line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # People add --debug to the end of the line that just failed; it belongs to the top level.
        if "--debug" in args:
            args = ["--debug", *(word for word in args if word != "--debug")]
        try:
            return super().parse_args(ctx, args)
        except Exception as problem:
            _bad_usage(problem)
            raise

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, Cancelled) as stop:
            told = isinstance(stop, Cancelled) and str(stop) != str(Cancelled())
            say(str(stop) if told else CANCELLED)
            raise typer.Exit(1) from None
        except Exception as problem:
            _bad_usage(problem)
            # typer's own exceptions carry their exit code and message.
            if hasattr(problem, "exit_code") or isinstance(problem, typer.Abort) or ctx.params.get("debug"):
                raise
            fail(problem)


def _bad_usage(problem: Exception) -> None:
    """A wrong option or argument as a plain sentence: typer's boxes break file names over lines."""
    is_usage = getattr(problem, "exit_code", None) == 2 and hasattr(problem, "format_message")
    # A group without a verb answers with its help, which is no sentence.
    if is_usage and type(problem).__name__ != "NoArgsIsHelpError":
        say(f"Error: {problem.format_message()} See `{_command(problem)} --help`.")  # type: ignore[attr-defined]
        raise typer.Exit(2) from None


def _command(problem: Exception) -> str:
    context = getattr(problem, "ctx", None)
    return context.command_path if context is not None else "dropiris"


def say(sentence: str) -> None:
    """One line on stderr."""
    print(sentence, file=sys.stderr, flush=True)


def sentence_of(problem: BaseException) -> str:
    """What a person can act on; an unforeseen error names its kind."""
    if isinstance(problem, DropIrisError):
        return str(problem)
    if isinstance(problem, MemoryError):
        return "The memory of this machine is too small for this scan; close programs or crop the scan."
    if isinstance(problem, ModuleNotFoundError):
        return f"This needs {problem.name}, which is not installed; run `pip install dropiris[train]`."
    if isinstance(problem, OSError) and problem.filename:
        return f"{problem.filename}: {problem.strerror}; check the path, its permissions and the free space."
    text = " ".join(str(problem).split())
    return f"Unexpected {type(problem).__name__}: {text[:300]}; run again with --debug and report it."


def fail(problem: BaseException) -> NoReturn:
    say(f"Error: {sentence_of(problem)}")
    raise typer.Exit(1) from None
