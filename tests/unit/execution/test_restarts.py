"""What ends without being asked to is begun again, later each time, and not for ever."""

from __future__ import annotations

import threading

from structlog.testing import capture_logs

from actors.execution.restarts import keep_serving


class Impatient(threading.Event):
    """Notes how long is to be waited, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return self.is_set()


def test_what_ends_again_and_again_is_given_up() -> None:
    asked = Impatient()
    with capture_logs() as told:
        assert keep_serving(lambda: 0, asked) == 1
    assert asked.waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0]
    assert [line["event"] for line in told] == ["worker.restarted"] * 10 + ["worker.given_up"]
    assert told[0]["reason"] == "it ended with code 0"


def test_what_is_asked_to_end_is_not_begun_again() -> None:
    asked = Impatient()

    def serve() -> int:
        asked.set()
        return 3

    assert keep_serving(serve, asked) == 3
    assert asked.waits == []


def test_a_wait_ends_when_the_end_is_asked_for() -> None:
    asked = Impatient()
    calls = []

    def wait(timeout: float | None = None) -> bool:
        asked.set()
        return True

    def serve() -> int:
        calls.append("once")
        raise AttributeError("'NoneType' object has no attribute 'hostname'")

    asked.wait = wait  # type: ignore[method-assign]
    with capture_logs() as told:
        assert keep_serving(serve, asked) == 0
    assert calls == ["once"]
    assert told[0]["reason"] == "AttributeError: 'NoneType' object has no attribute 'hostname'"
