"""The catalog's Lua scripts: loading them from the package, and running them whether or not the server has them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, Protocol

from redis import Redis
from redis.exceptions import NoScriptError

from actors.catalog.keys import Keys
from actors.catalog.store import Deposed
from actors.core.shards import Shard

__all__ = ["Fence", "ScriptCall", "ScriptName", "Scripts", "shard_argument"]

# json.dumps makes a new one at each call.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

ScriptName = Literal[
    "acknowledge",
    "announce",
    "ask_run",
    "await_start",
    "dead_letter",
    "expire",
    "finish_run",
    "hear_of",
    "lease_acquire",
    "lease_release",
    "lease_renew",
    "forget_partitions",
    "forget_past",
    "mend_assets",
    "mend_runs",
    "mend_stream",
    "merge_lineage",
    "overdue_runs",
    "pass_over",
    "pause",
    "put_step",
    "put_workflow",
    "queue_run",
    "record",
    "remove_workflow",
    "renew_run",
    "resume",
    "schema_version",
    "signal",
    "start_run",
    "submit",
    "unpause",
]


class Fence(Protocol):
    """What stands between a service and what only a leader may write."""

    @property
    def shard(self) -> Shard:
        """The part of the catalog that it leads, or would."""

    def term(self) -> int | None:
        """The term in which it leads; None if it does not."""

    def refused(self, term: int) -> None:
        """The server refused a write: the catalog's term is this one."""


@dataclass(frozen=True, slots=True)
class _Script:
    text: str
    sha1: str


@cache
def _load(name: ScriptName) -> _Script:
    folder = resources.files("actors.catalog") / "lua"
    prelude = (folder / "prelude.lua").read_text(encoding="utf-8")
    text = prelude + (folder / f"{name}.lua").read_text(encoding="utf-8")
    return _Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One call to come; `args` is what prelude.lua calls `args`. None is left out: Lua has no word for it."""

    name: ScriptName
    args: Mapping[str, Any]

    def argument(self) -> bytes:
        present = {key: value for key, value in self.args.items() if value is not None}
        text = _ENCODER.encode(present)
        # Encoded here: hiredis would encode strictly, and a dead letter may hold what never was UTF-8.
        return text.encode(errors="surrogateescape")


class Scripts:
    """Runs scripts by their hash. A server that does not have one (restarted, SCRIPT FLUSH) is sent the text.

    With a `fence` every script is run as the leader, in its term, or not at all.
    """

    def __init__(self, client: Redis, keys: Keys, fence: Fence | None = None) -> None:
        self._client = client
        self._keys = keys.for_scripts
        self._fence = fence

    def call(self, name: ScriptName, /, **args: Any) -> Any:
        """Run one script.

        Raises:
            Deposed: the service does not lead (any more); nothing was changed.
            RedisError: as the client raises it.
        """
        call = ScriptCall(name, {**args, **self._term()})
        try:
            answer = self._client.evalsha(_load(name).sha1, len(self._keys), *self._keys, call.argument())
        except NoScriptError:
            answer = self._client.eval(_load(name).text, len(self._keys), *self._keys, call.argument())
        self._check(answer)
        return answer

    def call_all(self, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run many, in order and each atomic by itself, in one round trip; a second one for those that the server did
        not have. The first error of a script (see `call`) is raised when all have run."""
        if not calls:
            return []
        term = self._term()
        calls = [ScriptCall(call.name, {**call.args, **term}) for call in calls] if term else calls
        answers = self._send(calls, by_text=False)
        missing = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:
            again = self._send([calls[index] for index in missing], by_text=True)
            for index, answer in zip(missing, again, strict=True):
                answers[index] = answer
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
            self._check(answer)
        return answers

    def _term(self) -> dict[str, Any]:
        """The argument by which prelude.lua knows a leader's call."""
        if self._fence is None:
            return {}
        term = self._fence.term()
        if term is None:
            raise Deposed("this service does not lead; whoever does sees to it")
        return {"term": term, "shard": shard_argument(self._fence.shard)}

    def _check(self, answer: Any) -> None:
        if isinstance(answer, list) and answer and answer[0] == "deposed":
            if self._fence is not None:
                self._fence.refused(answer[1])
            raise Deposed(
                f"another service leads, in term {answer[1]}; whatever this one was about to write is refused"
            )

    def _send(self, calls: Sequence[ScriptCall], *, by_text: bool) -> list[Any]:
        with self._client.pipeline(transaction=False) as pipe:
            for call in calls:
                script = _load(call.name)
                if by_text:
                    pipe.eval(script.text, len(self._keys), *self._keys, call.argument())
                else:
                    pipe.evalsha(script.sha1, len(self._keys), *self._keys, call.argument())
            return pipe.execute(raise_on_error=False)


def shard_argument(shard: Shard) -> dict[str, int]:
    """A shard as scripts are told of it."""
    return {"index": shard.index, "count": shard.count}
