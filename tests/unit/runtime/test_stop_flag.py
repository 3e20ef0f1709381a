from __future__ import annotations

import threading

import pytest

from actors.runtime.stop_flag import StopFlag
from tests.unit.runtime.runtimes import DEADLINE_SECONDS


def test_a_flag_is_unset_until_it_is_set() -> None:
    flag = StopFlag()
    assert (flag.is_set(), repr(flag)) == (False, "<StopFlag unset>")
    flag.set()
    flag.set()
    assert (flag.is_set(), repr(flag)) == (True, "<StopFlag set>")
    assert flag.wait()


def test_a_wait_can_time_out() -> None:
    flag = StopFlag()
    assert not flag.wait(0.001)
    flag.set()
    assert flag.wait(0)


def test_every_waiting_thread_is_woken() -> None:
    for _ in range(50):  # the race between the first wait, which makes the event, and the set
        flag = StopFlag()
        together = threading.Barrier(4)
        woken: list[bool] = []

        def wait(flag: StopFlag = flag, together: threading.Barrier = together, woken: list[bool] = woken) -> None:
            together.wait(DEADLINE_SECONDS)
            woken.append(flag.wait(DEADLINE_SECONDS))

        waiting = [threading.Thread(target=wait) for _ in range(3)]
        for thread in waiting:
            thread.start()
        together.wait(DEADLINE_SECONDS)
        flag.set()
        for thread in waiting:
            thread.join(DEADLINE_SECONDS)
        assert woken == [True] * 3


def test_a_flag_cannot_be_cleared() -> None:
    with pytest.raises(RuntimeError, match="start a new actor"):
        StopFlag().clear()
