"""One request to a real receiver: what is sent, and what each answer means."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from actors.interfaces.outgoing.outcomes import Outcome, Refused, Taken, Unavailable
from actors.interfaces.outgoing.sender import Sender
from actors.outgoing_settings import ReceiverSettings
from tests.integration.outgoing.receiver import Answer, Receiver

TOKEN = "secret-token-0123456789"


@contextmanager
def sending(url: str, *, token: str | None = TOKEN, **given: Any) -> Iterator[Sender]:
    sender = Sender(ReceiverSettings(url=url, **given), token=token, content_type="application/json")
    yield sender
    sender.close()


def send(receiver: Receiver, answer: Answer) -> Outcome:
    receiver.answers.append(answer)
    with sending(f"{receiver.url}/api/v1/lineage") as sender:
        return sender.send({"eventType": "START"})


@pytest.mark.parametrize("is_zipped", [False, True])
def test_what_is_sent(receiver: Receiver, is_zipped: bool) -> None:
    with sending(f"{receiver.url}/take?key=k", gzip=is_zipped) as sender:
        assert sender.send({"name": "Ärger"}) == Taken()
        assert sender.send({}) == Taken()
        assert sender.receiver == f"{receiver.url}/take"
    first, _ = receiver.requests
    assert (first.path, first.json) == ("/take?key=k", {"name": "Ärger"})
    assert (first.headers["Authorization"], first.headers["Content-Type"]) == (f"Bearer {TOKEN}", "application/json")


def test_without_a_token_none_is_shown(receiver: Receiver) -> None:
    with sending(receiver.url, token=None) as sender:
        sender.send({})
    assert "Authorization" not in receiver.requests[0].headers


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_it_is_taken(receiver: Receiver, status: int) -> None:
    assert send(receiver, Answer(status)) == Taken()


@pytest.mark.parametrize("status", [400, 409, 413, 415, 422])
def test_it_is_refused_for_good(receiver: Receiver, status: int) -> None:
    outcome = send(receiver, Answer(status, body=b"no  such\nfield"))
    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith(f"it answered {status} ")
    assert outcome.reason.endswith(": no such field")


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404, 429, 500, 503])
def test_it_is_to_be_sent_again(receiver: Receiver, status: int) -> None:
    outcome = send(receiver, Answer(status, {"Location": f"{receiver.url}/elsewhere"}))
    assert isinstance(outcome, Unavailable)
    # A redirection is not followed: the token stays with whom it was given for.
    assert [request.path for request in receiver.requests] == ["/api/v1/lineage"]


@pytest.mark.parametrize(("told", "seconds"), [("7", 7), ("99999", 300), ("-1", 0), ("Wed, 21 Oct 2015", 0), ("", 0)])
def test_the_wait_that_the_receiver_asks_for(receiver: Receiver, told: str, seconds: float) -> None:
    outcome = send(receiver, Answer(503, {"Retry-After": told}))
    assert isinstance(outcome, Unavailable)
    assert outcome.after_seconds == seconds


@pytest.mark.parametrize("status", [400, 500])
def test_a_token_that_the_receiver_repeats_is_not_told_on(receiver: Receiver, status: int) -> None:
    outcome = send(receiver, Answer(status, body=f"bad header: Bearer {TOKEN}".encode()))
    assert isinstance(outcome, Refused | Unavailable)
    assert TOKEN not in outcome.reason
    assert "Bearer ***" in outcome.reason


def test_a_long_answer_is_not_read(receiver: Receiver) -> None:
    outcome = send(receiver, Answer(400, body=b"x" * (8 << 20)))
    assert isinstance(outcome, Refused)
    assert len(outcome.reason) < 300


def test_nobody_there_and_nobody_who_answers(receiver: Receiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with sending(f"http://127.0.0.1:{port}", timeout_seconds=0.1) as sender:
            assert isinstance(sender.send({}), Unavailable)
    for url in (f"http://127.0.0.1:{port}", "http://no..such.host"):
        with sending(url) as sender:
            assert isinstance(sender.send({}), Unavailable)


def test_a_url_that_cannot_be_used_is_known_at_once() -> None:
    with pytest.raises(ValueError, match="URL cannot be used"):
        Sender(ReceiverSettings(url="http://999.999.999.999"), token=None, content_type="application/json")
