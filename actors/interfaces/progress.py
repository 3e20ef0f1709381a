"""A progress bar on stderr while somebody watches; nothing when that is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

__all__ = ["Stage", "StartStage", "progress"]

Stage = Callable[[int, int | None], None]
"""Told how much of how much is done; None: nobody knows."""
StartStage = Callable[[str], Stage]


@contextmanager
def progress() -> Iterator[StartStage]:
    """Gives what begins a stage by its name."""
    if not sys.stderr.isatty():
        yield lambda _name: lambda _done, _all: None
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(show_speed=True),
        TimeElapsedColumn(),
        console=Console(file=sys.stderr),
        transient=True,
    )

    def start(name: str) -> Stage:
        task = bar.add_task(name, total=None)
        return lambda done, total: bar.update(task, completed=done, total=total)

    with bar:
        yield start
