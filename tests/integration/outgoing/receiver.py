"""A receiver of events: an HTTP server on a thread, that keeps what it is sent and answers as a test says."""

from __future__ import annotations

import gzip
import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Answer", "Receiver", "Request", "receiving"]


@dataclass(frozen=True)
class Answer:
    status: int = 201
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        is_zipped = self.headers.get("Content-Encoding") == "gzip"
        return json.loads(gzip.decompress(self.content) if is_zipped else self.content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up in the middle of an answer is as it should be, and all else is seen by the test."""


class Receiver:
    """`answers` are given in turn, and 201 when there are none left; `taken` is what was answered with 2xx."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.taken: list[Any] = []
        self.answers: deque[Answer] = deque()
        self.go_on = threading.Event()
        self.go_on.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                answer = receiver.receive(Request(self.path, dict(self.headers.items()), content))
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: Any) -> None:
                """The test sees the requests."""

        self.server = _Server(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def receive(self, request: Request) -> Answer:
        assert self.go_on.wait(30)
        self.requests.append(request)
        answer = self.answers.popleft() if self.answers else Answer()
        if 200 <= answer.status < 300:
            self.taken.append(request.json)
        return answer


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.go_on.set()
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join(10)
