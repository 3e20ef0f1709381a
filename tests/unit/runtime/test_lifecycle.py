"""How an actor starts, stops and fails: the same on every runtime, and as pykka promises."""

from __future__ import annotations

import logging
import threading
import uuid
from types import TracebackType

import pykka
import pytest

from tests.unit.runtime.runtimes import DEADLINE_SECONDS, Runtime, ask, eventually, stop, wait


class Page:
    """What a `Diary` wrote; outlives it."""

    def __init__(self) -> None:
        self.entries: list[object] = []
        self.closed = threading.Event()


class Diary(pykka.Actor):
    """Writes down each hook and message, and raises where it is told to."""

    def __init__(self, page: Page, fails_in: str = "", error: BaseException | None = None) -> None:
        super().__init__()
        self.page = page
        self._fails_in = fails_in
        self._error = error if error is not None else RuntimeError(f"on purpose, in {fails_in}")

    def _write(self, entry: object, where: str) -> None:
        self.page.entries.append(entry)
        if self._fails_in == where:
            raise self._error

    def on_start(self) -> None:
        self._write("started", "on_start")

    def on_receive(self, message: object) -> object:
        self._write(message, "on_receive")
        return message

    def on_stop(self) -> None:
        try:
            self._write("stopped", "on_stop")
        finally:
            self.page.closed.set()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._write(("failed", exception_type, str(exception_value), traceback is not None), "on_failure")
        finally:
            self.page.closed.set()


class StopsItselfAtStart(Diary):
    def on_start(self) -> None:
        super().on_start()
        self.stop()
        self.stop()


class WritesToItselfInInit(Diary):
    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self.actor_ref.tell("from __init__")


class FailsInFailure(Diary):
    def on_receive(self, message: object) -> object:
        raise LookupError(message)


def test_an_actor_has_a_urn_of_its_own(runtime: Runtime) -> None:
    one, two = runtime.start(Diary, Page()), runtime.start(Diary, Page())
    assert uuid.UUID(one.actor_urn).version == 4
    assert one.actor_urn != two.actor_urn
    actor = one._actor_weakref()
    assert str(actor) == f"Diary ({one.actor_urn})"


def test_on_start_comes_before_a_message_sent_in_init(runtime: Runtime) -> None:
    page = Page()
    ref = runtime.start(WritesToItselfInInit, page)
    ask(runtime, ref, "asked")
    assert page.entries == ["started", "from __init__", "asked"]


def test_on_start_runs_after_the_actor_is_registered(runtime: Runtime) -> None:
    class LooksItselfUp(Diary):
        def on_start(self) -> None:
            self.page.entries.append(pykka.ActorRegistry.get_by_urn(self.actor_urn))

    page = Page()
    ref = runtime.start(LooksItselfUp, page)
    ask(runtime, ref, "ready?")
    assert page.entries[0] is ref


def test_an_actor_may_stop_itself_in_on_start_and_more_than_once(runtime: Runtime) -> None:
    page = Page()
    ref = runtime.start(StopsItselfAtStart, page)
    wait(runtime, page.closed)
    wait(runtime, ref.actor_stopped)
    assert page.entries == ["started", "stopped"]


def test_stop_lets_the_actor_finish_what_was_sent_before(runtime: Runtime) -> None:
    page = Page()
    ref = runtime.start(Diary, page)
    for number in range(5):
        ref.tell(number)
    assert stop(runtime, ref) is True
    assert page.entries == ["started", 0, 1, 2, 3, 4, "stopped"]


def test_stopping_a_dead_actor_says_that_it_was_dead(runtime: Runtime) -> None:
    ref = runtime.start(Diary, Page())
    assert stop(runtime, ref) is True
    assert stop(runtime, ref) is False


def test_a_stopped_actor_is_dead_and_forgotten(runtime: Runtime) -> None:
    ref = runtime.start(Diary, Page())
    assert ref.is_alive()
    assert not ref.actor_stopped.is_set()
    stop(runtime, ref)
    assert not ref.is_alive()
    assert ref.actor_stopped.wait(DEADLINE_SECONDS)
    assert ref not in pykka.ActorRegistry.get_all()


def test_an_error_in_on_start_stops_the_actor_without_a_message_handled(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    page = Page()
    ref = runtime.start(Diary, page, fails_in="on_start")
    wait(runtime, ref.actor_stopped)
    assert page.entries == ["started"]
    assert ref not in pykka.ActorRegistry.get_all()
    assert f"Unhandled exception in {ref}:" in caplog.text


def test_an_error_in_on_stop_is_logged_and_the_actor_is_gone(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    page = Page()
    ref = runtime.start(Diary, page, fails_in="on_stop")
    assert stop(runtime, ref) is True
    assert page.entries == ["started", "stopped"]
    assert "RuntimeError: on purpose, in on_stop" in caplog.text


def test_an_error_from_a_tell_goes_to_on_failure_and_stops_that_actor_alone(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    bystander = runtime.start(Diary, Page())
    page = Page()
    ref = runtime.start(Diary, page, fails_in="on_receive")
    ref.tell("first")
    ref.tell("never handled")
    wait(runtime, page.closed)
    assert page.entries[:2] == ["started", "first"]
    assert page.entries[2:] == [("failed", RuntimeError, "on purpose, in on_receive", True)]
    wait(runtime, ref.actor_stopped)
    assert f"Unhandled exception in {ref}:" in caplog.text
    assert ask(runtime, bystander, "alive?") == "alive?"


def test_an_error_in_on_failure_is_logged_too(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    ref = runtime.start(FailsInFailure, Page(), fails_in="on_failure")
    ref.tell("kaboom")
    runtime.settle()
    eventually(lambda: "RuntimeError: on purpose, in on_failure" in caplog.text, "the second error is logged")
    assert "LookupError: kaboom" in caplog.text


def test_an_error_from_an_ask_goes_to_the_caller_and_the_actor_lives_on(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="pykka")
    ref = runtime.start(Diary, Page(), fails_in="on_receive")
    with pytest.raises(RuntimeError, match="on purpose, in on_receive"):
        ask(runtime, ref, "first")
    assert ref.is_alive()
    assert f"Exception returned from {ref} to caller:" in caplog.text


def test_a_base_exception_stops_every_actor(threaded: Runtime) -> None:
    pages = [Page() for _ in range(3)]
    others = [threaded.start(Diary, page) for page in pages]
    ref = threaded.start(Diary, Page(), fails_in="on_receive", error=SystemExit("enough"))
    ref.tell("go")
    for one in [ref, *others]:
        wait(threaded, one.actor_stopped)
    for page in pages:
        wait(threaded, page.closed)
        assert page.entries == ["started", "stopped"]


def test_messages_left_when_an_actor_stops_get_an_answer(runtime: Runtime) -> None:
    class StopsAtOnce(Diary):
        """Waits, so that there is mail behind the stop it sent itself."""

        def __init__(self, page: Page, may_go: threading.Event) -> None:
            super().__init__(page)
            self._may_go = may_go

        def on_start(self) -> None:
            assert self._may_go.wait(DEADLINE_SECONDS)
            super().on_start()

    may_go = threading.Event()
    ref = runtime.start(StopsAtOnce, Page(), may_go)
    first_stop = ref.stop(block=False)
    asked = ref.ask("too late", block=False)
    second_stop = ref.stop(block=False)
    may_go.set()
    runtime.settle()
    assert first_stop.get(timeout=DEADLINE_SECONDS) is True
    assert second_stop.get(timeout=DEADLINE_SECONDS) is True
    with pytest.raises(pykka.ActorDeadError, match="stopped before handling"):
        asked.get(timeout=DEADLINE_SECONDS)


def test_unexpected_messages_are_logged(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    class Plain(pykka.Actor):
        """Has no on_receive of its own."""

    ref = runtime.start(Plain)
    assert ask(runtime, ref, "what is this?") is None
    assert f"Unexpected message received by {ref}: what is this?" in caplog.text
