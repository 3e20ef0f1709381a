"""Drives the service as its users do: a process, a config file, folders of workflows and jobs, signals, the catalog."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from actors.catalog.access import Catalog, open_catalog
from actors.catalog.control import ControlFailed, ControlTimeout, ServiceNotRunning
from actors.catalog.definitions import parse_definition
from actors.catalog.events import Event, parse_entry
from actors.catalog.keys import Keys
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import HistoryEntry, Limits, NewMaterialization, NewRun, Recorded, RunRecord, RunStatus
from actors.execution.parameters import run_parameters
from actors.settings import load_settings

__all__ = ["DEADLINE_SECONDS", "Call", "Service", "eventually", "most_at_once", "now_ms"]

DEADLINE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.01
_ROOT: Final = Path(__file__).resolve().parents[3]
_JOBS: Final = Path(__file__).parent / "jobs"
_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "workers": {"processes": 2},
    "backoff": {"base_ms": 20, "max_ms": 100, "jitter": False},
    "failure_budget": {"failures": 3},
    "refresh": {"watch_seconds": 0.1},
    "shutdown": {"grace_seconds": 10.0},
    "log": {"format": "json"},
}
T = TypeVar("T")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def eventually(look: Callable[[], T | None], what: str, seconds: float = DEADLINE_SECONDS) -> T:
    """Look until there is something to see, and fail after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"after {seconds:g} s it is still not so that {what}"
        time.sleep(_POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class Call:
    """One line of the jobs' log: a job has `begun`, `ended` or `failed`. The order of lines is that of time."""

    what: str
    workflow: str
    partition: str | None
    run_id: str
    parameters: Mapping[str, Any]
    trigger: Mapping[str, Any]
    pid: int


class Service:
    """One service and its folders. Nothing runs until `start`; `close` asserts that it ends cleanly."""

    def __init__(self, folder: Path, *, redis_url: str | None = None) -> None:
        self.folder = folder
        self.workflows_dir = folder / "workflows"
        self.jobs_dir = folder / "jobs"
        self.data_dir = folder / "data"
        self.config_file = folder / "headwater.toml"
        self.log_file = folder / "service.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._calls = folder / "calls.jsonl"
        self._open = ExitStack()
        self._catalog: Catalog | None = None
        self._prefix = f"test-{uuid.uuid4().hex[:12]}"
        self._redis_url = redis_url
        self.workflows_dir.mkdir()
        shutil.copytree(_JOBS, self.jobs_dir, ignore=shutil.ignore_patterns("__pycache__"))
        self.configure()

    # -- configuration -----------------------------------------------------------------------------------------------

    def configure(self, **groups: Mapping[str, Any]) -> None:
        """Write the config file: what every test has, and what this one differs in."""
        merged: dict[str, dict[str, Any]] = {name: dict(values) for name, values in _DEFAULTS.items()}
        merged["redis"] = {"prefix": self._prefix, **({"url": self._redis_url} if self._redis_url else {})}
        for name, values in groups.items():
            merged.setdefault(name, {}).update(values)
        lines = [
            f"{name} = {json.dumps(name.removesuffix('_dir'))}" for name in ("data_dir", "workflows_dir", "jobs_dir")
        ]
        for name, group in merged.items():
            lines.append(f"[{name}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in group.items() if not isinstance(value, dict)]
            for key, value in group.items():
                if isinstance(value, dict):
                    lines.append(f"[{name}.{key}]")
                    lines += [f"{json.dumps(inner)} = {json.dumps(limit)}" for inner, limit in value.items()]
        self.config_file.write_text("\n".join(lines) + "\n")

    def write(self, *definitions: dict[str, Any]) -> None:
        """Put definitions into the workflow folder, each in one step, as a careful editor does."""
        for definition in definitions:
            self.write_text(f"{definition['slug']}.json", json.dumps(self._complete(definition)))

    def write_text(self, name: str, text: str) -> None:
        draft = self.workflows_dir / f".{name}.tmp"
        draft.write_text(text)
        draft.rename(self.workflows_dir / name)

    def put(self, definition: dict[str, Any]) -> None:
        """Keep a definition in the catalog, as the command `put-workflow` does."""
        parsed = parse_definition(json.dumps(self._complete(definition)), source="test")
        self.store.put_workflow(parsed, source="command", content_hash=parsed.content_hash)

    def _complete(self, definition: dict[str, Any]) -> dict[str, Any]:
        defaults = {"folder": str(self.folder), **definition.get("defaultParameters", {})}
        return {**definition, "defaultParameters": defaults}

    # -- the process -------------------------------------------------------------------------------------------------

    def start(self, *, ready: bool = True) -> None:
        """Start the service, and wait until it answers unless told not to."""
        assert self.process is None or self.process.poll() is not None, "the service runs already"
        began_ms = now_ms()
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")},
            )
        if ready:
            eventually(lambda: self._answers(began_ms), "the service answers")

    @property
    def command(self) -> list[str]:
        return [sys.executable, str(_ROOT / "run.py"), "--config", str(self.config_file)]

    def _answers(self, began_ms: int) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the service ended with {self.process.returncode}:\n{self.log}"
        if self._redis_url is None and not (self.data_dir / "server.json").exists():
            return False
        try:
            answer = self.catalog.control.ask("ping", {}, timeout_seconds=1)
        except (ServiceNotRunning, ControlTimeout):
            return False
        assert isinstance(answer, dict)
        started_at_ms = answer["startedAtMs"]
        assert isinstance(started_at_ms, int)
        return started_at_ms >= began_ms

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code, once it has ended."""
        assert self.process is not None
        return self.process.wait(DEADLINE_SECONDS)

    def terminate(self) -> int:
        self.send(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.wait()

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of one event."""
        lines = (line for line in _whole_lines(self.log_file) if line.startswith("{"))
        return [line for line in map(json.loads, lines) if line.get("event") == event]

    def close(self) -> None:
        """Stop the service if it runs, and check that it ends well."""
        for hold in self.folder.glob("hold-*"):
            hold.unlink()
        if self.process is not None and self.process.poll() is None:
            assert self.terminate() == 0, f"the service did not end well:\n{self.log}"

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        if self._redis_url is not None:
            for key in self.catalog.client.scan_iter(f"{self._prefix}:*", count=1000):
                self.catalog.client.delete(key)
        elif (self.data_dir / "server.json").exists():
            # The embedded server outlives a killed service; its last user stops it.
            assert self.catalog.store.position() >= 0
        self._open.close()

    # -- the catalog -------------------------------------------------------------------------------------------------

    @property
    def catalog(self) -> Catalog:
        """The service's catalog, open until the test ends."""
        if self._catalog is None:
            self._catalog = self._open.enter_context(open_catalog(load_settings([self.config_file], environ={})))
        return self._catalog

    def leave_catalog(self) -> None:
        """Let go of the catalog, so that the service is its only user."""
        self._open.close()
        self._catalog = None

    @property
    def store(self) -> RedisStore:
        return self.catalog.store

    @property
    def keys(self) -> Keys:
        return Keys(self._prefix)

    def emit(self, asset_id: str, partition_key: str | None = None, *, produced_at_ms: int | None = None) -> Recorded:
        """Tell that an asset was produced outside, as the command `emit` does."""
        return self.store.record(
            NewMaterialization(asset_id, partition_key, produced_at_ms or now_ms(), upstreams=self._upstreams(asset_id))
        )

    def _upstreams(self, asset_id: str) -> tuple[str, ...]:
        specs = (spec for each in self.store.workflows() for spec in each.to_spec().assets)
        return next((spec.upstreams for spec in specs if spec.asset_id == asset_id), ())

    def append(self, **fields: str) -> str:
        """Append an entry to the stream as an outsider does who knows nothing of the catalog; its id."""
        entry_id: Any = self.catalog.client.xadd(self.keys.events, dict[Any, Any](fields))
        return str(entry_id)

    def trigger(self, slug: str, partition_key: str | None = None, **given: Any) -> str:
        """Ask for a run by hand, as the command `trigger` does; its id."""
        definition = self.store.workflow(slug)
        assert definition is not None
        run_id = f"run-{uuid.uuid4().hex}"
        self.store.queue_run(
            NewRun(
                run_id=run_id,
                workflow_slug=slug,
                partition_key=partition_key,
                parameters=run_parameters(
                    definition, asset_ids=(), partition_key=partition_key, stored={}, given=given
                ),
                trigger={"type": "manual", "reason": "test"},
                created_at_ms=now_ms(),
                limits=Limits(max_runs=8),
                pools=definition.to_spec().pools,
            )
        )
        return run_id

    # -- looking -----------------------------------------------------------------------------------------------------

    @property
    def calls(self) -> list[Call]:
        if not self._calls.exists():
            return []
        lines = [json.loads(line) for line in _whole_lines(self._calls)]
        return [
            Call(
                line["what"],
                line["workflow"],
                line["partition"],
                line["runId"],
                line["parameters"],
                line["trigger"],
                line["pid"],
            )
            for line in lines
        ]

    def begun(self, slug: str) -> list[Call]:
        return [call for call in self.calls if call.workflow == slug and call.what == "begun"]

    def wait_begun(self, slug: str, count: int = 1) -> list[Call]:
        """Once the workflow's job was called so often: the calls."""

        def enough() -> list[Call] | None:
            begun = self.begun(slug)
            return begun if len(begun) >= count else None

        return eventually(enough, f"{slug} has begun {count} times")

    def runs(self, slug: str, status: RunStatus | None = None) -> list[RunRecord]:
        """Oldest first."""
        return self.store.runs(workflow=slug, status=status, limit=1_000)[::-1]

    def wait_runs(self, slug: str, status: RunStatus, count: int = 1) -> list[RunRecord]:
        """Once so many of the workflow's runs are in this state: those, oldest first."""

        def enough() -> list[RunRecord] | None:
            found = self.runs(slug, status)
            return found if len(found) >= count else None

        return eventually(enough, f"{count} runs of {slug} are {status.value}")

    def latest(self, asset_id: str, partition_key: str | None = None) -> HistoryEntry:
        (entry, *_) = self.store.history(asset_id, partition_key=partition_key, limit=1)
        return entry

    def events(self, kind: str | None = None) -> list[Event]:
        """What the stream holds that can be read, in order."""
        entries: Any = self.catalog.client.xrange(self.keys.events)
        found = []
        for _, fields in entries:
            try:
                event = parse_entry({name.encode(): value.encode() for name, value in fields.items()})
            except ValueError:
                continue
            if kind is None or event.type == kind:
                found.append(event)
        return found

    def partition(self, asset_id: str, partition_key: str | None = None) -> dict[str, Any]:
        """What the asset's actor holds of a partition."""
        answer: Any = self.catalog.control.ask("debug", {"assetId": asset_id}, timeout_seconds=5)
        (asset,) = answer["assets"]
        found = [each for each in asset["partitions"] if each["partitionKey"] == partition_key]
        return dict(found[0]) if found else {}

    def waiting(self) -> int:
        """How many runs wait for a slot."""
        status: Any = self.catalog.control.ask("status", {}, timeout_seconds=5)
        return len(status["wanted"])

    def wait_state(self, asset_id: str, state: str) -> None:
        """Until the asset stands so, in the one word that `debug` shows."""

        def stands_so() -> bool:
            try:
                return self.partition(asset_id).get("state") == state
            except ControlFailed:
                return False  # the service has not read its definition yet

        eventually(stands_so, f"{asset_id} is {state}")

    def wait_idle(self) -> None:
        """Until everything told so far is heard, decided and done, but for what waits for a time to come.

        Asking an actor takes the way of all its mail, so its answer comes after what was told before.
        """
        eventually(self._is_idle, "the service is idle")

    def _is_idle(self) -> bool:
        client = self.catalog.client
        before = self.store.position()
        groups: Any = client.xinfo_groups(self.keys.events)
        stream: Any = client.xinfo_stream(self.keys.events)
        if groups[0]["pending"] or groups[0]["last-delivered-id"] != stream["last-generated-id"]:
            return False
        try:
            self.catalog.control.ask("debug", {}, timeout_seconds=5)
            status: Any = self.catalog.control.ask("status", {}, timeout_seconds=5)
        except (ControlFailed, ControlTimeout):
            return False
        busy = status["active"] or status["wanted"] or status["queuedRunIds"] or self.store.active_runs()
        return not busy and self.store.position() == before

    # -- files that tell jobs what to do ------------------------------------------------------------------------------

    def hold(self, name: str) -> None:
        """Keep the runs of a workflow (or `workflow@partition`) going until they are released."""
        (self.folder / f"hold-{name}").touch()

    def release(self, name: str) -> None:
        (self.folder / f"hold-{name}").unlink()

    def fail(self, slug: str, times: int | None = None) -> None:
        (self.folder / f"fail-{slug}").write_text("" if times is None else str(times))

    def mend(self, slug: str) -> None:
        (self.folder / f"fail-{slug}").unlink()

    def set_data_version(self, slug: str, version: str) -> None:
        (self.folder / f"data-version-{slug}").write_text(version)


def _whole_lines(file: Path) -> list[str]:
    """Without one that is being written."""
    return [line for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


def most_at_once(calls: Iterable[Call]) -> int:
    """How many of these jobs ran at the same time at most, by the order of their log lines."""
    running: set[str] = set()
    most = 0
    for call in calls:
        if call.what == "begun":
            running.add(call.run_id)
            most = max(most, len(running))
        else:
            running.discard(call.run_id)
    return most
