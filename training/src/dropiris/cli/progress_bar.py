"""Progress of a running verb on stderr: stage, tile i/N, time left. Plain silence where nobody watches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dropiris.cli.sentences import say
from dropiris.progress import Progress, ProgressCallback


@contextmanager
def progress_bar(title: str) -> Iterator[ProgressCallback]:
    """A callback for one operation; the bar disappears when it ends, remarks stay."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[tile]}"), TimeRemainingColumn())
    # The title is a file name: "[...]" in it is no markup.
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task(_escape(title), total=1.0, tile="")

        def show(progress: Progress) -> None:
            tile = f"tile {progress.tile}/{progress.tiles}" if progress.tiles else ""
            bar.update(
                line,
                completed=progress.fraction,
                description=f"{_escape(title)} · {_escape(progress.stage)}",
                tile=tile,
            )
            if progress.message:
                if console.is_terminal:
                    console.print(f"Note: {progress.message}", markup=False, highlight=False)
                else:
                    say(f"Note: {progress.message}")

        yield show


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
