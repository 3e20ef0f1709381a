from __future__ import annotations

import inspect
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from actors.interfaces.log_observer import LogObserver
from actors.interfaces.metrics import MetricsObserver
from actors.interfaces.observers import FanOut
from actors.observer import Observer
from tests.unit.interfaces.reports import REPORTS

METHODS = [name for name, _ in inspect.getmembers(Observer, inspect.isfunction) if not name.startswith("_")]


class _Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        # A positional delta is recorded by its name, as the protocol has it.
        def record(delta: int | None = None, **report: Any) -> None:
            self.calls.append((name, report if delta is None else {"delta": delta}))

        return record


def test_every_report_of_the_protocol_is_tested() -> None:
    assert sorted(REPORTS) == sorted(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_fan_out_passes_every_report_on_as_it_is(name: str) -> None:
    first, second = _Recorder(), _Recorder()
    getattr(FanOut([first, second]), name)(**REPORTS[name])
    assert first.calls == second.calls == [(name, REPORTS[name])]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", ["log", "metrics"])
def test_observers_take_every_report(name: str, kind: str) -> None:
    observer: Observer = LogObserver() if kind == "log" else MetricsObserver(CollectorRegistry())
    getattr(observer, name)(**REPORTS[name])
