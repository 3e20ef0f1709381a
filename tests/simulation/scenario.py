"""What a seed means: a graph of workflows, a list of things that happen, and how the world misbehaves meanwhile."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any

__all__ = [
    "BASE_MS",
    "DYNAMIC_KEYS",
    "STATIC_KEYS",
    "TIME_KINDS",
    "Action",
    "Asset",
    "Backoff",
    "Budget",
    "Quiet",
    "Rule",
    "Scenario",
    "Workflow",
]

BASE_MS = 1_767_225_600_000  # 2026-01-01T00:00Z, a whole hour
STATIC_KEYS = ("north", "south")
DYNAMIC_KEYS = ("north", "east")
TIME_KINDS = ("minute", "hour", "day")


@dataclass(frozen=True, slots=True)
class Quiet:
    """One window, `start` to `end` (HH:MM) on the wall clock of `timezone`; without `days` every day."""

    start: str
    end: str
    timezone: str = "UTC"
    days: tuple[str, ...] = ()

    def declaration(self) -> dict[str, Any]:
        window: dict[str, Any] = {"start": self.start, "end": self.end}
        if self.days:
            window["days"] = list(self.days)
        return {"timezone": self.timezone, "windows": [window]}


@dataclass(frozen=True, slots=True)
class Budget:
    """`cool_off_ms` None: suspended until resumed."""

    failures: int
    cool_off_ms: int | None = None

    def declaration(self) -> dict[str, Any]:
        cool_off = {} if self.cool_off_ms is None else {"coolOffMs": self.cool_off_ms}
        return {"failures": self.failures} | cool_off


@dataclass(frozen=True, slots=True)
class Backoff:
    """The wait doubles with each failure. Without jitter it can be told to the millisecond."""

    base_ms: int
    max_ms: int
    jitter: bool

    def declaration(self) -> dict[str, Any]:
        return {"baseMs": self.base_ms, "maxMs": self.max_ms, "jitter": self.jitter}


@dataclass(frozen=True, slots=True)
class Rule:
    """How the partitions of an upstream go into those of the asset; `waits`: only once all of them are there."""

    type: str | None = None
    waits: bool = False

    def declaration(self) -> str | dict[str, Any]:
        if self.type is not None and not self.waits:
            return self.type
        return _present({"type": self.type, "wait": "all" if self.waits else None})


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset, made by a workflow of its own or by one that makes two.

    `kind` says how it is partitioned: none, static, dynamic, minute, hour or day. `has_policy`: there is an
    `autoMaterialize` block, which opts it in unless `enabled` is False. `mappings` are rules by the id of the upstream,
    `*` is that of all others.
    """

    asset_id: str
    upstreams: tuple[str, ...]
    kind: str
    follows: bool
    has_policy: bool
    ttl_ms: int | None = None
    priority: int = 100
    when: str = "any"
    pool: str | None = None
    enabled: bool = True
    cadence_ms: int | None = None
    max_age_ms: int | None = None
    cron: str | None = None
    timezone: str = "UTC"
    debounce_ms: int | None = None
    max_delay_ms: int | None = None
    quiet: Quiet | None = None
    backoff: Backoff | None = None
    budget: Budget | None = None
    only: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    on_missing: bool = False
    lookback: int | None = None
    mappings: tuple[tuple[str, Rule], ...] = ()
    catch_up: str | None = None

    @property
    def opted_in(self) -> bool:
        return self.has_policy and self.enabled

    @property
    def considered(self) -> tuple[str, ...]:
        """The upstreams whose updates re-make it."""
        if not (self.opted_in and self.follows):
            return ()
        return tuple(u for u in self.upstreams if u not in self.ignore and (self.only is None or u in self.only))

    def rule_of(self, upstream: str) -> Rule:
        found = _NO_RULE
        for name, rule in self.mappings:
            if name == upstream:
                return rule
            if name == "*":
                found = rule
        return found

    def __str__(self) -> str:
        """What differs from an asset without any policy."""
        shown = (
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)
            if f.default is MISSING or getattr(self, f.name) != f.default
        )
        return f"Asset({', '.join(shown)})"

    def declaration(self) -> dict[str, Any]:
        declared: dict[str, Any] = {"assetId": self.asset_id}
        if self.kind == "static":
            declared["partitioning"] = {"type": "static", "keys": list(STATIC_KEYS)}
        elif self.kind == "dynamic":
            declared["partitioning"] = {"type": "dynamic"}
        elif self.kind in TIME_KINDS:
            windows = {"type": "timeWindow", "granularity": self.kind, "lookbackWindows": self.lookback}
            declared["partitioning"] = _present(windows)
        freshness = _present(
            {"ttlMs": self.ttl_ms, "cadenceMs": self.cadence_ms, "maxAgeMs": self.max_age_ms, "cron": self.cron}
        )
        if freshness:
            declared["freshness"] = freshness | {"timezone": self.timezone}
        if self.has_policy:
            declared["autoMaterialize"] = self._policy()
        return declared

    def _policy(self) -> dict[str, Any]:
        upstream = _present({"only": self.only, "ignore": self.ignore or None})
        return _present(
            {
                "enabled": None if self.enabled else False,
                "priority": self.priority,
                "when": self.when,
                "onUpstreamUpdate": self.follows or None,
                "pool": self.pool,
                "debounceMs": self.debounce_ms,
                "maxDelayMs": self.max_delay_ms,
                "quietHours": self.quiet.declaration() if self.quiet else None,
                "backoff": self.backoff.declaration() if self.backoff else None,
                "failureBudget": self.budget.declaration() if self.budget else None,
                "upstream": upstream or None,
                "onMissing": self.on_missing or None,
                "partitionMapping": self._mapping(),
                "catchUp": self.catch_up,
            }
        )

    def _mapping(self) -> object:
        """One rule for every upstream, or one for each."""
        if len(self.mappings) == 1 and self.mappings[0][0] == "*":
            return self.mappings[0][1].declaration()
        return {name: rule.declaration() for name, rule in self.mappings} or None


_NO_RULE = Rule()


@dataclass(frozen=True, slots=True)
class Workflow:
    slug: str
    assets: tuple[Asset, ...]
    quiet: Quiet | None = None

    def __str__(self) -> str:
        quiet = f" ({self.quiet})" if self.quiet else ""
        return f"{self.slug}{quiet}: {', '.join(map(str, self.assets))}"

    def definition(self, version: int = 1) -> dict[str, Any]:
        steps = []
        for number, asset in enumerate(self.assets):
            steps.append(
                {
                    "id": f"step{number}",
                    "name": f"Make {asset.asset_id}",
                    "type": "job",
                    "jobSlug": "job",
                    "consumes": [{"assetId": upstream} for upstream in asset.upstreams],
                    "produces": [asset.declaration()],
                }
            )
        definition = {"slug": self.slug, "name": self.slug, "version": version, "steps": steps}
        return definition | ({"quietHours": self.quiet.declaration()} if self.quiet else {})


@dataclass(frozen=True, slots=True)
class Action:
    """Something that happens from outside; `kind` says what, `args` to whom."""

    kind: str
    args: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}{self.args}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Rates are from 0 to 1. `generation` is that of the generator, see `generator.make_scenario`.

    Of a run's steps `slow_rate` take virtual time; a run that vanishes is given up after `vanish_ms`; of what it made
    `retell_rate` is told once more, later. Of the events `late_rate` are held back, past others or for a while. A pause
    or an outage of `catch_up_after_ms` is long. Of several `services` one leads; of several
    `shards` each has a service.
    """

    seed: int
    workflows: tuple[Workflow, ...]
    actions: tuple[Action, ...]
    max_runs: int
    workflow_limits: dict[str, int] = field(default_factory=dict)
    pool_limits: dict[str, int] = field(default_factory=dict)
    failure_rate: float = 0.0
    vanish_rate: float = 0.0
    same_data_rate: float = 0.0
    duplicate_rate: float = 0.0
    reorder_rate: float = 0.0
    late_rate: float = 0.0
    slow_rate: float = 0.0
    retell_rate: float = 0.0
    vanish_ms: int = 0
    catch_up_after_ms: int = 3_600_000
    services: int = 1
    shards: int = 1
    generation: int = 1

    @property
    def is_calm(self) -> bool:
        """No faults, so that the exact law (L4) can be checked too."""
        return self.seed % 4 == 0

    @property
    def assets(self) -> dict[str, Asset]:
        return {asset.asset_id: asset for workflow in self.workflows for asset in workflow.assets}

    def without(self, index: int) -> Scenario:
        return replace(self, actions=self.actions[:index] + self.actions[index + 1 :])


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items() if value is not None
    }
