"""The catalog as actors see it: every question returns at once, and the answer comes as a message.

Whoever implements it keeps trying while the catalog is unavailable, so each question is answered in the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pykka import ActorRef

from actors.core.freshness import Expiry
from actors.core.state import Dismissal
from actors.messages import RunRequest

__all__ = ["CatalogPort"]

Receiver = ActorRef[Any]


class CatalogPort(Protocol):
    def load_workflows(self, receiver: Receiver) -> None:
        """Answers `WorkflowsLoaded`."""

    def load_workflow(self, slug: str, receiver: Receiver) -> None:
        """Answers `WorkflowLoaded`."""

    def load_pauses(self, receiver: Receiver) -> None:
        """Answers `PausesLoaded`."""

    def load_assets(
        self, asset_ids: Sequence[str], upstream_ids: Sequence[str], histories_of: Sequence[str], receiver: Receiver
    ) -> None:
        """Answers `AssetsLoaded` with the records of assets and upstreams, and the latest changes of `histories_of`."""

    def load_runs(self, receiver: Receiver) -> None:
        """Answers `RunsLoaded`."""

    def load_queued_run(self, run_id: str, receiver: Receiver) -> None:
        """Answers `QueuedRunLoaded` if the run is queued; otherwise nothing."""

    def submit(self, requests: Sequence[RunRequest], receiver: Receiver) -> None:
        """Claims, creates and launches; answers `RunsAnswered`."""

    def expire(self, asset_id: str, partition_key: str | None, version: int, expiry: Expiry) -> None:
        """Publishes `asset.expired`, once for each version; the news of it comes with the event stream."""

    def pass_over(self, asset_id: str, dismissals: Mapping[str, Dismissal]) -> None:
        """Keeps that these partitions are left as they are, and publishes `asset.passedOver` for each."""
