from __future__ import annotations

import time

import pytest

from actors.runtime import SystemClock, VirtualClock


def test_the_system_clock_tells_the_time_of_the_machine() -> None:
    before = time.time()
    now_ms = SystemClock().now_ms()
    assert before * 1_000 - 1 <= now_ms <= time.time() * 1_000
    assert SystemClock().monotonic_ms() <= SystemClock().monotonic_ms()


def test_a_virtual_clock_moves_only_when_told_to() -> None:
    clock = VirtualClock(start_ms=1_000)
    assert (clock.now_ms(), clock.monotonic_ms()) == (1_000, 0)
    clock.advance(250)
    assert (clock.now_ms(), clock.monotonic_ms()) == (1_250, 250)


def test_a_jump_of_the_wall_clock_leaves_the_monotonic_one_alone() -> None:
    clock = VirtualClock(start_ms=1_000)
    clock.advance(10)
    clock.set_wall(5)
    assert (clock.now_ms(), clock.monotonic_ms()) == (5, 10)


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="cannot advance a clock by -1 ms"):
        VirtualClock(start_ms=0).advance(-1)
