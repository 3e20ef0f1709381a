"""What the OpenAPI document promises is kept, whatever is sent: a short slice of what `schemathesis run` does.

The whole of it, against a running service, is a command in docs/how-to/use-the-http-api.md.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks
from schemathesis.checks import not_a_server_error

from tests.integration.http.conftest import OPERATOR, bearer, serve
from tests.integration.http.test_service import Caller, unused_port
from tests.integration.service.conftest import closing
from tests.integration.service.driver import Service
from tests.integration.service.workflows import produce, workflow

pytestmark = pytest.mark.integration

checks.load_all_checks()
CHECKS: list[Any] = [
    not_a_server_error,
    *checks.CHECKS.get_by_names(
        [
            "status_code_conformance",
            "content_type_conformance",
            "response_schema_conformance",
            "response_headers_conformance",
        ]
    ),
]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The API of a service that has something to tell."""
    with closing(Service(tmp_path_factory.mktemp("service"))) as service:
        port = unused_port()
        serve(service, port, requests_per_second=0)
        service.start()
        caller = Caller(service, port)
        caller.put(
            workflow("orders-daily", produce("orders.daily"), consumes=["orders.raw"]),
            workflow("by-store", produce("orders.store", partitioning={"type": "static", "keys": ["2026-11-23"]})),
        )
        caller.emit("orders.raw", "1")
        caller.wait_runs("orders-daily", "succeeded")
        caller.http.close()
        # A stream of decisions has no end to wait for.
        yield schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json").exclude(path="/api/v1/decisions")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "not fitting"])
def test_whatever_is_sent(api: Any, mode: GenerationMode) -> None:
    sent: Counter[str] = Counter()
    for result in api.get_all_operations():
        operation = result.ok()

        @seed(17)
        @settings(
            max_examples=6,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode))
        def send(case: schemathesis.Case[Any]) -> None:
            sent[f"{case.method} {case.path}"] += 1
            case.call_and_validate(headers=bearer(OPERATOR), checks=CHECKS)

        with contextlib.suppress(Unsatisfiable):  # nothing that is sent to it can fail to fit
            send()
    assert len(sent) >= 20
