"""`top`: a running service at a glance, again and again."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from typing import Annotated, Final

import typer
from rich.console import Console, ConsoleDimensions, RenderableType
from rich.live import Live
from rich.text import Text

from actors.catalog.store import JsonObject
from actors.interfaces.errors import explained
from actors.interfaces.keyboard import keyboard
from actors.interfaces.look import Looker
from actors.interfaces.render import print_drawn, print_json
from actors.interfaces.session import ConfigOption, JsonOption, open_session
from actors.interfaces.top_view import SORTS, Frame, draw_frame

__all__ = ["top"]

_ROWS: Final = 40
_KEY_SECONDS: Final = 0.25
_KEYS: Final = "q quit   s sort   / filter"
_ESCAPE: Final = "\x1b"


def top(
    ctx: typer.Context,
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.2, max=3_600, help="How often it looks again.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one frame, and end.", show_default=False)] = False,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1_000, help="Rows of each table, at most.")] = _ROWS,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a running service at a glance: who leads, what is stale, in flight (with its steps), queued, failing and
    paused, what expires next, how many events and decisions there are, and how far behind it is.

    It looks again until q is pressed; s sorts the runs otherwise, / filters by name. One frame where the output is no
    terminal. 1 if no service runs.

    \b
    Examples:
      python run.py top
      python run.py top --interval 5
      python run.py top --once
      python run.py top --json
    """
    with open_session(ctx, config) as session:
        looker = Looker(session, limit=limit)
        first = looker.look(with_progress=True)
        if as_json:
            print_json(first)
        elif once or not sys.stdout.isatty():
            print_drawn(draw_frame(first, Frame(_now_ms())))
        else:
            _Screen(looker, first, interval).run()


@dataclass(slots=True)
class _Wishes:
    """What was typed."""

    sort: str = SORTS[0]
    filter: str = ""
    is_typing: bool = False
    is_over: bool = False

    def take(self, typed: str) -> None:
        for key in typed:
            if self.is_typing:
                self._type(key)
            elif key in ("q", "Q", "\x04"):
                self.is_over = True
            elif key == "s":
                self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
            elif key == "/":
                self.filter, self.is_typing = "", True

    def _type(self, key: str) -> None:
        if key in ("\r", "\n"):
            self.is_typing = False
        elif key == _ESCAPE:
            self.filter, self.is_typing = "", False
        elif key in ("\x7f", "\b"):
            self.filter = self.filter[:-1]
        elif key.isprintable():
            self.filter += key

    @property
    def footer(self) -> str:
        filtered = f" /{self.filter}{'_' if self.is_typing else ''}" if self.filter or self.is_typing else ""
        return f" {_KEYS}   sorted by {self.sort}{filtered} "


class _Screen:
    """Draws what a thread of its own finds, so that a key is heard while the service takes its time to answer."""

    def __init__(self, looker: Looker, first: JsonObject, interval_seconds: float) -> None:
        self._looker = looker
        self._told, self._fault = first, ""
        self._interval_seconds = interval_seconds
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="top", daemon=True)

    def run(self) -> None:
        wishes = _Wishes()
        self._thread.start()
        out = Console(highlight=False, markup=False, emoji=False)
        try:
            with keyboard() as keys, Live(console=out, screen=True, auto_refresh=False) as live:
                while not wishes.is_over:
                    live.update(self._frame(wishes, out.size), refresh=True)
                    wishes.take(keys.wait(_KEY_SECONDS))
        except KeyboardInterrupt:
            return  # as q
        finally:
            self._is_over.set()
            self._thread.join(self._interval_seconds)

    def _frame(self, wishes: _Wishes, size: ConsoleDimensions) -> RenderableType:
        if self._fault:
            return Text.assemble((self._fault, "red"), "\n\nIt is looked for again. ", _KEYS)
        return draw_frame(self._told, Frame(_now_ms(), *size, wishes.sort, wishes.filter, wishes.footer))

    def _look(self) -> None:
        while not self._is_over.wait(self._interval_seconds):
            try:
                self._told, self._fault = self._looker.look(with_progress=True), ""
            except Exception as error:
                known = explained(error)
                self._fault = known[0] if known is not None else f"{type(error).__name__}: {error}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
