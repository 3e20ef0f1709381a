"""Pauses: a user holds back what starts by itself, for everything, one workflow or one asset, until a time or for good.

A pause delays and never drops (law L9): what happens meanwhile is remembered, and acts once when it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.core.key_format import flaw_of

__all__ = ["EVERYTHING", "MAX_REASON", "Pause", "Pauses", "asset_scope", "check_scope", "scope_parts", "workflow_scope"]

EVERYTHING = "all"
MAX_REASON = 200
_ASSET, _WORKFLOW = "asset:", "workflow:"


def asset_scope(asset_id: str) -> str:
    return f"{_ASSET}{asset_id}"


def workflow_scope(slug: str) -> str:
    return f"{_WORKFLOW}{slug}"


def check_scope(scope: str) -> str:
    """The scope itself, if it is one.

    Raises:
        ValueError: it is neither `all`, `workflow:SLUG` nor `asset:ID`.
    """
    if scope == EVERYTHING:
        return scope
    for kind in (_ASSET, _WORKFLOW):
        if scope.startswith(kind) and flaw_of(scope.removeprefix(kind)) is None:
            return scope
    raise ValueError(f"{scope[:100]!r} is no scope of a pause; write all, workflow:SLUG or asset:ID")


def scope_parts(scope: str) -> tuple[str, str]:
    """Kind and name: `("all", "")`, `("workflow", slug)` or `("asset", id)`."""
    kind, _, name = scope.partition(":")
    return kind, name


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing in `scope` starts by itself before `until_ms`; None: until it is ended by hand.

    Raises:
        ValueError: the scope or the reason cannot be used, or it would end before it begins.
    """

    scope: str
    since_ms: int
    until_ms: int | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        check_scope(self.scope)
        if self.until_ms is not None and self.until_ms <= self.since_ms:
            raise ValueError(f"the pause of {self.scope} would end before it begins; give a time that is still to come")
        if self.reason is not None and len(self.reason) > MAX_REASON:
            raise ValueError(f"the reason of a pause has {len(self.reason)} characters; at most {MAX_REASON} are kept")

    def holds(self, now_ms: int) -> bool:
        return self.until_ms is None or self.until_ms > now_ms


@dataclass(frozen=True, slots=True)
class Pauses:
    """Every pause by its scope. Replaced as a whole, so whoever holds it never sees half of a change."""

    by_scope: Mapping[str, Pause] = field(default_factory=dict)

    def paused_until(self, asset_id: str, workflow_slug: str | None, now_ms: int) -> Pause | None:
        """Of the pauses that hold an asset back, the one that ends last; None if nothing does."""
        found: Pause | None = None
        by_scope = self.by_scope
        if not by_scope:
            return None
        for scope in (EVERYTHING, asset_scope(asset_id), workflow_scope(workflow_slug) if workflow_slug else None):
            pause = by_scope.get(scope) if scope is not None else None
            if pause is not None and pause.holds(now_ms) and (found is None or _ends_later(pause, found)):
                found = pause
        return found

    def held_since_ms(self, asset_id: str, workflow_slug: str | None) -> int | None:
        """When the first of the pauses began that hold an asset back, or did until now; None if there is none."""
        scopes = (EVERYTHING, asset_scope(asset_id), workflow_scope(workflow_slug) if workflow_slug else "")
        return min((self.by_scope[scope].since_ms for scope in scopes if scope in self.by_scope), default=None)

    def without_ended(self, now_ms: int) -> Pauses:
        return Pauses({scope: pause for scope, pause in self.by_scope.items() if pause.holds(now_ms)})

    def next_end_ms(self) -> int | None:
        """When the first of them ends by itself, if any does."""
        return min((p.until_ms for p in self.by_scope.values() if p.until_ms is not None), default=None)

    def scopes_changed(self, other: Pauses) -> frozenset[str]:
        """The scopes in which the two differ."""
        mine, theirs = self.by_scope, other.by_scope
        return frozenset(scope for scope in {*mine, *theirs} if mine.get(scope) != theirs.get(scope))


def _ends_later(one: Pause, other: Pause) -> bool:
    if other.until_ms is None:
        return False
    return one.until_ms is None or one.until_ms > other.until_ms
