"""Actors that crash: they come back from the catalog's state, until it happens too often.

No input is known that crashes one, so a message that none of them understands is put into its mailbox, in a service
of this very process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from pykka import ActorRef

from actors import system
from actors.catalog.store import RunStatus
from actors.messages import DumpAsset
from actors.settings import load_settings
from actors.surroundings import Surroundings
from tests.integration.service.conftest import closing
from tests.integration.service.driver import Service, eventually
from tests.integration.service.workflows import produce, workflow


class Poison:
    """No actor understands it."""


@contextmanager
def hosted(
    driver: Service, kind: type[system.Service] = system.Service
) -> Iterator[tuple[Surroundings, SimpleQueue[str]]]:
    """The service of this process, and the reasons for which it gave up."""
    reasons: SimpleQueue[str] = SimpleQueue()
    settings = load_settings([driver.config_file], environ={})
    service = kind(settings, driver.catalog, give_up=reasons.put)
    service.start()
    try:
        yield service._actors._around, reasons
    finally:
        service.stop()


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Service]:
    with closing(Service(tmp_path)) as driver:
        driver.configure(supervision={"max_restarts": 3})
        driver.write(
            workflow("fed", consumes=["raw"]),
            workflow("timed", produce("timed", {}, freshness={"ttlMs": 3_600_000})),
        )
        yield driver


def asset(around: Surroundings, asset_id: str) -> ActorRef[Any]:
    def found() -> ActorRef[Any] | None:
        registry = around.links.registry
        ref: Any = registry.ask(DumpAsset(asset_id), timeout=10) if registry is not None else None
        return ref if ref is not None and ref.is_alive() else None

    return eventually(found, f"there is an actor of {asset_id}")


def restarted(ref: ActorRef[Any] | None) -> None:
    assert ref is not None
    ref.tell(Poison())
    eventually(lambda: not ref.is_alive(), "the actor is dead")


def test_an_asset_actor_that_crashes_is_restarted_from_the_catalog_and_loses_nothing(driver: Service) -> None:
    with hosted(driver) as (around, reasons):
        driver.hold("fed")
        driver.emit("raw")
        driver.wait_begun("fed")
        restarted(asset(around, "fed"))
        driver.emit("raw")
        driver.release("fed")
        driver.wait_runs("fed", RunStatus.SUCCEEDED, 2)
        driver.wait_idle()
        assert driver.latest("fed").materialization.inputs == {"raw": 2}
        assert len(driver.begun("fed")) == 2
        assert reasons.empty()


@pytest.mark.parametrize("child", ["registry", "enqueuer"])
def test_a_child_that_crashes_is_restarted_with_what_was_started_after_it(driver: Service, child: str) -> None:
    with hosted(driver) as (around, reasons):
        driver.hold("fed")
        driver.emit("raw")
        driver.wait_begun("fed")
        restarted(getattr(around.links, child))
        driver.emit("raw")
        driver.release("fed")
        driver.wait_runs("fed", RunStatus.SUCCEEDED, 2)
        driver.wait_idle()
        assert driver.latest("fed").materialization.inputs == {"raw": 2}
        assert len(driver.begun("fed")) == 2
        driver.emit("raw")
        driver.wait_runs("fed", RunStatus.SUCCEEDED, 3)
        assert reasons.empty()


def test_past_the_intensity_the_service_gives_up_with_the_reason(driver: Service) -> None:
    with hosted(driver) as (around, reasons):
        for _ in range(3):
            restarted(asset(around, "timed"))
        with pytest.raises(Empty):
            reasons.get_nowait()
        restarted(asset(around, "timed"))
        reason = reasons.get(timeout=10)
        assert "timed failed" in reason
        assert "more than 3 restarts in 60 s" in reason


def test_a_service_that_gave_up_ends_with_1_and_says_why(driver: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """`serve` itself, told to give up as the supervisor tells it."""

    class GivingUp(system.Service):
        def start(self) -> None:
            super().start()
            for _ in range(4):
                restarted(asset(self._actors._around, "timed"))

    monkeypatch.setattr(system, "Service", GivingUp)
    settings = load_settings([driver.config_file], environ={})
    assert system.serve(settings) == 1
