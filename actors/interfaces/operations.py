"""What the running service answers to commands: dumps of its actors, status, cancel."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from pykka import ActorRef

from actors.catalog.store import Json, JsonObject, RunStatus, Store
from actors.core.graph import AssetSpec
from actors.core.partitions import validate_key
from actors.execution.launcher import RunLauncher
from actors.interfaces.dump import asset_json
from actors.messages import AssetDump, CountQueue, DumpAsset, FindSpec, ListAssets, QueueDump
from actors.surroundings import Surroundings

__all__ = ["Operations"]

_SHOWN: Final = 10
"""How many entries each list of the overview has, when nobody says."""


class Operations:
    """Answers control requests by asking actors, each question with a timeout."""

    def __init__(
        self,
        around: Surroundings,
        launcher: RunLauncher,
        store: Store,
        *,
        timeout_seconds: float,
        overview: Callable[[int], JsonObject] = lambda _limit: {},
    ) -> None:
        self._around = around
        self._overview = overview
        self._launcher = launcher
        self._store = store
        self._timeout_seconds = timeout_seconds
        self._started_ms = around.clock.now_ms()

    def handle(self, op: str, args: JsonObject) -> Json:
        """Answer one request.

        Raises:
            ValueError: the operation is unknown or an argument is missing or of the wrong kind.
            LookupError: there is no such asset or run.
        """
        match op:
            case "ping":
                return {"startedAtMs": self._started_ms}
            case "status":
                return self._status(_count(args, "limit"))
            case "debug":
                return self._debug(_text(args, "assetId", optional=True), _text(args, "partitionKey", optional=True))
            case "cancel":
                return self._cancel(_text(args, "runId") or "")
            case _:
                raise ValueError(f"there is no operation {op!r}; known are ping, status, debug and cancel")

    def upstreams_of(self, asset_id: str) -> tuple[str, ...]:
        """The assets that an asset is made from, as the catalog's definitions have it."""
        spec = self._spec(asset_id)
        return spec.upstreams if spec is not None else ()

    def check_key(self, asset_id: str, partition_key: str | None) -> None:
        """See that an asset has such a partition; of one that no workflow makes nothing is known.

        Raises:
            PartitionKeyError: it has not; the text shows a good key.
        """
        spec = self._spec(asset_id)
        if spec is not None:
            validate_key(spec.partitioning, partition_key, asset_id=asset_id)

    def _spec(self, asset_id: str) -> AssetSpec | None:
        spec: AssetSpec | None = self._ask(self._around.links.registry, "registry", FindSpec(asset_id))
        return spec

    def _status(self, limit: int | None) -> JsonObject:
        """Every run that is active or wanted, or the first `limit` of each: the oldest, and those that are next."""
        queue: QueueDump = self._ask(self._around.links.enqueuer, "enqueuer", CountQueue())
        return {
            "startedAtMs": self._started_ms,
            "activeCount": len(queue.active),
            "wantedCount": len(queue.wanted),
            "queuedCount": len(queue.queued),
            "active": [
                {"runId": run.run_id, "workflowSlug": run.workflow_slug, "partitionKey": run.partition_key}
                for run in queue.active[:limit]
            ],
            "wanted": [
                {"workflowSlug": slug, "partitionKey": key, "priority": priority}
                for slug, key, priority in queue.wanted[:limit]
            ],
            "queuedRunIds": list(queue.queued[:limit]),
            "overview": self._overview(_SHOWN if limit is None else limit),
        }

    def _debug(self, asset_id: str | None, partition_key: str | None) -> JsonObject:
        if asset_id is not None:
            asset_ids: tuple[str, ...] = (asset_id,)
        else:
            asset_ids = self._ask(self._around.links.registry, "registry", ListAssets())
        dumps = []
        for each in sorted(asset_ids):
            dump = self._dump(each)
            if dump is not None:
                dumps.append(asset_json(dump))
        if asset_id is not None and not dumps:
            raise LookupError(f"no workflow makes an asset {asset_id!r}")
        return {"assets": [_only(dump, partition_key) for dump in dumps] if partition_key is not None else dumps}

    def _dump(self, asset_id: str) -> AssetDump | None:
        deadline = time.monotonic() + self._timeout_seconds
        while True:
            ref: ActorRef[Any] | None = self._ask(self._around.links.registry, "registry", DumpAsset(asset_id))
            if ref is None:
                return None
            dump: AssetDump = self._ask(ref, asset_id, DumpAsset(asset_id))
            # An actor that was started for this question is still reading its state.
            if dump.is_loaded or time.monotonic() > deadline:
                return dump
            time.sleep(0.005)

    def _cancel(self, run_id: str) -> JsonObject:
        run = self._store.run(run_id)
        if run is None:
            raise LookupError(f"there is no run {run_id!r}")
        now_ms = self._around.clock.now_ms()
        if run.status is RunStatus.QUEUED and self._store.cancel_queued(run_id, now_ms=now_ms):
            return {"runId": run_id, "status": RunStatus.CANCELED.value}
        if not self._launcher.cancel(run_id):
            raise LookupError(f"run {run_id} is {run.status.value}; only an active or queued run can be canceled")
        return {"runId": run_id, "status": "canceling"}

    def _ask(self, ref: ActorRef[Any] | None, name: str, question: object) -> Any:
        if ref is None:
            raise LookupError(f"the {name} is being restarted; ask again in a moment")
        return ref.ask(question, timeout=self._timeout_seconds)


def _only(dump: JsonObject, partition_key: str) -> JsonObject:
    partitions = dump["partitions"]
    if not isinstance(partitions, list):
        return dump
    return {**dump, "partitions": [p for p in partitions if p["partitionKey"] == partition_key]}


def _text(args: JsonObject, name: str, *, optional: bool = False) -> str | None:
    value = args.get(name)
    if value is None and optional:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, not {value!r}")
    return value


def _count(args: JsonObject, name: str) -> int | None:
    value = args.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise ValueError(f"{name} must be a whole number from 0, not {value!r}")
    return value
