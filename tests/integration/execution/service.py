"""A service in miniature, started as a script by a test that kills it: `python service.py URL PREFIX RUN_ID...`.

It launches the runs and waits for ever. There is a guard at its end, as in any script that starts processes.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))


def main(url: str, prefix: str, *run_ids: str) -> None:
    import structlog

    from actors.catalog.connection import connect
    from actors.catalog.redis_store import RedisStore
    from actors.execution.jobs import JobRegistry
    from actors.execution.launcher import RunOrder
    from actors.execution.local import LocalLauncher
    from tests.integration.execution.workflows import JOBS_DIR

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    store = RedisStore(connect(url), prefix=prefix)
    launcher = LocalLauncher(store, JobRegistry.load(JOBS_DIR), processes=2)
    launcher.start()
    for run_id in run_ids:
        record = store.run(run_id)
        assert record is not None
        launcher.launch(RunOrder(run_id, record.workflow_slug, record.partition_key))
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
