"""How an actor that is being started learns where it will run.

pykka's `Actor.start` has no place for such an argument (it hands every one of them to `__init__`), so the
place is left in a thread-local for the next `PooledActor.start` of this thread to take. In order: the home
given to `spawn`, else the home of the actor that is running `start` (children live with their parents),
else the default dispatcher.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.runtime.mailbox import Home


class _Spawning(threading.local):
    def __init__(self) -> None:
        self.requested: Home | None = None  # set by spawn, taken by the next start
        self.inherited: Home | None = None  # set by a thread for the actors it runs
        self.starting: list[Home] = []  # one for each start under way; an __init__ may start others


_here = _Spawning()


@contextmanager
def next_start_in(home: Home) -> Iterator[None]:
    """Within the block, the next `PooledActor.start` on this thread starts its actor in `home`."""
    before, _here.requested = _here.requested, home
    try:
        yield
    finally:
        _here.requested = before


def inherit(home: Home | None) -> Home | None:
    """Let actors started on this thread without a home of their own run in `home`; returns the former one."""
    before, _here.inherited = _here.inherited, home
    return before


def inherited() -> Home | None:
    """The home of the actors that the current thread serves; None outside of such threads."""
    return _here.inherited


@contextmanager
def starting() -> Iterator[None]:
    """Surrounds one actor's start: takes the requested home, so that starts nested in it do not."""
    home, _here.requested = _here.requested, None
    _here.starting.append(home if home is not None else _fallback())
    try:
        yield
    finally:
        _here.starting.pop()


def home_of_starting() -> Home:
    """The home of the innermost actor being started on this thread."""
    return _here.starting[-1] if _here.starting else _fallback()


def _fallback() -> Home:
    if _here.inherited is not None:
        return _here.inherited
    from actors.runtime.dispatcher import default_dispatcher

    return default_dispatcher()
