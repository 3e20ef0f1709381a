"""Names that come near to one that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["nearest"]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """`'orders.daily' or 'orders.raw'`; None when none comes near."""
    near = get_close_matches(name, sorted(known), n=3)
    return " or ".join(repr(n) for n in near) or None
