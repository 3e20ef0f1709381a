"""The service of one shard that launches runs nowhere, in a process: `python -m tests.benchmarks.shard_service`.

Arguments: URL, prefix, index, count. It prints a line once every shard is led, and then, for each line that it reads,
one JSON object: `cpuSeconds` and `residentBytes` of this process. It ends with its input.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from actors.catalog.access import open_catalog
from actors.interfaces.logs import configure_logging
from actors.settings import Settings
from actors.system import Service
from tests.benchmarks.common import resident_bytes
from tests.benchmarks.wired import NullLauncher, wait_until


def main(url: str, prefix: str, index: int, count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Path("/dev/null").open("w") as nowhere:
        folder = Path(name)
        for each in ("workflows", "jobs"):
            (folder / each).mkdir()
        settings = Settings.model_validate(
            {
                "data_dir": folder / "data",
                "workflows_dir": folder / "workflows",
                "jobs_dir": folder / "jobs",
                "redis": {"url": url, "prefix": prefix, "socket_timeout_seconds": 30},
                "shard": {"index": index, "count": count},
                "concurrency": {"max_runs": 100_000},
                "streams": {"events_max_length": 10_000_000},
                # Nobody takes the lead while the machine is busy.
                "leadership": {"lease_seconds": 60},
                "log": {"level": "warning"},
            }
        )
        logging = configure_logging("json", settings.log.level, stream=nowhere)
        with open_catalog(settings, service=True) as catalog:
            with patch("actors.execution.engines.LocalLauncher", NullLauncher):
                service = Service(settings, catalog, give_up=sys.exit)
            service.start()
            wait_until(lambda: catalog.control.services().is_led)
            _say({"leads": True})
            for _ in sys.stdin:
                _say({"cpuSeconds": time.process_time(), "residentBytes": resident_bytes()})
            service.stop()
        logging.stop()


def _say(told: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
