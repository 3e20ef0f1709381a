"""The three ways an actor can run, behind one face, so that one test can hold all of them to the same promises."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import pykka

from actors.runtime import Dispatcher, PooledActor, SteppedDispatcher

P = ParamSpec("P")
A = TypeVar("A", bound=pykka.Actor)

DEADLINE_SECONDS = 10.0
"""How long anything may take before a test fails. Only a failing test ever waits so long."""


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition` holds; fails with `what` after the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    for pause_seconds in itertools.chain((0.0,) * 10, itertools.repeat(0.001)):
        if condition():
            return
        assert time.monotonic() < deadline, f"it never came true that {what}"
        time.sleep(pause_seconds)


class Runtime(Protocol):
    """Starts actors. A test states what an actor does as a subclass of `pykka.Actor` that is abstract still."""

    name: str

    def start(self, behaviour: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> pykka.ActorRef[A]:
        """Start an actor that behaves like `behaviour` on this runtime."""
        ...

    def settle(self) -> None:
        """Let actors that only run when told to do all they can; to be called before waiting for them."""
        ...

    def close(self) -> None:
        """Stop every actor."""
        ...


def on(base: type[pykka.Actor], behaviour: Callable[P, A]) -> type[A]:
    """A concrete actor class of the same name: the behaviour on the runtime of `base`."""
    behaving = cast("type[A]", behaviour)
    return cast("type[A]", type(behaving.__name__, (behaving, base), {}))


class ThreadingRuntime:
    """pykka's own: the yardstick."""

    name = "threading"

    def start(self, behaviour: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> pykka.ActorRef[A]:
        return on(pykka.ThreadingActor, behaviour).start(*args, **kwargs)

    def settle(self) -> None:
        pass

    def close(self) -> None:
        for stopping in pykka.ActorRegistry.stop_all(block=False):
            stopping.get(timeout=DEADLINE_SECONDS)


class PooledRuntime:
    """Actors on a dispatcher of two threads."""

    name = "pooled"

    def __init__(self) -> None:
        self.dispatcher = Dispatcher(threads=2, batch=3, name="test")
        self.dispatcher.start()

    def start(self, behaviour: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> pykka.ActorRef[A]:
        actor_class: Any = on(PooledActor, behaviour)
        return cast("pykka.ActorRef[A]", self.dispatcher.spawn(actor_class, *args, **kwargs))

    def settle(self) -> None:
        pass

    def close(self) -> None:
        assert self.dispatcher.stop(timeout_seconds=DEADLINE_SECONDS) == []


class PinnedRuntime(PooledRuntime):
    """Actors with a thread each, by way of a dispatcher."""

    name = "pinned"

    def start(self, behaviour: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> pykka.ActorRef[A]:
        actor_class: Any = on(PooledActor, behaviour)
        return cast("pykka.ActorRef[A]", self.dispatcher.spawn_pinned(actor_class, *args, **kwargs))


class SteppedRuntime:
    """Actors on the test's own thread, in an order drawn from a fixed seed."""

    name = "stepped"

    def __init__(self) -> None:
        self.dispatcher = SteppedDispatcher()
        self._rng = random.Random(20_261_123)

    def start(self, behaviour: Callable[P, A], *args: P.args, **kwargs: P.kwargs) -> pykka.ActorRef[A]:
        actor_class: Any = on(PooledActor, behaviour)
        return cast("pykka.ActorRef[A]", self.dispatcher.spawn(actor_class, *args, **kwargs))

    def settle(self) -> None:
        self.dispatcher.run_until_idle(self._rng.randrange)

    def close(self) -> None:
        assert self.dispatcher.stop() == []


def ask(runtime: Runtime, ref: pykka.ActorRef[Any], message: object) -> Any:
    """The answer of `ref`, on a runtime of any kind."""
    answer = ref.ask(message, block=False)
    runtime.settle()
    return answer.get(timeout=DEADLINE_SECONDS)


def stop(runtime: Runtime, ref: pykka.ActorRef[Any]) -> bool:
    """Stop `ref` and wait until it has; what `ActorRef.stop` returns."""
    stopping = ref.stop(block=False)
    runtime.settle()
    return stopping.get(timeout=DEADLINE_SECONDS)


def wait(runtime: Runtime, event: threading.Event) -> None:
    """Wait until `event` is set."""
    runtime.settle()
    assert event.wait(DEADLINE_SECONDS), "the event was never set"
