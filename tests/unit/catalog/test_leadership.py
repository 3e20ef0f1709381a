"""When a service leads, by its own clock: never while another may."""

from __future__ import annotations

from random import Random

import pytest
import structlog

from actors.catalog.leadership import Leadership
from actors.catalog.store import CatalogUnavailable
from actors.runtime import VirtualClock
from tests.unit.catalog.leases import MemoryLease, MemoryServer

LEASE_MS = 3_000


class Candidate:
    """One service of several on a server; its turns are taken by hand."""

    def __init__(self, server: MemoryServer, name: str, *, sole: bool = False) -> None:
        self.clock = server.clock
        self.changes = 0
        self.lease = MemoryLease(server, name, LEASE_MS, sole=sole)
        self.leadership = Leadership(
            self.lease, self.clock, lease_seconds=LEASE_MS / 1_000, on_change=self._changed, sole=sole
        )

    def _changed(self) -> None:
        self.changes += 1

    def term(self) -> int | None:
        return self.leadership.term()

    def turn(self) -> float:
        return self.leadership.turn()


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer(VirtualClock(1_000_000))


def test_the_first_leads_and_the_second_looks_often_for_a_release(server: MemoryServer) -> None:
    first, second = Candidate(server, "first"), Candidate(server, "second")
    assert first.turn() == pytest.approx(1.0)
    assert 0 < second.turn() <= 0.25
    assert (first.term(), second.term()) == (1, None)
    assert (first.changes, second.changes) == (1, 0)


def test_a_leader_that_renews_leads_for_ever(server: MemoryServer) -> None:
    first, second = Candidate(server, "first"), Candidate(server, "second")
    first.turn()
    for _ in range(20):
        server.clock.advance(1_000)
        first.turn()
        second.turn()
    assert (first.term(), second.term(), first.changes) == (1, None, 1)


def test_who_stands_by_looks_again_when_the_lease_ends(server: MemoryServer) -> None:
    first, second = Candidate(server, "first"), Candidate(server, "second")
    first.turn()
    server.clock.advance(LEASE_MS - 40)
    assert second.turn() == pytest.approx(0.04)
    server.clock.advance(40)
    second.turn()
    assert second.term() == 2


def test_a_leader_that_cannot_renew_is_not_sure_before_another_can_lead(server: MemoryServer) -> None:
    first, second = Candidate(server, "first"), Candidate(server, "second")
    first.turn()
    server.is_reachable = False
    server.clock.advance(LEASE_MS - 301)
    first.turn()
    assert first.term() == 1
    server.clock.advance(1)
    assert first.term() is None, "by the clock alone, before anybody has told it"
    server.is_reachable = True
    second.turn()
    assert second.term() is None, "the server still holds the lease"
    server.is_reachable = False
    first.turn()
    assert first.changes == 2
    server.is_reachable = True
    first.turn()
    second.turn()
    assert (first.term(), second.term()) == (None, 2), (
        "what is held in vain is released as soon as the server is reached"
    )


def test_a_lease_counts_from_when_it_was_asked_for(server: MemoryServer) -> None:
    first = Candidate(server, "first")
    first.lease.latency_ms = 2_000
    first.turn()
    assert first.term() == 1
    server.clock.advance(LEASE_MS - 300 - 2_000)
    assert first.term() is None


def test_a_renewal_that_failed_is_tried_again_in_time(server: MemoryServer) -> None:
    first = Candidate(server, "first")
    first.turn()
    server.clock.advance(1_000)
    server.is_reachable = False
    assert first.turn() <= 0.25
    server.is_reachable = True
    server.clock.advance(1_000)
    first.turn()
    server.clock.advance(2_000)
    assert first.term() == 1


def test_after_a_loss_it_waits_until_it_is_ready_to_stand(server: MemoryServer) -> None:
    first = Candidate(server, "first")
    first.turn()
    server.clock.advance(LEASE_MS)
    first.turn()
    for _ in range(3):
        server.clock.advance(1_000)
        first.turn()
    assert (first.term(), first.changes) == (None, 2)
    first.leadership.stand()
    first.turn()
    assert (first.term(), first.changes) == (2, 3)


def test_a_write_that_was_refused_ends_the_lead_at_once(server: MemoryServer) -> None:
    first = Candidate(server, "first")
    first.turn()
    first.leadership.refused(2)
    assert (first.term(), first.changes) == (None, 2)
    first.turn()
    assert "release" not in server.calls, "it is another's by now"


def test_a_late_refusal_of_an_earlier_term_does_not_end_the_present_one(server: MemoryServer) -> None:
    first = Candidate(server, "first")
    first.turn()
    first.leadership.refused(1)
    assert (first.term(), first.changes) == (1, 1)


def test_a_leader_that_steps_down_makes_way_at_once(server: MemoryServer) -> None:
    first, second = Candidate(server, "first"), Candidate(server, "second")
    first.turn()
    first.leadership.step_down("for a reason")
    assert first.term() is None
    first.turn()
    second.turn()
    assert second.term() == 2


def test_a_step_down_during_a_renewal_is_not_undone_by_its_answer(server: MemoryServer) -> None:
    first = Candidate(server, "first")
    first.turn()
    renew = first.lease.renew

    def renew_slowly(term: int) -> bool:
        answer = renew(term)
        first.leadership.step_down("meanwhile")
        return answer

    first.lease.renew = renew_slowly  # type: ignore[method-assign]
    first.turn()
    assert first.term() is None
    first.turn()
    assert server.until_ms == 0


def test_a_server_that_has_forgotten_everything_has_no_leader(server: MemoryServer) -> None:
    first = Candidate(server, "first")
    first.turn()
    server.term, server.holder, server.until_ms = 0, None, 0
    first.turn()
    assert first.term() is None


def test_who_is_alone_leads_at_once_and_through_every_outage(server: MemoryServer) -> None:
    Candidate(server, "killed").turn()
    alone = Candidate(server, "alone", sole=True)
    alone.turn()
    assert alone.term() == 2
    server.is_reachable = False
    for _ in range(5):
        server.clock.advance(LEASE_MS)
        alone.turn()
    assert (alone.term(), alone.changes) == (2, 1)


def test_a_start_without_a_server_says_so(server: MemoryServer) -> None:
    server.is_reachable = False
    with pytest.raises(CatalogUnavailable):
        Candidate(server, "first").leadership.start()


def test_who_cannot_ask_for_the_lead_says_so_once_for_each_outage(server: MemoryServer) -> None:
    first, second = Candidate(server, "first"), Candidate(server, "second")
    first.turn()
    second.turn()
    with structlog.testing.capture_logs() as told:
        for _ in range(2):
            server.is_reachable = False
            for _ in range(3):
                second.turn()
            server.is_reachable = True
            second.turn()
    assert [line["event"] for line in told] == ["leadership.unanswered"] * 2


def test_the_thread_takes_the_lead_and_a_stop_gives_it_up(server: MemoryServer) -> None:
    first = Candidate(server, "first")
    assert first.leadership.start()
    first.leadership.stop()
    assert (first.term(), server.until_ms) == (None, 0)


@pytest.mark.parametrize("seed", range(200))
def test_two_never_lead_at_once_and_somebody_leads_when_all_is_well(seed: int) -> None:
    """Three services, whose turns come late, whose requests take long, and whose server is out of reach at times."""
    rng = Random(seed)
    server = MemoryServer(VirtualClock(1_000_000))
    candidates = [Candidate(server, name) for name in "abc"]
    terms: list[int] = []

    def look() -> None:
        leading = [each for each in candidates if each.term() is not None]
        assert len(leading) <= 1
        terms.extend(each.term() or 0 for each in leading)

    for _ in range(300):
        each = rng.choice(candidates)
        server.is_reachable = rng.random() < 0.8
        each.lease.latency_ms = rng.choice((0, 0, 1, 50, 900))
        each.turn()
        look()
        if rng.random() < 0.05:
            each.leadership.step_down("it was told to")
        if each.term() is None and rng.random() < 0.5:
            each.leadership.stand()
        server.clock.advance(rng.choice((0, 10, 250, 1_000, 4_000)))
        look()
    assert terms == sorted(terms), "a term that is over does not come back"
    server.is_reachable = True
    for _ in range(30):
        for each in candidates:
            each.lease.latency_ms = 0
            each.leadership.stand()
            each.turn()
        server.clock.advance(250)
    assert [each.term() is not None for each in candidates].count(True) == 1


def test_a_renewal_that_is_answered_after_the_own_end_is_a_loss_and_is_told(server: MemoryServer) -> None:
    """Who wrote in between was refused, and must hear of a change before it leads again."""
    first = Candidate(server, "first")
    first.turn()
    server.clock.advance(LEASE_MS // 2)
    first.lease.latency_ms = LEASE_MS // 2 - 10
    first.turn()
    assert (first.term(), first.changes) == (None, 2)
    first.lease.latency_ms = 0
    first.leadership.stand()
    for _ in range(3):
        first.turn()
    assert (first.term(), first.changes) == (2, 3)
