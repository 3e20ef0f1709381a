"""Single keys from the terminal, without Enter; none when stdin is no terminal."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Keyboard", "keyboard"]


class Keyboard:
    """Reads what was typed."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def wait(self, seconds: float) -> str:
        """What was typed within this time, as soon as there is something; '' if nothing was."""
        watched = [] if self._descriptor is None else [self._descriptor]
        ready, _, _ = select.select(watched, [], [], seconds)
        return os.read(ready[0], 64).decode(errors="ignore") if ready else ""


@contextmanager
def keyboard() -> Iterator[Keyboard]:
    """Keys are given one by one, and not echoed, until the block ends; Ctrl-C interrupts as ever."""
    if not sys.stdin.isatty():
        yield Keyboard(None)
        return
    descriptor = sys.stdin.fileno()
    former = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield Keyboard(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, former)
