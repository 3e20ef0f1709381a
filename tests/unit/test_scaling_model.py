"""The model of scaling: where its answers can be said by other means, it says the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.core.shards import MAX_SHARDS
from tests.benchmarks.common import Options
from tests.benchmarks.scaling import MEASURED, heard, latencies_ms, need, needed, told


def test_the_simulated_queue_waits_as_long_as_theory_says_of_it() -> None:
    # Next to nothing but the process: one queue with one server, where the mean stay is service / (1 - load).
    of = replace(MEASURED, script_us=((1, 0.001), (MAX_SHARDS, 0.001)), run_cpu_us=1_000, quiet_ms=0)
    found = need(1_000, 1, 500, of)
    taken = latencies_ms(found, 500, of)
    assert sum(taken) / len(taken) == pytest.approx(1 / (1 - 0.5), rel=0.1)
    # Of such a queue the stays are exponential, so half of them are shorter than ln 2 of the mean.
    assert taken[len(taken) // 2] == pytest.approx(2 * 0.693, rel=0.1)


def test_who_hears_of_an_event_is_at_least_its_keeper_and_at_most_everybody() -> None:
    assert (heard(1_000, 1).clusters, heard(1_000, 1).random) == (1, 1)
    for shards in (2, 64):
        found = heard(10_000, shards)
        assert 1 < found.clusters <= 4
        assert found.clusters < found.random + 1 <= shards + 1
    # Of a chain of four the mean of 1 to 4 keepers drawn from very many.
    assert heard(50_000, 64).clusters == pytest.approx(2.5, rel=0.05)


def test_more_shards_hold_less_each_but_never_less_than_the_graph() -> None:
    sizes = [need(100_000, shards, 100).process_gib for shards in (1, 2, 64)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] > need(100_000, 64, 100).graph_gib > 100_000 * MEASURED.node_bytes / 2**30


def test_as_many_shards_are_needed_as_keep_every_process_within_its_limits() -> None:
    found = needed(100_000, 6_000)
    assert found.shards > 1
    assert found.limits["CPU of a process"] <= 1
    assert need(100_000, found.shards // 2, 6_000).limits["CPU of a process"] > 1


def test_a_server_that_cannot_follow_is_told_of() -> None:
    result = told(10_000, Options(assets=10_000, shards=8, events_per_second=50_000, scale=0.01))
    assert result["first_limit"] == "CPU of the server"
    assert result["p99_ms"] == "without end"
