"""What the registry does about pauses: it keeps those that hold, ends them in time, and has those look again that they
concern."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pykka import ActorRef

from actors.asset_directory import AssetDirectory
from actors.core.graph import Graph
from actors.core.pauses import EVERYTHING, Pauses, scope_parts
from actors.core.waves import WaveNumbers
from actors.messages import LookAgain, PauseEnded
from actors.runtime import TimerHandle
from actors.surroundings import Surroundings

__all__ = ["PauseWatch"]


class PauseWatch:
    """Belongs to the registry, and is used in its handlers only; `owner` gives the registry's ref for the timer."""

    def __init__(
        self,
        graph: Graph,
        around: Surroundings,
        assets: AssetDirectory,
        waves: WaveNumbers,
        owner: Callable[[], ActorRef[Any]],
    ) -> None:
        self._graph = graph
        self._around = around
        self._assets = assets
        self._waves = waves
        self._owner = owner
        self._timer: TimerHandle | None = None

    def take(self, pauses: Pauses, cause: str, also: Iterable[str] = ()) -> None:
        """Replace what is paused; the assets that it concerns, and `also` these, look again.

        Those that go on have the upstreams report first, as after a start: what one pause held back runs in order (L4).
        """
        before = self._around.pauses
        scopes = before.scopes_changed(pauses)
        self._around.pauses = pauses
        self._arm()
        concerned = {*also, *self._concerned(scopes)}.intersection(self._assets.ids())
        now_ms = self._around.clock.now_ms()
        asked_again: frozenset[str] = frozenset()
        for asset_id in sorted(concerned):
            node = self._graph.node(asset_id)
            if node is None or node.spec is None:
                continue
            awaits: frozenset[str] = frozenset()
            held_ms = 0
            if pauses.paused_until(asset_id, node.spec.workflow_slug, now_ms) is None:
                awaits = self._assets.reporting(node.spec)
                asked_again |= awaits - concerned
                held_ms = now_ms - (before.held_since_ms(asset_id, node.spec.workflow_slug) or now_ms)
            text = f"{cause}: {', '.join(sorted(scopes)) or asset_id}"
            self._assets.tell(asset_id, LookAgain(text, awaits, held_ms))
        self._assets.ask_again(asked_again, self._waves.last)

    def drop_ended(self) -> None:
        """The time has come at which some end by themselves."""
        self.take(self._around.pauses.without_ended(self._around.clock.now_ms()), "pause ended")

    def _concerned(self, scopes: frozenset[str]) -> Iterable[str]:
        if EVERYTHING in scopes:
            return self._assets.ids()
        found: list[str] = []
        for kind, name in map(scope_parts, scopes):
            found += [spec.asset_id for spec in self._graph.led_by(name)] if kind == "workflow" else [name]
        return found

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        at_ms = self._around.pauses.next_end_ms()
        timers = self._around.timers
        self._timer = timers.tell_at(at_ms, self._owner(), PauseEnded()) if at_ms is not None else None
