"""The token and the places that give way to it."""

from __future__ import annotations

import threading

import pytest

from actors.execution.cancel import CancelReason, CancelToken
from actors.execution.slots import Slots


def test_the_first_reason_stays() -> None:
    token = CancelToken()
    assert (token.is_set, token.reason) == (False, None)
    token.cancel()
    token.cancel(CancelReason.FENCED)
    assert (token.is_set, token.reason) == (True, CancelReason.CANCELED)


def test_only_the_end_of_the_service_ends_the_duty_to_write() -> None:
    token = CancelToken()
    token.cancel()
    assert token.wait(0)
    assert not token.wait_for_stop(0)
    token.cancel(CancelReason.LOST)
    assert token.wait_for_stop(0)
    assert token.reason is CancelReason.CANCELED


def test_who_subscribes_is_called_once_and_only_within_the_block() -> None:
    token = CancelToken()
    calls: list[str] = []
    with token.calling(lambda: calls.append("left")):
        pass
    with token.calling(lambda: calls.append("early")):
        token.cancel()
        token.cancel()
    with token.calling(lambda: calls.append("late")):
        pass
    assert calls == ["early", "late"]


def test_places_are_bounded_and_given_back() -> None:
    slots = Slots(1)
    token = CancelToken()
    entered = threading.Event()

    def second() -> None:
        with slots.taken(CancelToken()) as taken:
            assert taken
            entered.set()

    with slots.taken(token) as taken:
        assert taken
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.05)
    assert entered.wait(10)
    thread.join(10)


@pytest.mark.parametrize("early", [True, False])
def test_a_canceled_run_gives_up_its_place_in_the_queue(early: bool) -> None:
    slots = Slots(0)
    token = CancelToken()
    got: list[bool] = []

    def wait() -> None:
        with slots.taken(token) as taken:
            got.append(taken)

    if early:
        token.cancel()
    thread = threading.Thread(target=wait)
    thread.start()
    token.cancel()
    thread.join(10)
    assert got == [False]


def test_a_failure_inside_gives_the_place_back() -> None:
    slots = Slots(1)
    with pytest.raises(ZeroDivisionError), slots.taken(CancelToken()):
        raise ZeroDivisionError
    with slots.taken(CancelToken()) as taken:
        assert taken
