"""An observer that passes over every report but decisions."""

from __future__ import annotations

__all__ = ["Unheard"]


class Unheard:
    """All of `Observer` but `decided`; whoever derives from it listens to that alone."""

    def run_submitted(self, **_told: object) -> None:
        return

    def run_deduplicated(self, **_told: object) -> None:
        return

    def run_delayed(self, **_told: object) -> None:
        return

    def run_ended(self, **_told: object) -> None:
        return

    def run_lost(self, **_told: object) -> None:
        return

    def run_relaunched(self, **_told: object) -> None:
        return

    def failed(self, **_told: object) -> None:
        return

    def stale_changed(self, delta: int) -> None:
        return

    def queue_changed(self, **_told: object) -> None:
        return

    def dead_letter(self, **_told: object) -> None:
        return

    def undelivered(self, **_told: object) -> None:
        return

    def child_restarted(self, **_told: object) -> None:
        return

    def workflow_changed(self, **_told: object) -> None:
        return

    def catalog_unavailable(self, **_told: object) -> None:
        return

    def catalog_available(self) -> None:
        return
