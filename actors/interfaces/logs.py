"""Logging: one line for each event on stdout, for a person or for a machine.

Lines are written by a thread of their own, because actors report from the dispatcher's threads and a reader that
stalls must not stall them. When the reader is too slow, lines are dropped and counted.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import sys
import threading
import time
from queue import Full, Queue
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

from actors.interfaces.log_console import ConsoleLine, colours_wanted
from actors.interfaces.log_observer import LogObserver

__all__ = ["LogFormat", "LogObserver", "Logging", "configure_logging"]

LogFormat = Literal["auto", "console", "json"]
_MOST_WAITING = 10_000
_STOP_SECONDS = 5.0


class Logging:
    """Logging that has been switched on."""

    def __init__(self, writer: _Writer, handler: _Enqueue) -> None:
        self._writer = writer
        self._handler = handler
        self._is_stopped = False

    @property
    def dropped(self) -> int:
        """Lines that were lost because the reader was too slow."""
        return self._handler.dropped

    def stop(self) -> None:
        """Write what waits, unless the reader still stalls; harmless a second time."""
        if self._is_stopped:
            return
        self._is_stopped = True
        atexit.unregister(self.stop)
        logging.getLogger().removeHandler(self._handler)
        self._writer.stop()
        if self._handler.dropped:
            print(f"{self._handler.dropped} log lines were dropped: their reader was too slow", file=sys.stderr)


def configure_logging(format: LogFormat = "auto", level: str = "info", *, stream: TextIO | None = None) -> Logging:
    """Send every log line, ours and those of libraries, to `stream` (stdout).

    `auto` is `console` on a terminal and `json` elsewhere. Colours only on a terminal, and never with NO_COLOR set.

    Raises:
        ValueError: the level is none of debug, info, warning, error.
    """
    number = _level(level)
    out = stream if stream is not None else sys.stdout
    console = format == "console" or (format == "auto" and out.isatty())
    # wrap_for_formatter hands the event over as it is: the writing thread renders it.
    common: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper("iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *common,
            # Here, because only the thread that logs has the exception at hand.
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*common, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                *_renderer(console, coloured=colours_wanted(out)),
            ],
        )
    )
    waiting: Queue[logging.LogRecord | None] = Queue(_MOST_WAITING)
    writer = _Writer(waiting, handler)
    enqueue = _Enqueue(waiting)
    root = logging.getLogger()
    for previous in [h for h in root.handlers if isinstance(h, _Enqueue)]:
        root.removeHandler(previous)
    root.addHandler(enqueue)
    root.setLevel(number)
    writer.start()
    active = Logging(writer, enqueue)
    atexit.register(active.stop)
    return active


def _renderer(console: bool, *, coloured: bool) -> list[Processor]:
    if console:
        return [ConsoleLine(coloured=coloured)]
    return [_without_text, structlog.processors.JSONRenderer(ensure_ascii=False, default=str)]


def _without_text(_logger: object, _method: str, event: EventDict) -> EventDict:
    # For a machine the fields say the same.
    event.pop("text", None)
    return event


def _level(name: str) -> int:
    levels = {
        "debug": logging.DEBUG,
        "info": logging.INFO,
        "warning": logging.WARNING,
        "error": logging.ERROR,
    }
    try:
        return levels[name.lower()]
    except KeyError:
        raise ValueError(f"log level {name!r} is unknown; use one of {', '.join(levels)}") from None


class _Enqueue(logging.Handler):
    """Hands records over as they are, and never waits."""

    def __init__(self, waiting: Queue[logging.LogRecord | None]) -> None:
        super().__init__()
        self._waiting = waiting
        self.dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._waiting.put_nowait(record)
        except Full:
            self.dropped += 1


class _Writer(threading.Thread):
    """Writes the records. A daemon: a reader that stalls for ever must not keep the process alive."""

    def __init__(self, waiting: Queue[logging.LogRecord | None], handler: logging.Handler) -> None:
        super().__init__(name="log-writer", daemon=True)
        self._waiting = waiting
        self._handler = handler

    def run(self) -> None:
        while (record := self._waiting.get()) is not None:
            self._handler.handle(record)

    def stop(self) -> None:
        deadline = time.monotonic() + _STOP_SECONDS
        with contextlib.suppress(Full):
            self._waiting.put(None, timeout=_STOP_SECONDS)
            self.join(max(0.0, deadline - time.monotonic()))
