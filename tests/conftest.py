"""For all tests: the report says which of them talk to a real server, so that CI can see that none was skipped."""

from __future__ import annotations

from collections.abc import Iterable

import pytest


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("integration") is not None:
            item.user_properties.append(("mark", "integration"))
