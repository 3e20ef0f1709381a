"""SupervisorActor: starts its children in order, restarts those that fail, stops them in reverse.

The strategy is Erlang/OTP's rest-for-one: a child that fails takes with it those that were started after it, because
they may hold on to what it was. Asset actors are restarted alone, by the registry, from the catalog's state. Past the
restart intensity the supervisor gives up, and the service stops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import assert_never

from actors.messages import ChildFailed, RestartAsset, StartChildren, StopChildren
from actors.runtime import PooledActor
from actors.surroundings import Surroundings

__all__ = ["ChildSpec", "Intensity", "SupervisorActor", "SupervisorMessage"]

SupervisorMessage = StartChildren | StopChildren | ChildFailed


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A child by name. `start` brings it up and keeps its ref in the links; `stop` returns when it is down."""

    name: str
    start: Callable[[], None]
    stop: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Intensity:
    """More than `max_restarts` within `period_ms` and the supervisor gives up."""

    max_restarts: int
    period_ms: int


class SupervisorActor(PooledActor):
    """Runs pinned: starting and stopping children waits for them."""

    def __init__(
        self,
        around: Surroundings,
        children: Sequence[ChildSpec],
        intensity: Intensity,
        give_up: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._around = around
        self._children = tuple(children)
        self._intensity = intensity
        self._give_up = give_up
        self._running: list[ChildSpec] = []
        self._restarts: deque[int] = deque()
        self._has_given_up = False

    def on_receive(self, message: SupervisorMessage) -> None:
        match message:
            case StartChildren():
                self._start_from(0)
            case StopChildren():
                self._has_given_up = True
                self._stop_down_to(0)
            case ChildFailed():
                self._on_failed(message)
            case _:
                assert_never(message)

    def on_stop(self) -> None:
        self._stop_down_to(0)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """A child cannot be started or stopped: nobody is left to mend that."""
        self._give_up(f"the supervisor failed: {type(exception_value).__name__}: {exception_value}")

    def _on_failed(self, failed: ChildFailed) -> None:
        if self._has_given_up:
            return
        now_ms = self._around.clock.now_ms()
        self._restarts.append(now_ms)
        while self._restarts[0] <= now_ms - self._intensity.period_ms:
            self._restarts.popleft()
        name = failed.asset_id or failed.name
        if len(self._restarts) > self._intensity.max_restarts:
            self._has_given_up = True
            self._give_up(
                f"{name} failed ({failed.error}): more than {self._intensity.max_restarts} restarts"
                f" in {self._intensity.period_ms / 1000:g} s"
            )
            return
        self._around.observer.child_restarted(name=name, error=failed.error, restarts=len(self._restarts))
        if failed.asset_id is not None:
            self._around.to_registry(RestartAsset(failed.asset_id))
            return
        index = next((i for i, child in enumerate(self._children) if child.name == failed.name), None)
        if index is not None:
            self._stop_down_to(index)
            self._start_from(index)

    def _start_from(self, index: int) -> None:
        for child in self._children[index:]:
            child.start()
            self._running.append(child)

    def _stop_down_to(self, index: int) -> None:
        while len(self._running) > index:
            self._running.pop().stop()
