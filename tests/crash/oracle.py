"""What must be so once all is at rest, from the catalog alone: the stream, the records, and how they fit together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from redis import Redis

from actors.catalog.doctor import Doctor
from actors.catalog.keys import Keys
from actors.catalog.redis_store import RedisStore
from actors.catalog.store import RunRecord, RunStatus
from actors.setting_groups import StreamSettings
from tests.crash.emitter import Told
from tests.crash.replay import Broken, Replay, Tale

__all__ = ["Ledger", "Oracle"]

_BATCH: Final = 1_000
_ALL: Final = 1_000_000


@dataclass(slots=True)
class Ledger:
    """The stream as far as it was read."""

    client: Redis
    keys: Keys
    replay: Replay = field(default_factory=Replay)
    made_at_ms: list[int] = field(default_factory=list)
    """When runs made something, by the server's clock."""
    _last_id: str = "-"

    def read_on(self) -> Replay:
        while True:
            entries: Any = self.client.xrange(self.keys.events, min=self._last_id, count=_BATCH)
            for entry_id, fields in entries:
                made_before = self.replay.made_by_runs
                self.replay.play(fields)
                if self.replay.made_by_runs > made_before:
                    self.made_at_ms.append(int(entry_id.partition("-")[0]))
                self._last_id = f"({entry_id}"
            if len(entries) < _BATCH:
                return self.replay


class Oracle:
    """Looks at one catalog. `budget` is after how many failures an asset is suspended."""

    def __init__(self, client: Redis, store: RedisStore, keys: Keys, *, budget: int) -> None:
        self._client = client
        self._store = store
        self._keys = keys
        self._budget = budget
        self._ledger = Ledger(client, keys)

    @property
    def replay(self) -> Replay:
        return self._ledger.replay

    def first_made_after(self, at_ms: int) -> int | None:
        """When a run made something for the first time after this time, by the server's clock."""
        return next((each for each in self._ledger.made_at_ms if each > at_ms), None)

    def why_not_at_rest(self) -> str | None:
        """What is still under way, or still to be made; None when all is at rest."""
        if busy := self._store.active_runs() or self._store.queued_runs():
            return f"{len(busy)} runs are under way, such as {busy[0]}"
        (group,) = self._groups()
        stream: Any = self._client.xinfo_stream(self._keys.events)
        if group["last-delivered-id"] != stream["last-generated-id"]:
            return f"the leader has read up to {group['last-delivered-id']}, not {stream['last-generated-id']}"
        suspended = self._suspended()
        stale = [why for why in self._ledger.read_on().stale() if why.partition(" ")[0] not in suspended]
        return stale[0] if stale else None

    def check(self, told: Sequence[Told]) -> list[Broken]:
        """Everything that is broken, once all is at rest. `told` is what the outside producer believes recorded."""
        replay = self._ledger.read_on()
        found = list(replay.broken)
        found += [Broken("lost", why) for why in replay.stale() if why.partition(" ")[0] not in self._suspended()]
        found += self._told_once(replay, told)
        found += self._records_agree(replay)
        found += self._runs_agree(replay)
        found += self._failures_followed(replay)
        found += self._nothing_left(replay)
        return found

    def _told_once(self, replay: Replay, told: Sequence[Told]) -> Iterator[Broken]:
        for each in told:
            found = replay.told.get(each.key)
            if found is None:
                yield Broken("lost", f"the production {each} was acknowledged, and no event tells of it")
            elif found != (each.asset_id, each.partition_key, each.version):
                yield Broken("inconsistent", f"the production {each} was recorded as {found}")
        unknown = replay.told.keys() - {each.key for each in told}
        if unknown:
            yield Broken("inconsistent", f"productions were recorded that nobody was told of: {sorted(unknown)}")

    def _records_agree(self, replay: Replay) -> Iterator[Broken]:
        counters: Any = self._client.hgetall(self._keys.counters)
        if {name: int(count) for name, count in counters.items()} != dict(replay.versions):
            yield Broken("inconsistent", f"the counters are {counters}, the events tell of {dict(replay.versions)}")
        records = self._store.read_assets(list(counters))
        for asset_id in counters:
            versions = [each.materialization.version for each in self._store.history(asset_id, limit=_ALL)]
            if versions != list(range(replay.versions[asset_id], 0, -1)):
                yield Broken("inconsistent", f"the history of {asset_id} has versions {_short(versions)}")
            for key, made in records[asset_id].latest.items():
                event = replay.made.get((asset_id, key))
                if event is None or (event.version, dict(event.inputs)) != (made.version, dict(made.inputs)):
                    yield Broken("inconsistent", f"the latest of {asset_id}@{key} is {made}, its event says {event}")

    def _runs_agree(self, replay: Replay) -> Iterator[Broken]:
        records = {record.run_id: record for record in self._store.runs(limit=_ALL)}
        if records.keys() != replay.runs.keys():
            odd = sorted(records.keys() ^ replay.runs.keys())
            yield Broken("inconsistent", f"{len(records)} runs are kept, {len(replay.runs)} were told of: {odd[:5]}")
        for run_id, run in replay.runs.items():
            record = records.get(run_id)
            if record is not None and _status(record) != (run.ended, run.is_lost):
                yield Broken("inconsistent", f"run {run_id} is {record.status}, the events say {run}")
        audited = Counter(entry.run_id for entry in self._store.audit(limit=_ALL))
        odd = [run_id for run_id in {*audited, *replay.runs} if audited[run_id] != (run_id in replay.runs)]
        if odd:
            yield Broken("inconsistent", f"these runs have not one audit line each: {sorted(odd)[:5]}")

    def _failures_followed(self, replay: Replay) -> Iterator[Broken]:
        """What a failed or lost run did not make was made by a later run, or is suspended."""
        suspended = self._suspended()
        later: dict[tuple[str, str | None], Tale] = {}
        for run in replay.runs.values():
            if run.ended == "succeeded":
                later[run.slug, run.partition_key] = run  # the last one stays
        for run in replay.runs.values():
            successor = later.get((run.slug, run.partition_key))
            names = {_name(asset_id, run.partition_key) for asset_id in run.unmade}
            if run.ended != "succeeded" and names - suspended and (successor is None or successor.number < run.number):
                yield Broken("lost", f"run {run.run_id} of {run.slug} ended as {run.ended} and nothing followed")

    def _nothing_left(self, replay: Replay) -> Iterator[Broken]:
        if replay.active():
            yield Broken("inconsistent", f"by the events these runs are still active: {replay.active()}")
        keys = self._keys
        active = self._client.scan_iter(f"{keys.active}*", count=1_000)
        for name in (*active, keys.claims, keys.queued, f"{keys.prefix}:unstarted", f"{keys.prefix}:leases"):
            if self._client.exists(name):
                yield Broken("inconsistent", f"nothing is under way, but {name} is not empty")
        doctor = Doctor(self._client, prefix=keys.prefix, streams=StreamSettings())
        yield from (Broken("inconsistent", f"doctor: {finding}") for finding in doctor.examine(fix=False))
        if doctor.dead_letters():
            yield Broken("inconsistent", f"{doctor.dead_letters()} events were put aside as unreadable")
        (group,) = self._groups()
        if group["pending"]:
            yield Broken("inconsistent", f"{group['pending']} events are pending")

    def _suspended(self) -> set[str]:
        records = self._store.read_assets(self._store.asset_ids())
        return {
            _name(asset_id, key)
            for asset_id, record in records.items()
            for key, failure in record.failures.items()
            if failure.failures >= self._budget
        }

    def _groups(self) -> list[Mapping[str, Any]]:
        groups: Any = self._client.xinfo_groups(self._keys.events)
        return list(groups)


def _status(record: RunRecord) -> tuple[str | None, bool]:
    """As the events say it: a lost run is published as failed, and lost."""
    if record.status is RunStatus.LOST:
        return "failed", True
    return (record.status.value if record.status.is_over else None), False


def _name(asset_id: str, key: str | None) -> str:
    return asset_id if key is None else f"{asset_id}@{key}"


def _short(versions: Sequence[int]) -> str:
    return str(versions) if len(versions) <= 20 else f"{versions[:10]} ... {versions[-5:]} ({len(versions)} of them)"
