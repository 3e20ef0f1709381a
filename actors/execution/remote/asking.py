"""What all requests to an orchestrator have in common: what is worth another try, and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from actors.core.backoff import BackoffPolicy, delay_ms, unit_interval
from actors.execution.remote.client import Answer, Unreachable
from actors.execution_settings import SecretUnreadable

__all__ = ["Never", "NotNow", "asked", "pause_seconds"]

_RETRIES: Final = BackoffPolicy(base_ms=500, max_ms=30_000)


class NotNow(RuntimeError):  # noqa: N818 - a reason, not a fault of ours
    """It could not be asked, or was busy. `after_seconds` is what it asks for."""

    def __init__(self, reason: str, *, after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.after_seconds = after_seconds


class Never(RuntimeError):  # noqa: N818 - as above
    """It would answer the same another time."""


def asked(ask: Callable[[], tuple[Answer, str]]) -> tuple[Answer, str]:
    """The answer, and how it is told.

    Raises:
        NotNow: there is none, or none that would stay the same.
    """
    try:
        answer, told = ask()
    except (Unreachable, SecretUnreadable) as error:
        raise NotNow(str(error)) from error
    if answer.is_passing:
        raise NotNow(told, after_seconds=answer.retry_after_seconds)
    return answer, told


def pause_seconds(run_id: str, failures: int, at_least: float = 0.0) -> float:
    """How long to wait after so many failures: longer each time, up to half a minute, and never in step."""
    return max(delay_ms(_RETRIES, failures, unit_interval(f"{run_id}\n{failures}")) / 1_000, at_least)
