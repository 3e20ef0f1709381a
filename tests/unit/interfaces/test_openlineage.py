"""How OpenLineage events are read, and how the settings of it are checked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.catalog.events import EventInvalid
from actors.core.time_windows import Window
from actors.interfaces.openlineage import RunTold, read_event
from actors.settings import SettingsError, load_settings

NOW_MS = 1_795_521_600_000
"""2026-11-24T12:00:00Z."""
HOUR_MS = 3_600_000


def told(time: str, **run_facets: Any) -> RunTold:
    event = {
        "eventTime": time,
        "run": {"runId": "1", "facets": run_facets},
        "job": {"namespace": "elsewhere", "name": "load"},
    }
    read = read_event(json.dumps(event).encode(), NOW_MS)
    assert read is not None
    return read


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2026-11-24T12:00:00Z", NOW_MS),
        ("2026-11-24t12:00:00.000000z", NOW_MS),
        ("2026-11-24 13:00:00+01:00", NOW_MS),
        ("2026-11-24T07:00-0500", NOW_MS),
        # Without an offset it is UTC, and a clock elsewhere may be ahead of that.
        ("2026-11-24T11:00:00.123456", NOW_MS - HOUR_MS + 123),
        ("2026-11-24T21:00:00", NOW_MS),
        ("2026-11-25T11:59:59Z", NOW_MS + 24 * HOUR_MS - 1_000),
    ],
)
def test_times_are_read_as_clients_write_them(text: str, at_ms: int) -> None:
    assert told(text).at_ms == at_ms


@pytest.mark.parametrize("text", ["2026-11-25T12:00:01Z", "2026-11-24", "12:00", "2026-02-30T00:00:00Z", ""])
def test_what_is_no_time_or_too_far_ahead_is_refused(text: str) -> None:
    with pytest.raises(EventInvalid) as refused:
        told(text)
    assert refused.value.path == "$.eventTime"


@pytest.mark.parametrize(
    ("start", "end", "window"),
    [
        ("2026-11-24T12:00:00Z", "2026-11-24T13:00:00Z", Window(NOW_MS, NOW_MS + HOUR_MS)),
        ("2026-11-24T12:00:00Z", None, Window(NOW_MS, NOW_MS + 1)),
        ("2026-11-24T12:00:00Z", "2026-11-24T11:00:00Z", Window(NOW_MS, NOW_MS + 1)),
        ("2027-11-24T12:00:00Z", None, Window(NOW_MS + 365 * 24 * HOUR_MS, NOW_MS + 365 * 24 * HOUR_MS + 1)),
        ("soon", None, None),
        ("2026-11-24T12:00:00Z", "later", None),
    ],
)
def test_the_nominal_time_is_a_window(start: str, end: str | None, window: Window | None) -> None:
    nominal = {"nominalStartTime": start, "nominalEndTime": end}
    assert told("2026-11-24T12:00:00Z", nominalTime=nominal).window == window


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({}, "Field required"),
        ({"asset": "{nam}"}, "known are name, namespace"),
        ({"asset": "{name.__class__}"}, "known are name, namespace"),
        ({"asset": "{name!r}"}, "write {name} alone"),
        ({"asset": "{name"}, "cannot be read"),
        ({"asset": "x", "pattern": "("}, "no regular expression"),
        ({"asset": "x", "pattern": r"(?P<day>\d+)", "partition": "{days}"}, "known are day, name, namespace"),
        ({"asset": "x", "names": "*"}, "there is no such setting"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(rule: dict[str, str], reason: str) -> None:
    with pytest.raises(SettingsError, match=r"openlineage\.rules\.0") as refused:
        load_settings([], {"HEADWATER_OPENLINEAGE__RULES": json.dumps([rule])})
    assert reason in str(refused.value)
