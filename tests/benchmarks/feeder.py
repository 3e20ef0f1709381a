"""Appends productions to the stream at an even pace, from a process of its own: `python -m tests.benchmarks.feeder`.

Arguments: URL, stream, first number, how many, how many sources, events per second, and how many partitions the
events of each source have in turn (without it each event has one of its own). Prints a JSON list of when each was about
to be appended, monotonic nanoseconds, which all processes of a Linux machine share.
"""

from __future__ import annotations

import json
import sys
import time

from redis import Redis

from tests.benchmarks.graphs import event_data


def main(url: str, stream: str, first: int, count: int, sources: int, per_second: float, keys: int) -> None:
    client = Redis.from_url(url)
    client.ping()
    appended_ns: list[int] = []
    began = time.monotonic()
    for number in range(first, first + count):
        pause = began + (number - first) / per_second - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        data = event_data(f"s{number % sources}", f"k{number % keys if keys else number}")
        version = str(number + 1)
        appended_ns.append(time.monotonic_ns())
        client.xadd(
            stream,
            {"type": "asset.produced", "data": data, "version": version, "changedVersion": version, "inputs": "{}"},
        )
    sys.stdout.write(json.dumps(appended_ns))


if __name__ == "__main__":
    url, stream, *numbers = sys.argv[1:]
    first, count, sources, per_second, *keys = map(int, numbers)
    main(url, stream, first, count, sources, per_second, *keys or (0,))
