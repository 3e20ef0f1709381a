"""What every room of the Redis store shares: the client, the key names, the scripts and the bounds."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final, Self

from redis import Redis

from actors.catalog.connection import server_errors, server_of
from actors.catalog.events import Event, encode_data
from actors.catalog.keys import Keys
from actors.catalog.scripts import Fence, ScriptName, Scripts
from actors.setting_groups import HistorySettings, StreamSettings

__all__ = ["BATCH", "RedisRoom", "entry_id_of", "keys_of", "position_of"]

BATCH: Final = 500
"""Most commands in one round trip: enough to hide the latency, few enough to let others in between."""

_DEFAULT_STREAMS: Final = StreamSettings()
_DEFAULT_HISTORY: Final = HistorySettings()


class RedisRoom:
    """The base of the store's parts."""

    def __init__(
        self,
        client: Redis,
        *,
        prefix: str,
        streams: StreamSettings = _DEFAULT_STREAMS,
        history: HistorySettings = _DEFAULT_HISTORY,
    ) -> None:
        self._client = client
        self._keys = keys_of(prefix, streams)
        self._streams = streams
        self._history = history
        self._scripts = Scripts(client, self._keys)
        self._server = server_of(client)

    def fenced_by(self, fence: Fence) -> Self:
        """The same catalog as a leader writes to it: whatever it writes is in the leader's term, or refused.

        Everything that a service writes because it leads goes through such a store, so that no write can be forgotten.
        Each of its writing methods raises `Deposed`.
        """
        fenced = copy.copy(self)
        fenced._scripts = Scripts(self._client, self._keys, fence)
        return fenced

    def _call(self, name: ScriptName, /, **args: Any) -> Any:
        with server_errors(self._server):
            return self._scripts.call(name, **args)

    def _read(self, *command: str | int) -> Any:
        """One reading command, with the client's usual shape of the answer."""
        with server_errors(self._server):
            return self._client.execute_command(*command)  # type: ignore[no-untyped-call]

    def _read_each(self, commands: Sequence[tuple[str | int, ...]]) -> list[Any]:
        """Many reading commands, in round trips of `BATCH`."""
        answers: list[Any] = []
        for start in range(0, len(commands), BATCH):
            with server_errors(self._server), self._client.pipeline(transaction=False) as pipe:
                for command in commands[start : start + BATCH]:
                    pipe.execute_command(*command)  # type: ignore[no-untyped-call]
                answers.extend(pipe.execute())
        return answers

    def _told(self, event: Event) -> dict[str, Any]:
        """The arguments by which a script publishes an event."""
        return {
            "eventType": event.type,
            "eventData": encode_data(event),
            "eventsLimit": self._streams.events_max_length,
        }


def keys_of(prefix: str, streams: StreamSettings) -> Keys:
    return Keys(prefix, streams.events, streams.dead_letters, streams.audit)


def position_of(entry_id: str) -> int:
    """An entry's place in the stream as one number; later entries have larger ones."""
    ms, _, sequence = entry_id.partition("-")
    # The sequence is a 64-bit number of its own: it goes on counting when the server's clock is set back.
    return (int(ms) << 64) | int(sequence or 0)


def entry_id_of(position: int) -> str:
    """The other way round."""
    return f"{position >> 64}-{position & ((1 << 64) - 1)}"
