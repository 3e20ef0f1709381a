from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import structlog

from actors.core.decide import Reason, Skip
from actors.interfaces import logs
from actors.interfaces.log_console import colours_wanted
from actors.interfaces.log_observer import LogObserver
from actors.interfaces.logs import LogFormat, Logging, configure_logging
from tests.unit.interfaces.reports import REPORTS


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class _Log:
    """Logging into text; `lines` stops it, so that all is written."""

    def __init__(self, format: LogFormat, level: str = "info") -> None:
        self._out = StringIO()
        self._active: Logging = configure_logging(format, level, stream=self._out)

    def lines(self) -> list[str]:
        self._active.stop()
        return self._out.getvalue().splitlines()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines()]


def test_a_decision_is_one_line_with_all_that_explains_it() -> None:
    log = _Log("json")
    LogObserver().decided(**REPORTS["decided"])
    (event,) = log.events()
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "decision",
        "level": "info",
        "asset_id": "orders.daily",
        "workflow": "orders",
        "partition_key": "2026-11-23",
        "decision": "wait",
        "reason": "backoff",
        "cause": "workflow.run.failed run-1",
        "run_id": None,
        "failures": 2,
        "next_look": "2025-11-23T10:00:00.000Z",
    }


@pytest.mark.parametrize(("level", "shown"), [("info", 0), ("debug", 1)])
def test_a_decision_that_changes_nothing_is_for_debugging(level: str, shown: int) -> None:
    log = _Log("json", level)
    LogObserver().decided(**{**REPORTS["decided"], "is_news": False, "decision": Skip(Reason.FRESH)})
    assert len(log.events()) == shown


def test_a_run_says_in_plain_words_what_started_and_why() -> None:
    log = _Log("console")
    LogObserver().run_submitted(**REPORTS["run_submitted"])
    (line,) = log.lines()
    clock, _, rest = line.partition("  ")
    assert len(clock) == 8
    assert rest == (
        "run submitted     orders@2026-11-23  upstream-updated, because of gauges.raw@2026-11-23 v12  (run-2)"
    )


def test_a_run_that_failed_is_a_warning_with_its_duration() -> None:
    log = _Log("json")
    observer = LogObserver()
    observer.run_ended(**REPORTS["run_ended"])
    observer.run_ended(**{**REPORTS["run_ended"], "outcome": "succeeded"})
    assert [(e["level"], e["outcome"], e["duration_ms"]) for e in log.events()] == [
        ("warning", "failed", 1_500),
        ("info", "succeeded", 1_500),
    ]


def test_a_suspension_says_how_to_go_on() -> None:
    log = _Log("console")
    LogObserver().failed(**REPORTS["failed"])
    assert " resume orders.daily`" in log.lines()[0]


@pytest.mark.parametrize("format", ["json", "console"])
def test_libraries_log_in_the_same_form(format: LogFormat) -> None:
    log = _Log(format)
    logging.getLogger("pykka").error("actor %s died", "x")
    (line,) = log.lines()
    if format == "json":
        event = json.loads(line)
        assert (event["event"], event["level"], event["logger"]) == ("actor x died", "error", "pykka")
    else:
        assert line[10:].startswith("actor x died")


def test_an_exception_keeps_its_traceback_in_one_json_line() -> None:
    log = _Log("json")
    try:
        raise ValueError("boo")
    except ValueError:
        structlog.stdlib.get_logger("headwater").exception("failed")
    (event,) = log.events()
    assert "ValueError: boo" in event["exception"]


def test_a_value_that_json_does_not_know_is_still_logged() -> None:
    log = _Log("json")
    structlog.stdlib.get_logger("headwater").info("odd", value=object, text="not for machines")
    (event,) = log.events()
    assert event["value"] == str(object)
    assert "text" not in event


def test_only_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert not colours_wanted(StringIO())
    assert colours_wanted(Terminal())
    out = Terminal()
    active = configure_logging("auto", "info", stream=out)
    LogObserver().catalog_unavailable(error="gone")
    active.stop()
    assert "\x1b[31mcatalog down" in out.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colours_wanted(Terminal())


def test_auto_is_json_where_nobody_watches() -> None:
    assert _events_of("auto")[0]["event"] == "catalog up"


def _events_of(format: LogFormat) -> list[dict[str, Any]]:
    log = _Log(format)
    LogObserver().catalog_available()
    return log.events()


def test_an_outage_is_told_once_and_so_is_its_end() -> None:
    log = _Log("json")
    observer = LogObserver()
    for _ in range(3):
        observer.catalog_unavailable(error="gone")
    for _ in range(2):
        observer.catalog_available()
    observer.catalog_unavailable(error="gone again")
    assert [event["event"] for event in log.events()] == ["catalog down", "catalog up", "catalog down"]


def test_an_unknown_level_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'loud' is unknown; use one of debug, info, warning, error"):
        configure_logging("json", "loud")


def test_configured_twice_a_line_is_written_once() -> None:
    first, second = _Log("json"), _Log("json")
    LogObserver().catalog_available()
    assert len(second.events()) == 1
    assert first.lines() == []


def test_a_reader_that_stalls_does_not_stall_who_logs(capsys: pytest.CaptureFixture[str]) -> None:
    may_write = threading.Event()

    class Stalled(StringIO):
        def write(self, text: str) -> int:
            may_write.wait(60)
            return super().write(text)

    out = Stalled()
    active = configure_logging("json", "info", stream=out)
    logger = logging.getLogger("busy")
    for number in range(10_100):
        logger.info("line %d", number)
    assert 90 <= active.dropped <= 100
    may_write.set()
    active.stop()
    written = out.getvalue().splitlines()
    assert len(written) == 10_100 - active.dropped
    assert f"{active.dropped} log lines were dropped" in capsys.readouterr().err


def test_a_reader_that_stalls_for_ever_does_not_keep_the_service_from_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_STOP_SECONDS", 0.05)
    may_write = threading.Event()

    class Stalled(StringIO):
        def write(self, text: str) -> int:
            may_write.wait(60)
            return len(text)

    active = configure_logging("json", "info", stream=Stalled())
    logging.getLogger("busy").info("never read")
    stopping = threading.Thread(target=active.stop)
    stopping.start()
    stopping.join(30)
    assert not stopping.is_alive()
    may_write.set()
