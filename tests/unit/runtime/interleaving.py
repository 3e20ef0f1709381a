"""Runs one operation in the middle of another, at each bytecode instruction in turn.

CPython may hand the GIL to another thread between any two instructions, but hardly ever does between the two
that matter; stress alone passes code that is wrong. Here the second operation runs to its end inside the first, after
its n-th instruction, for every n: all the ways in which two threads can meet with one change of thread in the first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any


def code_of(function: Callable[..., object]) -> CodeType:
    """The bytecode of a function or method."""
    code: CodeType = getattr(function, "__func__", function).__code__
    return code


def interrupt(
    operation: Callable[[], object],
    interruption: Callable[[], object],
    at_instruction: int,
    within: str,
    may_interrupt: Callable[[], bool] = lambda: True,
) -> bool:
    """Run `operation` with `interruption` in the middle of it.

    Args:
        operation: what is interrupted
        interruption: what happens after so many instructions
        at_instruction: how many, counting only those of code in the file `within`
        may_interrupt: false while `operation` holds a lock that `interruption` would wait for: it comes later then

    Returns:
        False if `operation` was over before; the interruption did not happen then
    """
    executed = 0
    happened = False

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal executed, happened
        if frame.f_code.co_filename != within:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            executed += 1
            if executed > at_instruction and not happened and may_interrupt():
                happened = True
                interruption()  # not traced itself: tracing is off in a trace function
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        operation()
    finally:
        sys.settrace(before)
    return happened


def everywhere(scenario: Callable[[int], bool]) -> int:
    """Play a scenario for each instruction until it says that there are no more; how many there were."""
    for at_instruction in range(10_000):
        if not scenario(at_instruction):
            return at_instruction
    msg = "the operation never ends"
    raise AssertionError(msg)
