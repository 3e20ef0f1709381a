"""The stream of decisions: whoever listens hears them, and whoever is slow is dropped and told so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from actors.interfaces.http.decisions import MAX_LISTENERS, DecisionFeed
from tests.unit.interfaces.reports import REPORTS

DECIDED = REPORTS["decided"]


def play(scene: Callable[[DecisionFeed], Awaitable[None]], *, length: int = 3, leads: bool = True) -> None:
    asyncio.run(_play(scene, DecisionFeed(leads=lambda: leads, now_ms=lambda: 0, length=length)))


async def _play(scene: Callable[[DecisionFeed], Awaitable[None]], feed: DecisionFeed) -> None:
    await scene(feed)


def report(feed: DecisionFeed, count: int = 1, **more: Any) -> None:
    """From another thread, as actors do."""
    with ThreadPoolExecutor(1) as thread:
        for number in range(count):
            thread.submit(feed.decided, **{**DECIDED, "failures": number, **more}).result()


def test_each_hears_all_in_order() -> None:
    async def scene(feed: DecisionFeed) -> None:
        one, other = feed.listen(), feed.listen()
        assert one is not None
        assert other is not None
        report(feed, 2)
        for listener in (one, other):
            heard = await listener.take(5)
            assert [told["failures"] for told in heard] == [0, 1]
            assert heard[0] == {
                "assetId": "orders.daily", "workflowSlug": "orders", "partitionKey": "2026-11-23", "runId": None,
                "failures": 0, "at": "1970-01-01T00:00:00.000Z", "decision": "wait", "reason": "backoff",
                "cause": "workflow.run.failed run-1", "until": "2025-11-23T10:00:00.000Z",
            }  # fmt: skip

    play(scene)


def test_one_who_waits_is_woken() -> None:
    async def scene(feed: DecisionFeed) -> None:
        listener = feed.listen()
        assert listener is not None
        waiting = asyncio.create_task(listener.take(60))
        await asyncio.sleep(0)
        await asyncio.to_thread(report, feed)
        assert len(await asyncio.wait_for(waiting, 5)) == 1

    play(scene)


def test_nothing_to_tell_ends_the_waiting() -> None:
    async def scene(feed: DecisionFeed) -> None:
        listener = feed.listen()
        assert listener is not None
        assert await listener.take(0.01) == []
        assert listener.end is None

    play(scene)


def test_a_slow_one_is_dropped_and_told_and_the_others_go_on() -> None:
    async def scene(feed: DecisionFeed) -> None:
        slow, quick = feed.listen(), feed.listen()
        assert slow is not None
        assert quick is not None
        heard = []
        for _ in range(4):
            report(feed)
            heard += await quick.take(5)
        assert len(heard) == 4
        assert quick.end is None
        assert await slow.take(5) == []
        assert slow.end is not None
        assert slow.end.startswith("dropped: 3 decisions")
        report(feed)
        assert await slow.take(5) == []

    play(scene)


def test_what_is_no_news_and_what_a_standby_decides_is_not_told() -> None:
    async def scene(feed: DecisionFeed) -> None:
        listener = feed.listen()
        assert listener is not None
        report(feed, is_news=False)
        assert await listener.take(0.01) == []

    play(scene)

    async def standby(feed: DecisionFeed) -> None:
        listener = feed.listen()
        assert listener is not None
        report(feed)
        assert await listener.take(0.01) == []

    play(standby, leads=False)


def test_so_many_may_listen_and_no_more() -> None:
    async def scene(feed: DecisionFeed) -> None:
        listeners = [feed.listen() for _ in range(MAX_LISTENERS)]
        assert None not in listeners
        assert feed.listen() is None
        assert listeners[0] is not None
        feed.forget(listeners[0])
        assert feed.listen() is not None

    play(scene)


def test_the_end_of_the_service_is_told() -> None:
    async def scene(feed: DecisionFeed) -> None:
        listener = feed.listen()
        assert listener is not None
        waiting = asyncio.create_task(listener.take(60))
        await asyncio.sleep(0)
        feed.close()
        assert await asyncio.wait_for(waiting, 5) == []
        assert listener.end == "the service stops"
        assert feed.listen() is None

    play(scene)


def test_a_listener_whose_loop_has_ended_does_not_trouble_the_actors() -> None:
    feed = DecisionFeed(leads=lambda: True, now_ms=lambda: 0)

    async def leave() -> None:
        assert feed.listen() is not None

    asyncio.run(leave())
    report(feed, 5)
