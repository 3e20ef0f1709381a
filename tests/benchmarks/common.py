"""What benchmarks share: the shape of one, how they are found, and how they measure.

A benchmark is a module of this package with a `NAME: str` and a `run(options: Options) -> dict[str, float |
int | str]`. Its docstring says what is measured. Dropping the module in is all it takes; names and numbers
only, so that the result is one JSON object.
"""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

Result: TypeAlias = dict[str, float | int | str]
"""Keys say the unit (`_per_second`, `_bytes`, `_ms`) unless they are counts or ratios."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a benchmark."""

    scale: float = 1.0
    """Multiplies the sizes; below 1 for a quick look, and for the tests of the benchmarks."""
    million: bool = False
    """Also run the part of `memory` that starts a million actors."""
    assets: int | None = None
    """Of the model `scaling`: how many; a few sizes if it is not said."""
    shards: int | None = None
    """Of the model `scaling`: how many; as many as are needed if it is not said."""
    events_per_second: float | None = None
    """Of the model `scaling`: how many; one for each asset and day if it is not said."""

    def scaled(self, size: int) -> int:
        """`size` times the scale, at least 1."""
        return max(1, round(size * self.scale))


@runtime_checkable
class Benchmark(Protocol):
    """A benchmark module, as `discover` finds it."""

    NAME: str
    __doc__: str | None
    run: Callable[[Options], Result]


def discover() -> dict[str, Benchmark]:
    """The benchmarks of this package by name.

    Raises:
        ValueError: if two have the same name
    """
    package = importlib.import_module(__package__ or "tests.benchmarks")
    found: dict[str, Benchmark] = {}
    for entry in sorted(pkgutil.iter_modules(package.__path__), key=lambda entry: entry.name):
        if entry.name.startswith(("_", "test_")) or entry.name == "common":
            continue
        module: object = importlib.import_module(f"{package.__name__}.{entry.name}")
        if not isinstance(module, Benchmark):
            continue
        if module.NAME in found:
            msg = f"two benchmarks are named {module.NAME!r}; one of them is {entry.name}.py: rename it"
            raise ValueError(msg)
        found[module.NAME] = module
    return found


class Stopwatch:
    """How long a block took. `seconds` is valid after the block."""

    seconds: float = 0.0


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Time a block, after a collection, so that it does not pay for garbage of what went before."""
    gc.collect()
    watch = Stopwatch()
    began = time.perf_counter()
    yield watch
    watch.seconds = time.perf_counter() - began


def resident_bytes() -> int:
    """The resident memory of this process, after a collection; Linux only."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
