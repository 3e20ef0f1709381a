"""The runtime's benchmarks, at a size that says nothing about speed: they run, and say what they promise."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.benchmarks.common import Options, discover

PROMISED = {
    "mailbox": {"pooled_5000_per_second", "pooled_100000_per_second", "threading_5000_per_second", "ratio_5000"},
    "memory": {"actors", "bytes_per_actor", "bytes_per_asset", "threads"},
    "timers": {"armed", "arm_per_second", "cancel_per_second", "left_armed"},
}


@pytest.mark.parametrize("name", PROMISED)
def test_a_benchmark_gives_numbers_under_the_promised_names(name: str) -> None:
    result = discover()[name].run(Options(scale=0.002))
    assert PROMISED[name] <= result.keys()
    assert all(isinstance(value, int | float) and value >= 0 for value in result.values())


def test_timers_that_were_all_cancelled_leave_none() -> None:
    assert discover()["timers"].run(Options(scale=0.001))["left_armed"] == 0


def test_the_command_prints_one_json_object() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "memory", "--json", "--scale", "0.001"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout)["actors"] == 100


def test_the_command_names_the_benchmarks_when_it_does_not_know_one() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "no_such_thing"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "memory" in done.stderr
