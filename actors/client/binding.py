"""How a function that makes a `Call` becomes a method: its name, its text, and the signature that `help` shows."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import update_wrapper
from typing import Any, TypeVar

__all__ = ["as_method_of"]

F = TypeVar("F", bound=Callable[..., Any])


def as_method_of(call: Callable[..., object], method: F, answer: str) -> F:
    """The method, described as `call` is. `answer` is the form of what it returns, such as `Iterator[{}]`, around the
    T of `Call[T]` or `Listing[T]`."""
    update_wrapper(method, call)
    signature = inspect.signature(call)
    told = str(signature.return_annotation).removeprefix("Call[").removeprefix("Listing[").removesuffix("]")
    # Without this, help() would take the first parameter of `call` for `self`, and leave it out.
    described: Any = method
    described.__signature__ = signature.replace(
        parameters=[inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY), *signature.parameters.values()],
        return_annotation=answer.format(told),
    )
    return method
