"""The service with an orchestrator elsewhere: it finds again what goes on there, also after it was killed."""

from __future__ import annotations

from typing import Any

from actors.catalog.store import RunStatus
from tests.integration.execution.http_remote import Received, serving
from tests.integration.service.driver import Service, eventually
from tests.integration.service.workflows import workflow

POLL = """
[execution.http.poll]
url = "{url}/{{{{ run.id }}}}"
interval_seconds = 0.2
status = "state"
succeeded = ["success"]
failed = ["failed"]
"""


def test_runs_go_on_while_the_service_is_away_and_those_that_were_not_taken_are_offered_again(service: Service) -> None:
    states: dict[str, str] = {}
    is_open = False

    def answer(got: Received) -> tuple[int, Any]:
        if got.method == "GET":
            return 200, {"state": states[got.path[1:]]}
        told = got.document
        if told["workflowSlug"] == "second" and not is_open:
            return 503, {}
        states.setdefault(told["runId"], "running")
        return 202, {}

    with serving() as remote:
        remote.answer = answer
        http = {"url": remote.url, "sign": False, "lease_seconds": 30, "timeout_seconds": 5}
        service.configure(execution={"launcher": "http", "http": http})
        service.config_file.write_text(service.config_file.read_text() + POLL.format(url=remote.url))
        service.write(
            workflow("first", consumes=["raw"]),
            workflow("second", consumes=["raw"]),
            workflow("after", consumes=["first"]),
        )
        service.start()
        service.emit("raw")
        (first,) = service.wait_runs("first", RunStatus.RUNNING)
        (second,) = service.wait_runs("second", RunStatus.ENQUEUED)
        eventually(lambda: any(b'"second"' in each.body for each in remote.of("POST")), "it was offered")
        service.kill()
        is_open = True
        states[first.run_id] = "success"
        service.start()
        service.wait_runs("first", RunStatus.SUCCEEDED)
        service.wait_runs("second", RunStatus.RUNNING)
        (after,) = service.wait_runs("after", RunStatus.RUNNING)
        states[second.run_id] = states[after.run_id] = "success"
        service.wait_idle()
        assert [run.status for slug in ("first", "second", "after") for run in service.runs(slug)] == [
            RunStatus.SUCCEEDED
        ] * 3
        assert service.latest("after").materialization.inputs == {"first": 1}
