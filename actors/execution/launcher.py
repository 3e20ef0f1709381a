"""What stands between the enqueuer and whatever executes runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["LaunchFailed", "RunLauncher", "RunOrder"]


@dataclass(frozen=True, slots=True)
class RunOrder:
    """A run that the catalog has claimed and created; everything else about it is read from there."""

    run_id: str
    workflow_slug: str
    partition_key: str | None


class LaunchFailed(RuntimeError):  # noqa: N818 - reads as the event it tells of
    """The run could not be handed over; the message says why. The caller ends the run as failed."""


class RunLauncher(Protocol):
    """Starts and cancels runs. How a run goes is told by `workflow.run.*` events, never by a return value."""

    def start(self) -> None:
        """Get ready to launch."""

    def launch(self, order: RunOrder) -> None:
        """Hand a run over; returns at once.

        Raises:
            LaunchFailed: nothing was started.
        """

    def cancel(self, run_id: str) -> bool:
        """Stop a run that was launched here; it ends as `canceled`. False if it is not known here (any more)."""

    def owns(self, run_id: str) -> bool:
        """Whether the run was launched here and has not ended."""

    def stop(self, grace_seconds: float) -> None:
        """Let running runs finish for so long, then stop them; they end as `lost` and are retried by policy."""
