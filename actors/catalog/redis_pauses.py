"""Pauses on the server: one hash, a field for each scope."""

from __future__ import annotations

import json
from typing import Any, Final

from actors.catalog.codec import dump
from actors.catalog.events import PauseChanged
from actors.catalog.redis_root import RedisRoom
from actors.core.pauses import Pause, check_scope
from actors.core.wallclock import DAY_MS

__all__ = ["RedisPauses"]

_KEPT_MS: Final = DAY_MS
"""How long an ended pause is kept: the clocks of who writes and of who reads may differ."""


class RedisPauses(RedisRoom):
    def pause(self, scope: str, until_ms: int | None, reason: str | None, now_ms: int) -> Pause:
        pause = Pause(scope, now_ms, until_ms, reason)
        given = {"sinceMs": now_ms, "untilMs": until_ms, "reason": reason}
        self._call(
            "pause",
            scope=scope,
            pause=dump({name: value for name, value in given.items() if value is not None}),
            forgetMs=now_ms - _KEPT_MS,
            **self._told(PauseChanged(scope=scope, paused=True, until_ms=until_ms, reason=reason)),
        )
        return pause

    def unpause(self, scope: str, now_ms: int) -> bool:
        was_paused: int = self._call(
            "unpause",
            scope=check_scope(scope),
            nowMs=now_ms,
            forgetMs=now_ms - _KEPT_MS,
            **self._told(PauseChanged(scope=scope, paused=False)),
        )
        return bool(was_paused)

    def pauses(self, now_ms: int) -> dict[str, Pause]:
        fields: dict[str, str] = self._read("HGETALL", self._keys.pauses)
        found = (_load(scope, json.loads(text)) for scope, text in sorted(fields.items()))
        return {pause.scope: pause for pause in found if pause.holds(now_ms)}


def _load(scope: str, data: dict[str, Any]) -> Pause:
    return Pause(scope, data["sinceMs"], data.get("untilMs"), data.get("reason"))
