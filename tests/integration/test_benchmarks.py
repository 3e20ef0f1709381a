"""The benchmarks of the whole service, at a size that says nothing about speed: they run, and say what they promise."""

from __future__ import annotations

import pytest

from tests.benchmarks.common import Options, discover

PROMISED = {
    "route": {"ratio", "service_per_second", "bare_per_second"},
    "flat": {"ratio", "idle_cpu_percent_of_a_core"},
    "latency": {"p50_ms_200", "p99_ms_200", "max_ms_200", "p50_ms_1000", "p99_ms_1000", "max_ms_1000"},
    "api": {"assets", "calls", "events", "p50_ms", "p99_ms", "p99_ms_at_rest", "cpu_ms_asset", "p99_ms_explain"},
    "start": {"start_seconds", "stop_seconds", "dump_ms", "event_to_run_ms", "threads_after_start"},
}


@pytest.mark.integration
@pytest.mark.parametrize("name", PROMISED)
def test_a_benchmark_gives_numbers_under_the_promised_names(name: str) -> None:
    result = discover()[name].run(Options(scale=0.005))
    assert PROMISED[name] <= result.keys()
    assert all(isinstance(value, int | float) and value >= 0 for value in result.values())
