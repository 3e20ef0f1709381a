"""The example's job modules import each other by plain name: a worker has their folder on its path."""

from __future__ import annotations

import sys

from tests.unit.example.river import JOBS

if str(JOBS) not in sys.path:
    sys.path.append(str(JOBS))
