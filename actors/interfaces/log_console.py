"""Log lines for a person who watches: `12:30:05  run submitted   gauges-clean@2026-11-23  ...`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import TextIO

from structlog.typing import EventDict

__all__ = ["ConsoleLine", "colours_wanted"]

_RESET = "\x1b[0m"
_DIM = "\x1b[2m"
_GREEN, _YELLOW, _BLUE, _CYAN, _RED = ("\x1b[32m", "\x1b[33m", "\x1b[34m", "\x1b[36m", "\x1b[31m")
_COLOURS: Mapping[str, str] = {
    "decision": _DIM,
    "run submitted": _BLUE,
    "run ended": _GREEN,
    "workflow": _CYAN,
}
_BY_LEVEL: Mapping[str, str] = {"warning": _YELLOW, "error": _RED, "critical": _RED}
_EVENT_WIDTH = 16
# Told by the line itself, or by its colour.
_NOT_SHOWN = frozenset({"timestamp", "level", "event", "exception", "stack"})


def colours_wanted(stream: TextIO) -> bool:
    """Colours are for terminals, and for none with NO_COLOR set (https://no-color.org) or TERM=dumb."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class ConsoleLine:
    """A structlog renderer. `text`, when an event has it, is said in place of the fields."""

    def __init__(self, *, coloured: bool) -> None:
        self._coloured = coloured

    def __call__(self, _logger: object, _method: str, event: EventDict) -> str:
        name = str(event.get("event", ""))
        level = str(event.get("level", "info"))
        colour = _BY_LEVEL.get(level) or _COLOURS.get(name, "")
        said = event.get("text")
        rest = str(said) if said is not None else _fields(event)
        line = f"{_clock(event.get('timestamp'))}  {self._paint(name.ljust(_EVENT_WIDTH), colour)}  {rest}".rstrip()
        for more in ("exception", "stack"):
            if event.get(more):
                line += f"\n{event[more]}"
        return line

    def _paint(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if self._coloured and colour else text


def _clock(timestamp: object) -> str:
    # The local time: who watches compares it with the clock on the wall.
    return datetime.fromisoformat(str(timestamp)).astimezone().strftime("%H:%M:%S")


def _fields(event: EventDict) -> str:
    return "  ".join(
        f"{key}={_value(value)}" for key, value in event.items() if key not in _NOT_SHOWN and value is not None
    )


def _value(value: object) -> str:
    text = " ".join(str(value).split("\n"))
    return f'"{text}"' if " " in text and "=" in text else text
