"""Writes down a whole catalog beside whoever works on it, in a form that no server's version matters to.

A catalog that is in use changes while it is read. Every change of it appends an event, so the events of the meantime
name what may have changed: it is read again, round by round, until a round was passed in which nothing happened. What
is written down then is the catalog as of one event. On a catalog that never rests so long the rounds end,
`isConsistent` is false, and the service that follows a restore reads all events of the meantime again. Only the marks
by which a repeated report of an outsider is known (`P:seen:*`) are those of the beginning: what is reported again
counts again, and nothing counts as known that is not.

A record is `{"name", "type", "items"}`, where the name is what stands behind the prefix. One with `begin` is the first
of its name, and takes the place of all that was written of it before; `none` stands for a key that went meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis

from actors.catalog.backup_file import BackupWriter, Record
from actors.catalog.catalog_scan import PIECE, CatalogScan, pieces
from actors.catalog.keys import Keys
from actors.catalog.redis_root import position_of

__all__ = ["STREAM_NAMES", "BackupSummary", "write_catalog"]

STREAM_NAMES: Final = ("@events", "@dead-letters", "@audit")
"""How the streams are called in a backup: another catalog may have other names for them."""

_GLOBALS: Final = (
    *("workflows", "workflow-sources", "counters", "pauses", "runs", "queued", "ended", "claims", "active"),
    *("unstarted", "leases"),
)
_MOST_ROUNDS: Final = 20
_KEYS_AT_ONCE: Final = 50
"""What they hold at most is in memory at once: pieces of a scan each."""
_FIRST_LOOKS: Final[dict[str, tuple[str | int, ...]]] = {
    "hash": ("HSCAN", 0, "COUNT", PIECE),
    "zset": ("ZSCAN", 0, "COUNT", PIECE),
    "set": ("SSCAN", 0, "COUNT", PIECE),
    "list": ("LRANGE", 0, PIECE - 1),
}
_LINE_CHARACTERS: Final = 1 << 18

OnKeys = Callable[[int], None]
"""Told how many keys were written so far."""


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """`keys` there were at the first reading; `position` is the event as of which the catalog was written down, if
    `is_consistent`."""

    keys: int
    position: str
    rounds: int
    is_consistent: bool


def write_catalog(client: Redis, keys: Keys, writer: BackupWriter, on_keys: OnKeys = lambda _: None) -> BackupSummary:
    """Write every record of the catalog.

    Raises:
        CatalogUnavailable: the server cannot be reached.
        OSError: the file cannot be written.
    """
    return _Backup(CatalogScan(client, keys), keys, writer, on_keys).write()


class _Backup:
    def __init__(self, scan: CatalogScan, keys: Keys, writer: BackupWriter, on_keys: OnKeys) -> None:
        self._scan = scan
        self._keys = keys
        self._writer = writer
        self._on_keys = on_keys
        self._streams = dict(zip(STREAM_NAMES, (keys.events, keys.dead_letters, keys.audit), strict=True))
        self._read_up_to: dict[str, str | None] = dict.fromkeys(STREAM_NAMES)
        self._written = 0

    def write(self) -> BackupSummary:
        for name in STREAM_NAMES:
            self._append(name)
        began_at = self._position
        for piece in pieces(name for name in self._scan.names() if not self._is_elsewhere(name)):
            self._write_keys(piece)
        keys_count, rounds, is_consistent = self._written, 0, False
        while not is_consistent and rounds < _MOST_ROUNDS:
            rounds += 1
            self._write_keys(self._changed())
            is_consistent = self._last_event() == self._position
        for name in STREAM_NAMES:
            self._write_position(name, None if is_consistent else began_at)
        self._writer.end = {"keys": keys_count, "position": self._position, "isConsistent": is_consistent}
        return BackupSummary(keys_count, self._position, rounds, is_consistent)

    @property
    def _position(self) -> str:
        return self._read_up_to["@events"] or "0-0"

    def _is_elsewhere(self, name: str) -> bool:
        return self._keys.is_fleeting(name) or f"{self._keys.prefix}:{name}" in self._streams.values()

    # -- what changed meanwhile --------------------------------------------------------------------------------------

    def _changed(self) -> list[str]:
        """The keys that what happened since may have changed; the events of it are written."""
        names = dict.fromkeys(_GLOBALS)
        run_ids = dict[str, None]()
        for entry in self._append("@events"):
            for asset_id, run_id, slug in _concerned(entry):
                if asset_id is not None:
                    names |= {f"asset:{asset_id}": None, f"history:{asset_id}": None}
                if run_id is not None:
                    names |= {f"{kind}:{run_id}": None for kind in ("run", "steps", "produced")}
                    run_ids[run_id] = None
                if slug is not None:
                    names[f"active:workflow:{slug}"] = None
        for name in ("@dead-letters", "@audit"):
            self._append(name)
        for piece in pieces(run_ids):
            for pools in self._scan.read_each([("HGET", self._keys.run(run_id), "pools") for run_id in piece]):
                names |= {f"active:pool:{pool}": None for pool in json.loads(pools or "[]")}
        return list(names)

    def _last_event(self) -> str:
        newest = self._scan.ask("XREVRANGE", self._keys.events, "+", "-", "COUNT", 1)
        return newest[0][0] if newest else self._position

    # -- writing -----------------------------------------------------------------------------------------------------

    def _append(self, name: str) -> list[dict[str, str]]:
        """Write what was added to a stream since it was written last; of events that are news, their fields."""
        after = self._read_up_to[name]
        added: list[dict[str, str]] = []

        def entries() -> Iterator[Any]:
            for entry_id, fields in self._scan.entries(self._streams[name], after):
                self._read_up_to[name] = entry_id
                if after is not None and name == "@events":
                    added.append(dict(zip(fields[::2], fields[1::2], strict=True)))
                yield [entry_id, fields]

        self._write_items(name, "stream", entries(), begins=after is None)
        if after is None and self._read_up_to[name] is None:
            # There is none yet; what is in it at the next look is news.
            self._read_up_to[name] = "0-0"
        return added

    def _write_keys(self, names: Iterable[str]) -> None:
        for piece in pieces(names, _KEYS_AT_ONCE):
            keys = [f"{self._keys.prefix}:{name}" for name in piece]
            kinds = self._scan.read_each([("TYPE", key) for key in keys])
            # Most keys are small: one look brings all that they hold.
            looks = [(*_FIRST_LOOKS.get(kind, ("EXISTS",)), key) for kind, key in zip(kinds, keys, strict=True)]
            answers = self._scan.read_each([(look[0], look[-1], *look[1:-1]) for look in looks])
            for name, kind, answer in zip(piece, kinds, answers, strict=True):
                items = _all_items(kind, answer)
                if items is None:
                    self._write_key(name, kind)
                else:
                    self._write_items(name, kind, items)

    def _write_key(self, name: str, kind: str) -> None:
        """What is not read in one look."""
        key, scan = f"{self._keys.prefix}:{name}", self._scan
        match kind:
            case "hash":
                self._write_items(name, kind, (list(pair) for pair in scan.fields(key)))
            case "zset":
                self._write_items(name, kind, (list(pair) for pair in scan.scores(key)))
            case "set":
                self._write_items(name, kind, scan.members(key))
            case "list":
                self._write_items(name, kind, scan.texts(key))
            case "string":
                text, expires_at_ms = scan.read_each([("GET", key), ("PEXPIRETIME", key)])
                self._write_items(name, kind if text is not None else "none", [text], expiresAtMs=expires_at_ms)
            case _:
                self._write_items(name, "none", ())

    def _write_items(self, name: str, kind: str, items: Iterable[Any], *, begins: bool = True, **more: int) -> None:
        """In several records when there are many."""
        for piece in _lines(items):
            self._written += begins
            self._on_keys(self._written)
            self._write_record({"name": name, "type": kind, "items": piece, **more}, begins=begins)
            begins = False
        if begins:
            self._write_record({"name": name, "type": "none", "items": []}, begins=True)

    def _write_record(self, record: Record, *, begins: bool) -> None:
        self._writer.write({**record, "begin": True} if begins else record)

    def _write_position(self, name: str, at_most: str | None) -> None:
        """How far a stream has come, and its readers; with `at_most` they are taken back to there."""
        key = self._streams[name]
        about = self._scan.stream_info(key)
        found = self._scan.groups(key)
        if about is None or not (about["length"] or found):
            return
        groups = []
        for group in found:
            cursor = position_of(group["last-delivered-id"])
            if group["pending"]:
                oldest = self._scan.ask("XPENDING", key, group["name"])[1]
                cursor = min(cursor, position_of(oldest) - 1)
            if at_most is not None and name == "@events":
                cursor = min(cursor, position_of(at_most))
            groups.append([group["name"], f"{cursor >> 64}-{cursor & (1 << 64) - 1}"])
        self._writer.write({"name": name, "type": "position", "lastId": about["last-generated-id"], "groups": groups})


def _all_items(kind: str, answer: Any) -> list[Any] | None:
    """What a key holds, if the first look at it brought everything; None if it did not."""
    match kind:
        case "list":
            return answer if len(answer) < PIECE else None
        case "hash" | "zset" | "set":
            cursor, found = answer
            if cursor != "0":
                return None
            return found if kind == "set" else [list(pair) for pair in zip(found[::2], found[1::2], strict=True)]
        case _:
            return None


def _lines(items: Iterable[Any]) -> Iterator[list[Any]]:
    """Pieces that are written on one line each: of bounded length, unless a single item is longer."""
    piece: list[Any] = []
    characters = 0
    for item in items:
        piece.append(item)
        characters += _length(item)
        if characters >= _LINE_CHARACTERS:
            yield piece
            piece, characters = [], 0
    if piece:
        yield piece


def _length(item: Any) -> int:
    return len(item) + 8 if isinstance(item, str) else sum(map(_length, item)) + 8


def _concerned(fields: dict[str, str]) -> Iterator[tuple[str | None, str | None, str | None]]:
    """Assets, runs and workflows that an event is about, whoever appended it."""
    for text in (fields.get("data", ""), fields.get("unmade", "")):
        try:
            found = json.loads(text)
        except ValueError:
            continue
        for about in found if isinstance(found, list) else [found]:
            if isinstance(about, dict):
                yield _text(about, "assetId"), _text(about, "runId"), _text(about, "workflowSlug")


def _text(about: dict[str, Any], name: str) -> str | None:
    value = about.get(name)
    return value if isinstance(value, str) else None
