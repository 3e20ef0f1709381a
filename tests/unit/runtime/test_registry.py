"""`pykka.ActorRegistry` over the index: the same answers as over pykka's list, without its cost."""

from __future__ import annotations

import time
from typing import Any

import pykka
import pytest

from actors.runtime import Dispatcher, PooledActor, find_actor
from actors.runtime.actor_index import ActorIndex, install
from tests.unit.runtime.runtimes import DEADLINE_SECONDS, Runtime, ask, stop, wait


class Fruit(pykka.Actor):
    def __init__(self, log: list[str] | None = None, name: str = "") -> None:
        super().__init__()
        self.heard: list[object] = []
        self._log = log if log is not None else []
        self._name = name

    def on_receive(self, message: object) -> object:
        if message == "heard?":
            return list(self.heard)
        self.heard.append(message)
        return None

    def on_stop(self) -> None:
        self._log.append(self._name)


class Apple(Fruit): ...


class Pear(Fruit): ...


def by_class(actor_class: Any) -> list[pykka.ActorRef[Any]]:
    """`ActorRegistry.get_by_class`, which the type checker refuses for classes that are abstract, as these are."""
    return pykka.ActorRegistry.get_by_class(actor_class)


def test_running_actors_are_found_by_class_superclass_name_and_urn(runtime: Runtime) -> None:
    apples = [runtime.start(Apple) for _ in range(3)]
    pear = runtime.start(Pear)
    registry = pykka.ActorRegistry
    assert by_class(Apple) == apples
    assert by_class(Fruit) == [*apples, pear]
    assert registry.get_by_class_name("Pear") == [pear]
    assert registry.get_by_class_name("Fruit") == []
    assert registry.get_by_urn(pear.actor_urn) is pear
    assert find_actor(pear.actor_urn) is pear
    assert [ref for ref in registry.get_all() if ref.actor_class.__name__ in ("Apple", "Pear")] == [*apples, pear]


def test_a_urn_of_nobody_finds_nobody() -> None:
    assert pykka.ActorRegistry.get_by_urn("urn:uuid:nobody") is None
    assert find_actor("urn:uuid:nobody") is None


def test_a_stopped_actor_is_not_found(runtime: Runtime) -> None:
    ref = runtime.start(Apple)
    stop(runtime, ref)
    assert by_class(Apple) == []
    assert find_actor(ref.actor_urn) is None


def test_registering_by_hand_and_unregistering_twice_do_no_harm(runtime: Runtime) -> None:
    ref = runtime.start(Apple)
    pykka.ActorRegistry.unregister(ref)
    pykka.ActorRegistry.unregister(ref)
    assert find_actor(ref.actor_urn) is None
    pykka.ActorRegistry.register(ref)
    assert by_class(Apple) == [ref]


@pytest.mark.parametrize(
    ("target", "apple_hears", "pear_hears"),
    [(None, True, True), (Fruit, True, True), (Apple, True, False), ("Pear", False, True)],
)
def test_a_broadcast_reaches_those_it_is_for(
    runtime: Runtime, target: type[pykka.Actor] | str | None, apple_hears: bool, pear_hears: bool
) -> None:
    apple, pear = runtime.start(Apple), runtime.start(Pear)
    pykka.ActorRegistry.broadcast("ripe", target)
    assert ask(runtime, apple, "heard?") == ["ripe"] * apple_hears
    assert ask(runtime, pear, "heard?") == ["ripe"] * pear_hears


def test_stop_all_stops_the_last_started_first(threaded: Runtime) -> None:
    log: list[str] = []
    for name in "abcde":
        threaded.start(Apple, log, name)
    assert pykka.ActorRegistry.stop_all(timeout=DEADLINE_SECONDS) == [True] * 5
    assert log == ["e", "d", "c", "b", "a"]


def test_stop_all_need_not_wait(runtime: Runtime) -> None:
    refs = [runtime.start(Apple) for _ in range(4)]
    stopping = pykka.ActorRegistry.stop_all(block=False)
    runtime.settle()
    assert [future.get(timeout=DEADLINE_SECONDS) for future in stopping] == [True] * 4
    for ref in refs:
        wait(runtime, ref.actor_stopped)


def test_pooled_and_threading_actors_share_the_registry(dispatcher: Dispatcher) -> None:
    class PooledApple(Apple, PooledActor): ...

    class ThreadingApple(Apple, pykka.ThreadingActor): ...

    refs = [dispatcher.spawn(PooledApple), ThreadingApple.start()]
    assert by_class(Apple) == refs
    assert pykka.ActorRegistry.stop_all(timeout=DEADLINE_SECONDS) == [True, True]


def test_installing_again_changes_nothing() -> None:
    index: object = pykka.ActorRegistry._actor_refs
    assert index is install()


def test_actors_registered_before_the_index_was_installed_are_carried_over(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = [runtime.start(Apple), runtime.start(Apple)]
    plain_list = pykka.ActorRegistry._actor_refs[:]
    monkeypatch.setattr(pykka.ActorRegistry, "_actor_refs", plain_list)
    index = install()
    assert list(index) == plain_list
    assert by_class(Apple) == refs


def test_the_index_acts_as_the_list_it_replaces(dispatcher: Dispatcher) -> None:
    class PooledApple(Apple, PooledActor): ...

    refs = [dispatcher.spawn(PooledApple) for _ in range(4)]
    index = ActorIndex()
    for ref in refs:
        index.append(ref)
    index.remove(refs[1])
    assert list(index) == index[:] == [refs[0], refs[2], refs[3]]
    assert (len(index), index[0], index[-1]) == (3, refs[0], refs[3])
    assert refs[1] not in index
    actor = refs[0]._actor_weakref()
    assert actor is not None
    assert pykka.ActorRef(actor) not in index, "another ref to the same actor is another item, as in a list"
    assert "something else" not in index
    with pytest.raises(ValueError, match="is not registered"):
        index.remove(refs[1])


def test_the_cost_of_a_stop_does_not_grow_with_the_number_of_actors(dispatcher: Dispatcher) -> None:
    """pykka's list is searched twice for each stop: at 20,000 actors a hundred times as long as at 200."""

    class PooledApple(Apple, PooledActor): ...

    def seconds_to_unregister_last(count: int) -> float:
        index = ActorIndex()
        refs = [pykka.ActorRef(PooledApple()) for _ in range(count)]
        for ref in refs:
            index.append(ref)
        best = float("inf")
        for ref in refs[-200:]:
            began = time.perf_counter()
            assert ref in index
            index.remove(ref)
            best = min(best, time.perf_counter() - began)
        return best

    assert seconds_to_unregister_last(20_000) < 50 * seconds_to_unregister_last(200)
