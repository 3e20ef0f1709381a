"""Reading a whole catalog in small pieces, beside whoever else works on it.

Nothing blocks the server, and one piece at a time is held in memory. What is there throughout is seen at least once;
what comes or goes meanwhile may be seen or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from redis import Redis

from actors.catalog.connection import server_errors, server_of
from actors.catalog.keys import Keys

__all__ = ["PIECE", "CatalogScan", "pieces"]

PIECE: Final = 500
"""How many entries are read in one round trip, about."""

Item = TypeVar("Item")
Command = tuple[str | int, ...]


def pieces(items: Iterable[Item], size: int = PIECE) -> Iterator[list[Item]]:
    """The same items in lists of at most `size`."""
    rest = iter(items)
    while piece := list(islice(rest, size)):
        yield piece


class CatalogScan:
    """Every method may raise `CatalogUnavailable`."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._server = server_of(client)

    def names(self) -> Iterator[str]:
        """What stands behind the prefix in each key of the catalog, some perhaps twice."""
        pattern = re.sub(r"([*?\[\]\\^])", r"\\\1", self._keys.prefix) + ":*"
        for key in self._scan("SCAN", "MATCH", pattern):
            name = self._keys.name_of(key)
            if name is not None:
                yield name

    def fields(self, key: str) -> Iterator[tuple[str, str]]:
        """Of a hash."""
        return self._pairs("HSCAN", key)

    def scores(self, key: str) -> Iterator[tuple[str, str]]:
        """Members of a sorted set with their scores, as the server writes them."""
        return self._pairs("ZSCAN", key)

    def members(self, key: str) -> Iterator[str]:
        """Of a set."""
        return self._scan("SSCAN", key=key)

    def texts(self, key: str) -> Iterator[str]:
        """Of a list."""
        start = 0
        while texts := self.ask("LRANGE", key, start, start + PIECE - 1):
            yield from texts
            start += PIECE

    def entries(self, key: str, after: str | None = None) -> Iterator[tuple[str, list[str]]]:
        """Of a stream: ids with fields and values in turn; those up to the id `after` are passed over."""
        while entries := self.ask("XRANGE", key, "-" if after is None else f"({after}", "+", "COUNT", PIECE):
            yield from entries
            after = entries[-1][0]

    def stream_info(self, key: str) -> dict[str, Any] | None:
        """What the server says of a stream; None if there is none."""
        return _named(self.ask("XINFO", "STREAM", key)) if self.ask("EXISTS", key) else None

    def groups(self, key: str) -> list[dict[str, Any]]:
        """What the server says of each group of a stream; none if there is no stream."""
        if not self.ask("EXISTS", key):
            return []
        found: list[Any] = self.ask("XINFO", "GROUPS", key)
        return [_named(group) for group in found]

    def ask(self, *command: str | int) -> Any:
        return self.read_each([command])[0]

    def read_each(self, commands: Sequence[Command]) -> list[Any]:
        """Reading commands in one round trip; the answers as the server gives them, without the client's shapes."""
        if not commands:
            return []
        with server_errors(self._server), self._client.pipeline(transaction=False) as pipe:
            # Its own: those of the client are shared with it.
            pipe.response_callbacks = type(pipe.response_callbacks)({})
            for command in commands:
                pipe.execute_command(*map(_as_sent, command))  # type: ignore[no-untyped-call]
            return pipe.execute()

    def _pairs(self, command: str, key: str) -> Iterator[tuple[str, str]]:
        flat = self._scan(command, key=key)
        for name in flat:
            yield name, next(flat)

    def _scan(self, command: str, *options: str, key: str | None = None) -> Iterator[str]:
        where, cursor = (() if key is None else (key,)), "0"
        while True:
            cursor, found = self.ask(command, *where, cursor, *options, "COUNT", PIECE)
            yield from found
            if cursor == "0":
                return


def _as_sent(argument: str | int) -> bytes | int:
    """hiredis would encode strictly, and what others put there need not be UTF-8."""
    return argument.encode(errors="surrogateescape") if isinstance(argument, str) else argument


def _named(answer: Any) -> dict[str, Any]:
    """Names and values in turn, or a map already: as the protocol's version has it."""
    return answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
