"""Services that share the assets of one catalog among them: each a process, on the settings of a `Service`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from itertools import count as numbers
from pathlib import Path
from typing import Any, Final

from actors.core.shards import Shard
from tests.integration.service.driver import DEADLINE_SECONDS, Service, eventually
from tests.integration.service.peers import living_pids

__all__ = ["ShardProcess", "Shards", "slug_in"]

_RUN: Final = Path(__file__).resolve().parents[3] / "run.py"


def slug_in(index: int, stem: str, *, count: int = 2, other: tuple[int, int] | None = None) -> str:
    """A slug that this shard of `count` keeps; with `other` (index, count) also that one of another division."""
    return next(
        slug
        for number in numbers()
        if Shard(0, count).index_of(slug := f"{stem}-{number}") == index
        and (other is None or Shard(0, other[1]).index_of(slug) == other[0])
    )


class ShardProcess:
    """A service of one shard. `more` are lines for its config file; it does not wait until it lives."""

    def __init__(
        self, service: Service, shard: Shard, *, name: str = "", url: str | None = None, more: str = ""
    ) -> None:
        self.shard = shard
        name = name or f"shard-{shard.index}-of-{shard.count}"
        self.log_file = service.folder / f"{name}.log"
        config = service.folder / f"{name}.toml"
        text = service.config_file.read_text()
        if url is not None:
            text = re.sub(r'^url = ".*"$', f'url = "{url}"', text, flags=re.MULTILINE)
        config.write_text(f"{text}\n[shard]\nindex = {shard.index}\ncount = {shard.count}\n{more}")
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(_RUN), "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=service.folder,
                env={name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")},
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.process.wait(DEADLINE_SECONDS)

    def stop(self) -> None:
        self.send(signal.SIGTERM)
        code = self.process.wait(DEADLINE_SECONDS)
        assert code == 0, f"{self.log_file.name} ended with code {code}:\n{self.log}"

    def end(self) -> None:
        if self.process.poll() is None:
            self.kill()
        print(f"-- {self.log_file.name}\n{self.log}")


class Shards:
    """The processes on one catalog. `service` is never started: it has the folders, the settings and the catalog."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.processes: list[ShardProcess] = []

    def begin(self, *shards: Shard, name: str = "", more: str = "") -> list[ShardProcess]:
        begun = [ShardProcess(self.service, shard, name=name, more=more) for shard in shards]
        self.processes += begun
        return begun

    def begin_all(self, count: int) -> list[ShardProcess]:
        return self.begin(*(Shard(index, count) for index in range(count)))

    def wait_led(self, count: int, seconds: float = DEADLINE_SECONDS) -> None:
        """Until the catalog is divided so, and every shard has a leader that answers."""
        control = self.service.catalog.control

        def is_led() -> bool:
            services = control.services()
            return services.shards == count and services.is_led

        eventually(is_led, f"{count} shard(s) are led", seconds)
        assert control.ask("ping", {}, timeout_seconds=20)

    def wait_living(self, *processes: ShardProcess) -> None:
        pids = {each.pid for each in processes}
        eventually(lambda: pids <= living_pids(self.service), "they live")

    def leader(self, index: int) -> ShardProcess | None:
        """Who leads a shard of the present division, by the lease's record."""
        control, client = self.service.catalog.control, self.service.catalog.client
        shard = control.shards()[index]
        holder: Any = client.hget(self.service.keys.lease_of(shard), "id")
        pid = {each.service_id: each.about["pid"] for each in control.services().living}.get(holder)
        return next((each for each in self.processes if each.pid == pid), None)

    def stream(self, index: int) -> list[Mapping[str, str]]:
        """What a shard's stream holds."""
        entries: Any = self.service.catalog.client.xrange(f"{self.service.keys.prefix}:shard:{index}:events")
        return [fields for _, fields in entries]

    def wait_read(self, index: int) -> None:
        """Until the leader of a shard has read its stream."""
        client = self.service.catalog.client
        name = self.service.keys.shard_events(self.service.catalog.control.shards()[index])

        def is_read() -> bool:
            (group,) = _list(client.xinfo_groups(name))
            stream: Any = client.xinfo_stream(name)
            return bool(group["last-delivered-id"] == stream["last-generated-id"])

        eventually(is_read, f"{name} is read")

    def wait_idle(self) -> None:
        """Until two looks in succession find everything read and done, and nothing told in between."""
        seen: list[object] = []

        def is_idle() -> bool:
            seen.append(self._at_rest())
            return len(seen) > 1 and seen[-1] is not None and seen[-1] == seen[-2]

        eventually(is_idle, "the services of all shards are idle")

    def _at_rest(self) -> object:
        """Where all streams end, if they are read up to there and nothing is under way; else None."""
        service = self.service
        client, control, keys = service.catalog.client, service.catalog.control, service.keys
        ends = []
        for name in {keys.events, *(keys.shard_events(shard) for shard in control.shards())}:
            groups = _list(client.xinfo_groups(name))
            stream: Any = client.xinfo_stream(name)
            if not groups or groups[0]["last-delivered-id"] != stream["last-generated-id"]:
                return None
            ends.append((name, stream["last-generated-id"]))
        control.ask("debug", {}, timeout_seconds=20)
        status: Any = control.ask("status", {}, timeout_seconds=20)
        busy = status["active"] or status["wanted"] or status["queuedRunIds"] or service.store.active_runs()
        return None if busy else sorted(ends)

    def end(self) -> None:
        for each in self.processes:
            each.end()


def _list(answer: Any) -> list[Any]:
    return list(answer)
