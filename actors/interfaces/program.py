"""The program's name as it was called, for whatever tells somebody what to type."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Final

__all__ = ["as_called", "command"]

_INSTALLED: Final = "headwater"
"""The name of the script that comes with an installation."""
_IN_A_CHECKOUT: Final = "python run.py"


def command(*arguments: str) -> str:
    """A line to type in a shell: the program as it was called, and its arguments, quoted where they need it."""
    return " ".join([_program(), *map(shlex.quote, arguments)])


def as_called(text: str) -> str:
    """Text that was written for a checkout, with the program's name as it was called."""
    return text.replace(_IN_A_CHECKOUT, _program())


def _program() -> str:
    return _INSTALLED if Path(sys.argv[0]).name == _INSTALLED else _IN_A_CHECKOUT
