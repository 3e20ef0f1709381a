"""The real service in this process, on an embedded server, with its HTTP API; only runs are launched nowhere."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import anyio.to_thread
from redis import Redis

from actors.catalog.access import Catalog, open_catalog
from actors.catalog.keys import Keys
from actors.interfaces.http.app import MAX_THREADS, PREFIX, make_app
from actors.interfaces.logs import configure_logging
from actors.settings import Settings, load_settings
from actors.system import Service
from tests.benchmarks.wired import NullLauncher
from tests.fuzz.cases import Append, Post
from tests.integration.service.workflows import produce, workflow

__all__ = ["Answer", "House", "housed"]

_TOKEN: Final = "fuzz-token-0123456789"
_SCOPE: Final[dict[str, Any]] = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "query_string": b"",
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 80),
}
_DAILY: Final = {"type": "timeWindow", "granularity": "day"}
_STATIC: Final = {"type": "static", "keys": ["a", "b"]}
_WORKFLOWS: Final = (
    *(workflow(f"{who}-{kind}", produce(f"{who}.{kind}", None, partitioning=partitioning))
      for who in ("good", "hostile") for kind, partitioning in (("daily", _DAILY), ("static", _STATIC))),
    *(workflow(f"below-{number}", produce(f"below.{number}"), consumes=[f"good.{number}", f"hostile.{number}"])
      for number in range(4)),
    workflow("below-daily", produce("below.daily", partitioning=_DAILY), consumes=["good.daily", "hostile.daily"]),
)  # fmt: skip

App = Callable[
    [dict[str, Any], Callable[[], Awaitable[Any]], Callable[[MutableMapping[str, Any]], Awaitable[None]]],
    Awaitable[None],
]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    kind: str
    body: bytes


@dataclass(frozen=True, slots=True)
class House:
    """A service that runs; what it logs as a warning or worse is in `log_file`, a line of JSON each."""

    settings: Settings
    catalog: Catalog
    app: App
    log_file: Path
    given_up: list[str]

    @property
    def client(self) -> Redis:
        return self.catalog.client

    @property
    def keys(self) -> Keys:
        return Keys(self.settings.redis.prefix)

    async def post(self, post: Post) -> Answer:
        """Send a request as a server would hand it over; what the app raises goes on."""
        headers = [(b"host", b"fuzz"), (b"authorization", f"Bearer {_TOKEN}".encode()), *post.headers]
        path = PREFIX + post.path
        scope = {**_SCOPE, "path": path, "raw_path": path.encode(), "headers": headers, "root_path": "", "state": {}}
        middle = len(post.body) // 2
        pieces = [(post.body[middle:], False), (post.body[:middle], True)]
        told: list[MutableMapping[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if not pieces:
                return {"type": "http.disconnect"}
            body, more = pieces.pop()
            return {"type": "http.request", "body": body, "more_body": more}

        async def send(message: MutableMapping[str, Any]) -> None:
            told.append(message)

        await self.app(scope, receive, send)
        kinds = [value for name, value in told[0]["headers"] if name == b"content-type"]
        body = b"".join(message.get("body", b"") for message in told[1:])
        return Answer(told[0]["status"], kinds[0].decode() if kinds else "", body)

    async def append(self, entry: Append) -> None:
        """Add to the stream, as any client of the server can."""
        fields: Any = dict(entry.fields)
        await anyio.to_thread.run_sync(self.client.xadd, self.keys.events, fields)

    def logged(self) -> list[dict[str, Any]]:
        """Lines of the log that tell of a defect."""
        lines = (json.loads(line) for line in self.log_file.read_text().splitlines())
        return [line for line in lines if line["level"] in ("error", "critical") or "exception" in line]


@contextmanager
def housed(scale: int) -> Iterator[House]:
    """A service with room for the events of so many cases."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fuzz-")))
        for name in ("workflows", "jobs"):
            (folder / name).mkdir()
        (folder / "jobs" / "jobs.toml").write_text('[jobs.work]\npython = "json:dumps"\n')
        for definition in _WORKFLOWS:
            (folder / "workflows" / f"{definition['slug']}.json").write_text(json.dumps(definition))
        settings = load_settings([_written(folder, scale)], {})
        log_file = folder / "log.jsonl"
        logging = configure_logging("json", "warning", stream=stack.enter_context(log_file.open("w", buffering=1)))
        stack.callback(logging.stop)
        catalog = stack.enter_context(open_catalog(settings, service=True))
        apps: list[Any] = []
        given_up: list[str] = []

        def keep(access: Any) -> Any:
            apps.append(make_app(access))
            return apps[-1]

        with (
            patch("actors.execution.engines.LocalLauncher", NullLauncher),
            patch("actors.interfaces.http.server.make_app", keep),
            patch("threading.excepthook", lambda told: given_up.append(f"{told.thread}: {told.exc_value!r}")),
        ):
            service = Service(settings, catalog, give_up=given_up.append)
            service.start()
            stack.callback(service.stop)
            service.take_role()
            yield House(settings, catalog, apps[0], log_file, given_up)


def _written(folder: Path, scale: int) -> Path:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    room = 100_000 + 20 * scale
    file = folder / "headwater.toml"
    file.write_text(
        f'data_dir = "data"\nworkflows_dir = "workflows"\njobs_dir = "jobs"\n'
        f'[http]\nport = {port}\ntoken = "{_TOKEN}"\nrequests_per_second = 0\n'
        f"[streams]\nevents_max_length = {room}\ndead_letters_max_length = {room}\n"
        f"[history]\nmaterializations = 1_000_000\n"
        '[openlineage]\nrules = [{name = "*.static", asset = "{name}", partition = "a"}]\n'
    )
    return file


def limit_threads() -> None:
    """As the service's own server does in its loop."""
    anyio.to_thread.current_default_thread_limiter().total_tokens = MAX_THREADS
