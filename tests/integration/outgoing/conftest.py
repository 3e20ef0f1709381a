from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.outgoing.receiver import Receiver, receiving


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def receiver(server: Receiver) -> Receiver:
    server.requests.clear()
    server.taken.clear()
    server.answers.clear()
    return server
