"""How a broken law is told."""

from __future__ import annotations

__all__ = ["LawBroken"]


class LawBroken(BaseException):
    """A law does not hold; the text begins with its number.

    No `Exception`: the code under test calls the oracle, and must not take this for a failure that it can deal with.
    """
