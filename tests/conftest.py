"""For all tests: which examples properties are tried on, and a report that tells which tests need a real server.

`PROPERTIES=explore python -m pytest tests/unit` tries others each time; without it they are the same ones each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest
from hypothesis import settings

# Before any test module is loaded: a test's own settings begin with those of the profile. None has a deadline, as how
# long something takes says more of the machine than of the code.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", derandomize=False, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("PROPERTIES", "same"))


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    # CI reads the mark in the report, to see that none of these was skipped.
    for item in items:
        if item.get_closest_marker("integration") is not None:
            item.user_properties.append(("mark", "integration"))
