"""Calls the API from a process of its own: `python -m tests.benchmarks.api_callers`.

Arguments: URL, seconds, clients, calls per second of all clients, targets: a JSON object of lists of paths by the name
of their route. Each client calls the routes in turn, with the paths of each in turn, at its share of an even pace; when
an answer comes late the next call follows at once, and each client calls once at least. Prints a JSON object: the
milliseconds of each call, by route.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from itertools import count

import httpx

START_SECONDS = 0.5


def call(
    url: str, began: float, until: float, every: float, targets: dict[str, list[str]], turn: int
) -> dict[str, list[float]]:
    """The calls of one client. `every` are the seconds between two of its calls, `turn` where it begins."""
    taken_ms: dict[str, list[float]] = {name: [] for name in targets}
    names = list(targets)
    with httpx.Client(base_url=url, timeout=60.0) as http:
        for number in count():
            pause = began + number * every - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            at = time.monotonic()
            if number and at >= until:
                return taken_ms
            name = names[(turn + number) % len(names)]
            paths = targets[name]
            http.get(paths[(turn + number // len(names)) % len(paths)]).raise_for_status()
            taken_ms[name].append((time.monotonic() - at) * 1e3)
    return taken_ms


def main(url: str, seconds: float, clients: int, per_second: float, targets: dict[str, list[str]]) -> None:
    began = time.monotonic() + START_SECONDS
    every = clients / per_second
    found: list[dict[str, list[float]]] = []
    callers = [
        threading.Thread(
            # A step apart, so that they do not all call at once.
            target=lambda turn: found.append(
                call(url, began + turn * every / clients, began + seconds, every, targets, turn)
            ),
            args=(turn,),
        )
        for turn in range(clients)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    if len(found) < clients:
        sys.exit("a client failed; its error is above")
    sys.stdout.write(json.dumps({name: [ms for each in found for ms in each[name]] for name in targets}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), json.loads(sys.argv[5]))
