"""Proxies: an actor used like an object, from outside."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

import pykka
import pytest

from tests.unit.runtime.runtimes import DEADLINE_SECONDS, Runtime, stop, wait


class Tray:
    """Something an actor has, whose insides are for all to see."""

    def __init__(self) -> None:
        self.items = ["cup"]

    def add(self, item: str) -> int:
        self.items.append(item)
        return len(self.items)


class Waiter(pykka.Actor):
    shift = "morning"

    def __init__(self) -> None:
        super().__init__()
        self.tray = pykka.traversable(Tray())
        self.closed_tray = Tray()
        self.tips = 0
        self._secret = "mine"
        self.failed = threading.Event()
        self._later = self.actor_ref.proxy()

    @property
    def purse(self) -> int:
        return self.tips * 2

    @purse.setter
    def purse(self, value: int) -> None:
        self.tips = value // 2

    def serve(self, guest: str, *, drink: str = "water") -> str:
        return f"{guest}: {drink}"

    def spill(self) -> None:
        msg = "all over the floor"
        raise OSError(msg)

    def serve_later(self, guest: str) -> Any:
        return self._later.serve(guest)

    def learn(self) -> None:
        self.juggle = lambda balls: balls + 1

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.failed.set()


def get(runtime: Runtime, future: Any) -> Any:
    runtime.settle()
    return future.get(timeout=DEADLINE_SECONDS)


def test_attributes_and_properties_are_read(runtime: Runtime) -> None:
    proxy: Any = runtime.start(Waiter).proxy()
    assert get(runtime, proxy.shift) == "morning"
    assert get(runtime, proxy.tips) == 0
    assert get(runtime, proxy.purse) == 0


def test_attributes_and_properties_are_set(threaded: Runtime) -> None:
    proxy: Any = threaded.start(Waiter).proxy()
    proxy.shift = "evening"
    proxy.purse = 10
    assert get(threaded, proxy.shift) == "evening"
    assert get(threaded, proxy.tips) == 5


def test_an_error_while_setting_goes_to_the_caller(threaded: Runtime) -> None:
    proxy: Any = threaded.start(Waiter).proxy()
    with pytest.raises(TypeError):
        proxy.purse = "much"


@pytest.mark.parametrize("name", ["_secret", "nothing_of_this_name"])
def test_private_and_missing_attributes_are_refused(runtime: Runtime, name: str) -> None:
    proxy: Any = runtime.start(Waiter).proxy()
    with pytest.raises(AttributeError, match=name):
        getattr(proxy, name)


def test_methods_are_called(runtime: Runtime) -> None:
    proxy: Any = runtime.start(Waiter).proxy()
    assert get(runtime, proxy.serve("Ada")) == "Ada: water"
    assert get(runtime, proxy.serve("Bob", drink="tea")) == "Bob: tea"


def test_an_error_of_a_method_is_raised_by_its_future(runtime: Runtime) -> None:
    proxy: Any = runtime.start(Waiter).proxy()
    with pytest.raises(OSError, match="all over the floor"):
        get(runtime, proxy.spill())


def test_a_deferred_call_has_its_effect_and_no_future(runtime: Runtime) -> None:
    proxy: Any = runtime.start(Waiter).proxy()
    assert proxy.tray.add.defer("plate") is None
    assert get(runtime, proxy.tray.items) == ["cup", "plate"]


def test_an_error_of_a_deferred_call_is_a_failure_of_the_actor(runtime: Runtime) -> None:
    ref = runtime.start(Waiter)
    proxy: Any = ref.proxy()
    failed = ref.proxy()._actor.failed
    proxy.spill.defer()
    wait(runtime, failed)
    wait(runtime, ref.actor_stopped)


def test_only_what_is_marked_traversable_is_traversed(runtime: Runtime) -> None:
    proxy: Any = runtime.start(Waiter).proxy()
    assert get(runtime, proxy.tray.add("spoon")) == 2
    with pytest.raises(AttributeError, match="add"):
        proxy.closed_tray.add("spoon")
    runtime.settle()


def test_an_actor_sends_itself_work_through_a_proxy(runtime: Runtime) -> None:
    proxy: Any = runtime.start(Waiter).proxy()
    inner = get(runtime, proxy.serve_later("Cyd"))
    assert get(runtime, inner) == "Cyd: water"


def test_a_method_learnt_at_run_time_is_found(runtime: Runtime) -> None:
    proxy: Any = runtime.start(Waiter).proxy()
    get(runtime, proxy.learn())
    assert get(runtime, proxy.juggle(3)) == 4


def test_proxies_of_one_actor_are_equal(runtime: Runtime) -> None:
    ref, other = runtime.start(Waiter), runtime.start(Waiter)
    assert ref.proxy() == ref.proxy()
    assert ref.proxy() != other.proxy()
    assert len({ref.proxy(), ref.proxy(), other.proxy()}) == 2
    assert ref.proxy().actor_ref is ref


def test_a_dead_actor_gets_no_proxy(runtime: Runtime) -> None:
    ref = runtime.start(Waiter)
    stop(runtime, ref)
    with pytest.raises(pykka.ActorDeadError, match="not found"):
        ref.proxy()
