"""An orchestrator elsewhere: what it is sent, what its answers mean, and the threads on which it is asked."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from actors.catalog.definitions import WorkflowDefinition, parse_definition
from actors.catalog.store import Json, Renewal, RunStatus
from actors.execution.remote.client import Answer
from actors.execution.remote.delayed import DelayedWork
from actors.execution.remote.runs import outcome_of
from actors.execution.remote.signing import callback_token, is_callback_token, signature_headers
from actors.execution.remote.target import TargetInvalid, look_up, target_of
from actors.execution.templates import TemplateError, render_document, render_url
from actors.execution_settings import (
    HttpExecutionSettings,
    SecretUnreadable,
    origin_of,
    read_headers,
    read_secrets,
)
from actors.settings import Settings, SettingsError, load_settings

KNOWN: dict[str, Json] = {
    "run": {"id": "a b/../ü?&#%", "partitionKey": None},
    "parameters": {"dots": "..", "text": "x", "list": ["p/q", "r"], "quote": '", "admin": true, "x": "'},
}
SECRETS = [b"the-first-secret-0123", b"the-second-secret-012"]


class TestUrls:
    @pytest.mark.parametrize(
        ("template", "url"),
        [
            ("https://h/x/{{ run.id }}/y", "https://h/x/a%20b%2F..%2F%C3%BC%3F%26%23%25/y"),
            ("https://h", "https://h"),
            ("https://h/?q={{ parameters.list[0] | upcase }}", "https://h/?q=P%2FQ"),
            ("https://h/{% for x in parameters.list %}{{ x }},{% endfor %}", "https://h/p%2Fq,r,"),
            (
                "https://h/{% assign x = run.id | url_encode | url_decode %}{{ x }}",
                "https://h/a%20b%2F..%2F%C3%BC%3F%26%23%25",
            ),
        ],
    )
    def test_what_is_filled_in_stays_where_it_is(self, template: str, url: str) -> None:
        assert render_url(template, KNOWN, "the URL") == url

    @pytest.mark.parametrize(
        ("template", "reason"),
        [
            ("https://h/{{ parameters.dots }}/x", "a part of the path is empty or dots"),
            ("https://h/runs/{{ run.partitionKey }}", "a part of the path is empty or dots"),
            ("https://h/{{ run.partitionKey }}/x", "a part of the path is empty or dots"),
            ("https://h/{{ run.nope }}", "run.nope is undefined"),
            ("https://h/{% echo run.id %}", "unexpected tag 'echo'"),
            ("https://h/{% cycle run.id %}", "unexpected tag 'cycle'"),
            ("https://h/ü", "printable ASCII"),
        ],
    )
    def test_what_would_lead_elsewhere_is_refused(self, template: str, reason: str) -> None:
        with pytest.raises(TemplateError, match=reason):
            render_url(template, KNOWN, "the URL")

    @pytest.mark.parametrize(
        "url",
        ["ftp://h/x", "https://{{ run.id }}/x", "https://u:p@h/", "https:///x", "https://h:x/", "https://h/#{{ x }}"],
    )
    def test_the_origin_is_written_out(self, url: str) -> None:
        with pytest.raises(ValueError, match="URL"):
            origin_of(url)

    def test_origins_are_compared_with_their_ports(self) -> None:
        assert origin_of("https://H/a?b") == origin_of("https://h:443") == "https://h:443"
        assert origin_of("http://[::1]/") == "http://[::1]:80"


def test_what_is_filled_into_a_body_stays_in_its_text() -> None:
    document = render_document({"x": "a {{ parameters.quote }}", "y": ["{{ parameters.list }}"]}, KNOWN, "the body")
    assert document == {"x": 'a ", "admin": true, "x": "', "y": [["p/q", "r"]]}


class TestSignatures:
    def test_they_are_those_of_the_specification(self) -> None:
        """The example of Standard Webhooks, whose secret, id, time and signature its libraries are tested with."""
        http = HttpExecutionSettings(secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")  # type: ignore[arg-type]
        headers = signature_headers(
            read_secrets(http), message_id="msg_p5jXN8AQM9LWM0D4loKWxJek", at_s=1614265330, body=b'{"test": 2432232314}'
        )
        assert headers == {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        }

    def test_a_token_is_for_one_run_and_outlives_a_change_of_secrets(self) -> None:
        token = callback_token(SECRETS[1], "run-1")
        assert is_callback_token(SECRETS, "run-1", token)
        assert not is_callback_token(SECRETS, "run-2", token)
        assert not is_callback_token(SECRETS[:1], "run-1", token)
        assert not is_callback_token([], "run-1", token)
        assert not is_callback_token(SECRETS, "run-1", "\udcff")


class TestSecrets:
    def test_each_line_of_the_file_is_one(self, tmp_path: Path) -> None:
        file = tmp_path / "secret"
        http = HttpExecutionSettings(secret_file=file)
        with pytest.raises(SecretUnreadable, match="cannot be read"):
            read_secrets(http)
        file.write_bytes(b"\n".join(SECRETS) + b"\n")
        assert read_secrets(http) == tuple(SECRETS)
        file.write_text("short")
        with pytest.raises(SecretUnreadable, match="16 or more bytes"):
            read_secrets(http)

    def test_headers_refer_to_them_and_are_told_to_nobody(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("from a file\n")
        headers = {"A": "Bearer ${env:NAME}", "B": f"${{file:{tmp_path / 'token'}}}", "C": "$5 {x}"}
        http = HttpExecutionSettings(headers=headers)  # type: ignore[arg-type]
        assert read_headers(http, {"NAME": "value"}) == {"A": "Bearer value", "B": "from a file", "C": "$5 {x}"}
        assert "Bearer" not in f"{http!r}{http.model_dump_json()}"
        with pytest.raises(SecretUnreadable, match=r"headers\.A: the variable NAME is not set"):
            read_headers(http, {})
        with pytest.raises(SecretUnreadable, match=r"headers\.A: write printable ASCII"):
            read_headers(http, {"NAME": "a\r\nHost: b"})


class TestSettings:
    def load(self, text: str, tmp_path: Path, **environ: str) -> Settings:
        file = tmp_path / "settings.toml"
        file.write_text('[execution]\nlauncher = "http"\n[execution.http]\n' + text)
        return load_settings([file], environ={f"HEADWATER_{key}": value for key, value in environ.items()})

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "http.url is missing"),
            ('url = "http://h/"', "no run could ever end"),
            ('url = "http://h/"\ncallback_base_url = "http://me"', "http.secret_file .or http.secret. is missing"),
            ('url = "http://h/"\nsign = false\ncallback_base_url = "http://me"', "callbacks show tokens"),
            ('url = "http://{{ x }}/"', "templates may stand in the path"),
            ('url = "http://h/"\nheaders = {"Webhook-Id" = "x"}', "is set by Headwater"),
        ],
    )
    def test_what_is_missing_is_told(self, text: str, reason: str, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=reason):
            self.load(text, tmp_path)

    def test_variables_name_headers_as_well(self, tmp_path: Path) -> None:
        settings = self.load(
            'url = "http://h/"\nsign = false\n[execution.http.poll]\nurl = "http://h/"\n',
            tmp_path,
            EXECUTION__HTTP__HEADERS__AUTHORIZATION="Bearer x",
        )
        assert read_headers(settings.execution.http) == {"authorization": "Bearer x"}


class TestTargets:
    HTTP = HttpExecutionSettings(url="http://h/start", allowed_origins=("https://other",))

    def definition(self, http: Any) -> WorkflowDefinition:
        step = {"id": "make", "jobSlug": "x"}
        document = {"slug": "w", "name": "w", "steps": [step], "metadata": {"owner": "me", "http": http}}
        return parse_definition(json.dumps(document), source="test")

    @pytest.mark.parametrize(
        ("http", "reason"),
        [
            ({"uri": "x"}, r"\$\.metadata\.http\.uri"),
            ({"url": "http://elsewhere/"}, "http://elsewhere:80 is not allowed"),
            ({"cancel": {"url": "https://h/"}}, "https://h:443 is not allowed"),
            ({"poll": {"url": "http://h/"}}, "say where the state is"),
            ({"headers": {"Host": "x"}}, "is set by Headwater"),
            ({"headers": {"X": "a\nb"}}, "printable ASCII"),
        ],
    )
    def test_what_cannot_be_used_is_told(self, http: Any, reason: str) -> None:
        with pytest.raises(TargetInvalid, match=reason) as caught:
            target_of(self.HTTP, self.definition(http))
        assert "workflow 'w'" in str(caught.value)

    def test_a_definition_says_only_what_differs(self) -> None:
        poll = {"url": "https://other/p", "status": "s", "succeeded": ["ok"], "failed": ["ko"]}
        target = target_of(self.HTTP, self.definition({"poll": poll, "headers": {"X": "${env:HOME}"}}))
        assert (target.start.url, target.start.method) == ("http://h/start", "POST")
        assert target.poll is not None
        assert (target.poll.call.url, target.poll.interval_seconds) == ("https://other/p", 10.0)
        assert target.headers == {"X": "${env:HOME}"}, "a definition refers to no secrets"

    @pytest.mark.parametrize(
        ("path", "found"),
        [("a.1.b", 2), ("a.9.b", None), ("a.-1.b", None), ("a.b", None), ("c", None), ("a.1.b.c", None)],
    )
    def test_paths_into_answers(self, path: str, found: Json) -> None:
        assert look_up({"a": [{}, {"b": 2}]}, path) == found


def test_answers_are_told_briefly_and_without_secrets() -> None:
    answer = Answer(400, b"no\r\n\x1b[31m token abc" + b"x" * 9_000)
    told = answer.told(("abc",))
    assert told.startswith("status 400: no [31m token ***xxx")
    assert len(told) < 400


@pytest.mark.parametrize(
    ("status", "passing"),
    [(202, False), (302, False), (404, False), (408, True), (429, True), (500, True), (503, True)],
)
def test_what_is_worth_another_try(status: int, passing: bool) -> None:
    assert Answer(status).is_passing is passing


@pytest.mark.parametrize(
    ("said", "asked", "outcome"),
    [
        (RunStatus.SUCCEEDED, Renewal.CANCEL, RunStatus.SUCCEEDED),
        (RunStatus.FAILED, Renewal.CANCEL, RunStatus.CANCELED),
        (RunStatus.FAILED, Renewal.STOP, RunStatus.LOST),
        (RunStatus.CANCELED, Renewal.STOP, RunStatus.LOST),
        (RunStatus.CANCELED, None, RunStatus.CANCELED),
        (RunStatus.FAILED, None, RunStatus.FAILED),
    ],
)
def test_what_was_asked_to_end_ended_for_that(said: RunStatus, asked: Renewal | None, outcome: RunStatus) -> None:
    assert outcome_of(said, asked) is outcome


def test_work_that_waits_takes_no_thread_and_work_that_blocks_only_its_own() -> None:
    work = DelayedWork(2, name="test")
    work.start()
    order: list[str] = []
    hold, held, done = threading.Event(), threading.Event(), threading.Event()

    def block() -> None:
        held.set()
        hold.wait(20)

    def fail() -> None:
        order.append("failed")
        raise RuntimeError

    work.put(done.set, after_seconds=0.15)
    work.put(lambda: order.append("second"), after_seconds=0.1)
    work.put(block)
    work.put(fail)
    assert held.wait(20)
    assert done.wait(20)
    assert order == ["failed", "second"]
    hold.set()
    work.stop(20)
    work.put(lambda: order.append("too late"))
    assert order == ["failed", "second"]
