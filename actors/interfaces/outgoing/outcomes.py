"""What became of a request to a receiver: taken, refused, or to be sent again."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Outcome", "Refused", "Taken", "Unavailable"]


@dataclass(frozen=True, slots=True)
class Taken:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The receiver will never take it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """It is to be sent again, `after_seconds` at the earliest."""

    reason: str
    after_seconds: float = 0.0


Outcome = Taken | Refused | Unavailable
