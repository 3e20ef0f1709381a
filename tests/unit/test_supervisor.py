from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pykka import ActorRef

from actors.messages import ChildFailed, RestartAsset, StartChildren, StopChildren
from actors.supervisor import ChildSpec, Intensity, SupervisorActor
from tests.unit.doubles import Stage, stage

PERIOD_MS = 10_000


@pytest.fixture
def on_stage() -> Iterator[Stage]:
    with stage() as made:
        yield made


class Family:
    """A supervisor of three, and all that happens to them."""

    def __init__(self, on: Stage, most: int = 2) -> None:
        self.on = on
        self.log: list[str] = []
        self.gave_up: list[str] = []
        self.registry = on.inbox("registry")
        children = [
            ChildSpec(name, lambda n=name: self.log.append(f"+{n}"), lambda n=name: self.log.append(f"-{n}"))  # type: ignore[misc]
            for name in ("a", "b", "c")
        ]
        self.ref: ActorRef[Any] = on.dispatcher.spawn(
            SupervisorActor, on.around, children, Intensity(most, PERIOD_MS), self.gave_up.append
        )

    def tell(self, *messages: object) -> list[str]:
        """What happened to the children since."""
        before = len(self.log)
        self.on.tell(self.ref, *messages)
        return self.log[before:]


@pytest.fixture
def family(on_stage: Stage) -> Family:
    return Family(on_stage)


def test_children_start_in_order_and_stop_in_reverse(family: Family) -> None:
    assert family.tell(StartChildren()) == ["+a", "+b", "+c"]
    assert family.tell(StopChildren()) == ["-c", "-b", "-a"]
    assert family.tell(StopChildren()) == []


@pytest.mark.parametrize(
    ("name", "happens"),
    [
        ("a", ["-c", "-b", "-a", "+a", "+b", "+c"]),
        ("b", ["-c", "-b", "+b", "+c"]),
        ("c", ["-c", "+c"]),
        ("nobody", []),
    ],
)
def test_one_that_fails_takes_those_started_after_it_with_it(family: Family, name: str, happens: list[str]) -> None:
    family.tell(StartChildren())
    assert family.tell(ChildFailed(name, "ValueError: no")) == happens
    assert family.on.observer.of("child_restarted") == [{"name": name, "error": "ValueError: no", "restarts": 1}]


def test_an_asset_is_restarted_alone_by_the_registry(family: Family) -> None:
    family.tell(StartChildren())
    assert family.tell(ChildFailed("asset", "KeyError: x", "orders")) == []
    assert family.registry == [RestartAsset("orders")]
    assert family.on.observer.of("child_restarted")[0]["name"] == "orders"


def test_past_its_intensity_it_gives_up_once_and_restarts_nobody(family: Family) -> None:
    family.tell(StartChildren())
    family.tell(ChildFailed("c", "one"), ChildFailed("asset", "two", "orders"))
    assert family.gave_up == []
    assert family.tell(ChildFailed("asset", "three", "orders"), ChildFailed("c", "four")) == []
    assert family.gave_up == ["orders failed (three): more than 2 restarts in 10 s"]
    assert family.registry == [RestartAsset("orders")]


def test_failures_that_are_long_enough_ago_do_not_count(family: Family) -> None:
    family.tell(StartChildren())
    for _ in range(6):
        assert family.tell(ChildFailed("c", "now and then")) == ["-c", "+c"]
        family.on.advance(PERIOD_MS // 2)
    family.tell(ChildFailed("c", "again"))
    assert family.gave_up == []
    family.tell(ChildFailed("c", "and again"))
    assert len(family.gave_up) == 1


def test_failures_while_stopping_restart_nobody(family: Family) -> None:
    family.tell(StartChildren(), StopChildren())
    assert family.tell(ChildFailed("c", "too late")) == []
    assert family.gave_up == []


def test_a_supervisor_that_is_stopped_stops_its_children(family: Family) -> None:
    family.tell(StartChildren())
    family.ref.stop(block=False)
    family.on.run()
    assert family.log == ["+a", "+b", "+c", "-c", "-b", "-a"]
