"""Another count of shards, under a load that does not stop: nothing is missing afterwards, by the catalog alone."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.crash.sharded import opened

pytestmark = pytest.mark.integration


def test_another_count_of_shards_under_load_loses_nothing_and_makes_nothing_twice(tmp_path: Path) -> None:
    with opened(tmp_path / "house", 2, has_standbys=False) as house:
        emitter, oracle = house.emitter(random.Random(1)), house.oracle()
        emitter.emit_each()
        emitter.start(per_second=20)
        for count in (3, 1):
            former = house.count
            assert house.divide(count) == []
            for process in house.processes:
                told = house.log_of(process).count("leadership.divided_otherwise")
                assert told == 1, f"{process.name} says once that it waits for {former} shard(s)"
        emitter.stop()
        assert house.broken_at_rest(emitter, oracle) == []
        assert oracle.replay.made_by_runs > 50
