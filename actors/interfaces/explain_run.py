"""Why a run exists, back to the first cause, and what followed from it; read from the catalog alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.catalog.store import HistoryEntry, Json, JsonObject, Produced, RunRecord, Store
from actors.core.state import Cause, partition_name
from actors.interfaces.dump import iso_or_none

__all__ = ["MOST_DEEP", "Origin", "RunStory", "story_json", "tell_story"]

MOST_DEEP = 50
MOST_RUNS = 500
_RUNS_READ = 2_000
_HISTORY_READ = 10_000

AUTO = "auto-materialize"


@dataclass(slots=True)
class Origin:
    """One reason of a run. `kind` is `upstream` (a version of another asset, which may lie deeper), `expiry`, `missing`
    or `manual`; a `note` says why the way ends here when it does not end at a first cause."""

    kind: str
    text: str
    cause: Cause | None = None
    at_ms: int | None = None
    run: RunStory | None = None
    note: str | None = None


@dataclass(slots=True)
class RunStory:
    """A run and its reasons; with `told_elsewhere` they are told where the run comes up otherwise."""

    record: RunRecord
    origins: list[Origin] = field(default_factory=list)
    told_elsewhere: bool = False
    followers: list[RunRecord] = field(default_factory=list)


def tell_story(store: Store, record: RunRecord) -> RunStory:
    """Follow the triggers of a run to manual triggers, events from outside and expiries, at most `MOST_DEEP` runs deep.

    Raises:
        CatalogUnavailable: the catalog cannot be reached.
    """
    story = _Teller(store).tell(record)
    story.followers = _followers(store, record.produced)
    return story


class _Teller:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._told: set[str] = set()
        self._histories: dict[str, dict[int, HistoryEntry]] = {}

    def tell(self, first: RunRecord) -> RunStory:
        story = RunStory(first)
        todo = [(story, 1)]
        while todo:
            current, depth = todo.pop(0)
            if current.record.run_id in self._told:
                current.told_elsewhere = True
                continue
            self._told.add(current.record.run_id)
            for origin in self._origins(current.record):
                current.origins.append(origin)
                if origin.run is not None:
                    if depth >= MOST_DEEP or len(self._told) >= MOST_RUNS:
                        origin.note = "not followed further here; explain that run"
                    else:
                        todo.append((origin.run, depth + 1))
        return story

    def _origins(self, record: RunRecord) -> list[Origin]:
        trigger = record.trigger
        if trigger.get("type") != AUTO:
            kind, said = trigger.get("type"), trigger.get("reason")
            text = f"asked for by hand ({said})" if kind == "manual" else f"{kind}: {said}"
            return [Origin("manual", text, at_ms=record.created_at_ms)]
        name = partition_name(str(trigger.get("assetId")), _text(trigger.get("partitionKey")))
        origins: list[Origin] = []
        expiry = trigger.get("expiry")
        if isinstance(expiry, Mapping):
            rule, at_ms = expiry.get("reason"), expiry.get("expiresAtMs")
            text = f"{name} was declared expired" if rule == "manual" else f"{name} expired by its {rule}"
            origins.append(Origin("expiry", text, at_ms=at_ms if isinstance(at_ms, int) else None))
        elif trigger.get("reason") == "missing":
            origins.append(Origin("missing", f"{name} had never been made", at_ms=record.created_at_ms))
        origins.extend(self._upstream(cause) for cause in causes_of(trigger))
        return origins or [Origin("manual", f"{trigger.get('reason')} ({name})", note="the trigger says no more")]

    def _upstream(self, cause: Cause) -> Origin:
        origin = Origin("upstream", f"{partition_name(cause.asset_id, cause.partition_key)} v{cause.version}", cause)
        entry = self._entry(cause)
        if entry is None:
            origin.note = "its history is trimmed: who made it is not known any more"
            return origin
        made = entry.materialization
        origin.at_ms = made.produced_at_ms
        if made.run_id is None:
            origin.note = "produced outside"
            return origin
        record = self._store.run(made.run_id)
        if record is None:
            origin.note = f"made by run {made.run_id}, of which the catalog knows nothing (any more)"
        else:
            origin.run = RunStory(record)
        return origin

    def _entry(self, cause: Cause) -> HistoryEntry | None:
        history = self._histories.get(cause.asset_id)
        if history is None:
            entries = self._store.history(cause.asset_id, limit=_HISTORY_READ)
            history = self._histories[cause.asset_id] = {e.materialization.version: e for e in entries}
        return history.get(cause.version)


def causes_of(trigger: JsonObject) -> list[Cause]:
    """The upstream partitions and versions that a trigger names."""
    listed = trigger.get("upstream")
    return [
        Cause(str(one.get("assetId")), _text(one.get("partitionKey")), version)
        for one in (listed if isinstance(listed, list) else [])
        if isinstance(one, Mapping) and isinstance(version := one.get("version"), int)
    ]


def _followers(store: Store, produced: tuple[Produced, ...]) -> list[RunRecord]:
    """The runs whose trigger names something that this one made, oldest first, of the newest that the catalog keeps."""
    made = {(p.asset_id, p.partition_key, p.version) for p in produced}
    if not made:
        return []
    found = [
        run
        for run in store.runs(trigger=AUTO, limit=_RUNS_READ)
        if any((c.asset_id, c.partition_key, c.version) in made for c in causes_of(run.trigger))
    ]
    return found[::-1]


def story_json(story: RunStory) -> JsonObject:
    """`{run: NODE, made: [{assetId, partitionKey, version}], followedBy: [RUN]}`.

    RUN is `{runId, workflowSlug, partitionKey, status, createdAt, attempt}`; NODE is a RUN with `toldElsewhere` and
    `because: [{kind, text, assetId, partitionKey, version, at, note, madeBy: NODE or null}]`, where `kind` is
    `upstream`, `expiry`, `missing` or `manual`.
    """
    return {
        "run": _node_json(story),
        "made": [
            {"assetId": p.asset_id, "partitionKey": p.partition_key, "version": p.version}
            for p in story.record.produced
        ],
        "followedBy": [_run_json(run) for run in story.followers],
    }


def _node_json(story: RunStory) -> JsonObject:
    return {
        **_run_json(story.record),
        "toldElsewhere": story.told_elsewhere,
        "because": [
            {
                "kind": origin.kind,
                "text": origin.text,
                "assetId": origin.cause.asset_id if origin.cause else None,
                "partitionKey": origin.cause.partition_key if origin.cause else None,
                "version": origin.cause.version if origin.cause else None,
                "at": iso_or_none(origin.at_ms),
                "note": origin.note,
                "madeBy": _node_json(origin.run) if origin.run is not None else None,
            }
            for origin in story.origins
        ],
    }


def _run_json(run: RunRecord) -> dict[str, Json]:
    return {
        "runId": run.run_id,
        "workflowSlug": run.workflow_slug,
        "partitionKey": run.partition_key,
        "status": run.status.value,
        "createdAt": iso_or_none(run.created_at_ms),
        "attempt": run.trigger.get("attempt"),
    }


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None
