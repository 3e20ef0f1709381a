"""Delivery over a real catalog: in order, at least once, from a cursor that outlives whoever delivers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from redis import Redis
from structlog.testing import capture_logs

from actors.catalog.outgoing_feed import OutgoingFeed
from actors.catalog.redis_root import entry_id_of
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import Deposed, Json, RunStatus
from actors.core.backoff import BackoffPolicy
from actors.core.shards import WHOLE, Shard
from actors.interfaces.outgoing.cloudevents import CloudEventsForm
from actors.interfaces.outgoing.delivery import Delivery
from actors.interfaces.outgoing.metrics import OutgoingMetrics
from actors.interfaces.outgoing.openlineage import OpenLineageForm
from actors.interfaces.outgoing.outcomes import Outcome, Refused, Taken, Unavailable
from actors.setting_groups import StreamSettings
from tests.integration.catalog.builders import T0, end, eventually, made, start

pytestmark = pytest.mark.integration

QUICK = BackoffPolicy(base_ms=1, max_ms=5)
STREAMS = StreamSettings()


class Scripted:
    """A way to a receiver that answers as a test says, and takes what comes when nothing is said."""

    receiver = "http://receiver.internal/"

    def __init__(self) -> None:
        self.answers: deque[Outcome] = deque()
        self.bodies: list[Any] = []
        self.taken: list[Any] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def send(self, body: Json) -> Outcome:
        self.bodies.append(body)
        assert self.go_on.wait(30)
        answer = self.answers.popleft() if self.answers else Taken()
        if isinstance(answer, Taken):
            self.taken += body if isinstance(body, list) else [body]
        return answer

    def close(self) -> None:
        """There is nothing to close."""

    def made(self) -> list[int]:
        return [each["data"]["recorded"]["version"] for each in self.taken if each["type"] == "asset.produced"]


class Lead:
    """Whether a service leads, as a test gives and takes it."""

    def __init__(self) -> None:
        self._leads = False
        self._refused = threading.Event()

    def __call__(self) -> bool:
        if not self._leads:
            self._refused.set()
        return self._leads

    def give(self) -> None:
        self._leads = True

    def take(self) -> None:
        """Returns when whoever asks has heard of it."""
        self._refused.clear()
        self._leads = False
        assert self._refused.wait(30)


class House:
    """A catalog, and who delivers from it."""

    def __init__(self, client: Redis, prefix: str) -> None:
        self.client = client
        self.prefix = prefix
        self.store = RedisStore(client, prefix=prefix)
        self.registry = CollectorRegistry()
        self.metrics = OutgoingMetrics(self.registry)
        self.deliveries: list[Delivery] = []

    def feed(self, form: CloudEventsForm | OpenLineageForm, **more: Any) -> OutgoingFeed:
        name = form.name
        return OutgoingFeed(
            self.client, name=name, prefix=self.prefix, streams=STREAMS, with_runs=form.with_runs, **more
        )

    def deliver(
        self,
        sender: Scripted,
        form: CloudEventsForm | OpenLineageForm | None = None,
        leads: Callable[[], bool] = lambda: True,
    ) -> Delivery:
        form = form or CloudEventsForm("urn:headwater:test")
        delivery = Delivery(
            self.feed(form),
            form,
            sender,
            self.metrics,
            leads=leads,
            retry=QUICK,
            block_ms=20,
            look_seconds=0.02,
        )
        self.deliveries.append(delivery)
        delivery.prepare()
        delivery.start()
        return delivery

    def make(self, count: int, first: int = 1) -> None:
        for number in range(first, first + count):
            self.store.record(made("a", run_id=f"outside-{number}"))

    def count(self, name: str, receiver: str = "cloudevents", **labels: str) -> float | None:
        return self.registry.get_sample_value(f"headwater_outgoing_{name}", {"receiver": receiver, **labels})


@pytest.fixture
def house(client: Redis, prefix: str) -> Iterator[House]:
    house = House(client, prefix)
    yield house
    for delivery in house.deliveries:
        delivery.stop()


def until(check: Callable[[], bool]) -> None:
    eventually(check, what="the receiver has what it should have")


def test_everything_arrives_in_order_though_the_receiver_fails(house: House) -> None:
    sender = Scripted()
    sender.answers += [Unavailable("503"), Unavailable("503"), Taken(), Unavailable("429", 0.01)]
    with capture_logs() as logs:
        house.deliver(sender)
        house.make(5)
        until(lambda: len(sender.taken) == 5)
        until(lambda: house.count("events_total", result="delivered") == 5)
    assert sender.made() == [1, 2, 3, 4, 5]
    assert house.count("retries_total") == 3
    # Each outage is a line, and its end another.
    told = [line["event"] for line in logs if line["event"].startswith("outgoing.")]
    assert told == ["outgoing.started", *["outgoing.unavailable", "outgoing.available"] * 2]


def test_who_comes_next_goes_on_from_the_cursor(house: House) -> None:
    first, second = Scripted(), Scripted()
    delivery = house.deliver(first)
    house.make(3)
    until(lambda: first.made() == [1, 2, 3])
    delivery.stop()
    house.make(2, first=4)
    house.deliver(second)
    until(lambda: second.made() == [4, 5])


def test_what_was_not_taken_is_sent_again_by_who_comes_next(house: House) -> None:
    first, second = Scripted(), Scripted()
    first.answers += [Taken(), *[Unavailable("503")] * 1_000]
    delivery = house.deliver(first)
    house.make(3)
    until(lambda: len(first.bodies) > 3)
    delivery.stop()
    house.deliver(second)
    until(lambda: second.made() == [2, 3])
    assert first.made() == [1]


def test_a_refused_event_is_dropped_and_the_others_of_its_batch_get_through(house: House) -> None:
    sender = Scripted()
    sender.go_on.clear()
    with capture_logs() as logs:
        house.deliver(sender, CloudEventsForm("urn:headwater:test", most=10))
        house.make(1)
        until(lambda: len(sender.bodies) == 1)
        house.make(3, first=2)
        # The first request is taken, then the batch of three is refused, and of its members the second.
        sender.answers += [Taken(), Refused("400"), Taken(), Refused("400 bad"), Taken()]
        sender.go_on.set()
        until(lambda: house.count("events_total", result="delivered") == 3)
    assert sender.made() == [1, 2, 4]
    assert house.count("events_total", result="dropped") == 1
    (line,) = [line for line in logs if line["event"] == "outgoing.dropped"]
    assert (line["receiver"], line["reason"]) == ("cloudevents", "400 bad")
    assert line["about"] == sender.bodies[-2][0]["id"]


def test_a_slow_receiver_holds_up_nobody_else(house: House) -> None:
    slow, quick = Scripted(), Scripted()
    slow.go_on.clear()
    house.deliver(slow)
    house.deliver(quick, OpenLineageForm("headwater"))
    house.make(1)
    until(lambda: len(slow.bodies) == 1)
    start(house.store, "run-1")
    end(house.store, "run-1")
    until(lambda: [each["eventType"] for each in quick.taken] == ["START", "COMPLETE"])
    assert slow.taken == []
    assert (house.count("lag_seconds") or 0) > 0
    slow.go_on.set()
    until(lambda: [each["type"] for each in slow.taken][-1:] == ["workflow.run.succeeded"])
    until(lambda: house.count("lag_seconds") == 0)


def test_a_run_is_told_with_what_it_read_and_made(house: House) -> None:
    sender = Scripted()
    house.deliver(sender, OpenLineageForm("headwater"))
    house.make(2)
    start(house.store, "run-1", upstreams=["a"])
    house.store.record(made("b", "eu", run_id="run-1", step_id="load", upstreams=("a",)))
    end(house.store, "run-1", RunStatus.FAILED)
    until(lambda: len(sender.taken) == 2)
    for each in sender.taken:
        (read,) = each["inputs"]
        assert (read["name"], read["facets"]["version"]["datasetVersion"]) == ("a", "2")
    assert [each["eventType"] for each in sender.taken] == ["START", "FAIL"]
    (output,) = sender.taken[1]["outputs"]
    assert output["facets"]["headwater_partitions"]["partitions"] == [{"partitionKey": "eu", "version": 1}]


def test_a_run_that_was_dropped_or_damaged_is_told_of_all_the_same(house: House) -> None:
    sender, form = Scripted(), OpenLineageForm("headwater")
    house.feed(form).cursor()
    for run_id in ("run-0", "run-1", "run-2"):
        start(house.store, run_id, workflow=run_id)
        end(house.store, run_id)
    house.client.delete(f"{house.prefix}:run:run-1")
    house.client.hdel(f"{house.prefix}:run:run-2", "parameters")
    house.deliver(sender, form)
    until(lambda: len(sender.taken) == 6)
    assert [each["job"]["name"] for each in sender.taken] == [f"run-{number}" for number in (0, 0, 1, 1, 2, 2)]


def test_what_was_trimmed_before_it_was_sent_is_told(house: House) -> None:
    sender = Scripted()
    house.make(1)
    delivery = house.deliver(sender)
    house.make(1, first=2)
    until(lambda: sender.made() == [2])
    delivery.stop()
    house.make(3, first=3)
    newest = house.store.position()
    house.client.xtrim(f"{house.prefix}:events", minid=entry_id_of(newest), approximate=False)
    with capture_logs() as logs:
        house.deliver(sender)
        until(lambda: sender.made() == [2, 5])
    assert [line["receiver"] for line in logs if line["event"] == "outgoing.gap"] == ["cloudevents"]
    assert house.count("gaps_total") == 1


def test_a_stream_that_began_empty_and_was_trimmed_has_a_gap_too(house: House) -> None:
    feed = house.feed(CloudEventsForm("urn:headwater:test"))
    assert feed.cursor() == 0
    house.make(2)
    assert not feed.read(0).has_gap
    house.client.xtrim(f"{house.prefix}:events", minid=entry_id_of(house.store.position()), approximate=False)
    batch = feed.read(0)
    assert (batch.has_gap, len(batch.events)) == (True, 1)
    assert not feed.read(batch.last).has_gap


def test_who_does_not_lead_sends_nothing_and_goes_on_where_the_leader_was(house: House) -> None:
    one, other = Scripted(), Scripted()
    one_leads, other_leads = Lead(), Lead()
    house.deliver(one, leads=one_leads)
    one_leads.give()
    house.deliver(other, leads=other_leads)
    house.make(1)
    until(lambda: one.made() == [1])
    one_leads.take()
    other_leads.give()
    house.make(2, first=2)
    until(lambda: other.made() == [2, 3])
    assert one.made() == [1]
    other_leads.take()
    one_leads.give()
    house.make(1, first=4)
    until(lambda: one.made() == [1, 4])
    assert other.made() == [2, 3]


def test_a_former_leader_cannot_move_the_cursor(house: House) -> None:
    class Former:
        shard: Shard = WHOLE

        def term(self) -> int:
            return 1

        def refused(self, term: int) -> None:
            """It is told; nothing here asks for it."""

    house.client.hset(f"{house.prefix}:leader", "term", "2")
    house.make(1)
    form = CloudEventsForm("urn:headwater:test")
    cursor = house.feed(form).cursor()
    house.make(1, first=2)
    with pytest.raises(Deposed):
        house.feed(form, fence=Former()).move(house.store.position())
    assert house.feed(form).cursor() == cursor


def test_what_tells_of_nothing_is_passed_over(house: House, client: Redis) -> None:
    sender = Scripted()
    house.deliver(sender)
    outside = {"type": "asset.produced", "data": '{"assetId": "a", "producedAt": "2025-11-24T16:00:00Z", "runId": "x"}'}
    for fields in ({"type": "asset.produced", "data": "no JSON"}, {"nonsense": "1"}, outside):
        client.xadd(f"{house.prefix}:events", dict[Any, Any](fields))
    house.store.record(made("a", produced_at_ms=T0, run_id="outside"))
    until(lambda: sender.made() == [1])
    assert len(sender.taken) == 1
