"""The parts of a definition that say what an asset is: freshness, partitioning, when it is re-made by itself.

Each part turns itself into the record of `core` that decisions are made with, and lets that record check it,
so that what loads can be decided on.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    StrictBool,
    field_validator,
    model_validator,
)

from actors.catalog.sections import AssetId, Label, Milliseconds, MillisecondsOrZero, Section, blame
from actors.core.backoff import BackoffPolicy, FailureBudget
from actors.core.freshness import FreshnessPolicy
from actors.core.graph import AutoMaterialize, CatchUp, When
from actors.core.mappings import DEFAULT_MAPPING, MappingType, PartitionMapping
from actors.core.partitions import (
    DynamicPartitioning,
    Granularity,
    Partitioning,
    StaticPartitioning,
    TimeWindowPartitioning,
)
from actors.core.quiet_hours import QuietHours, QuietWindow, is_always_quiet, parse_time
from actors.core.wallclock import zone

__all__ = ["AssetDeclaration", "AutoMaterializeSection", "FreshnessSection", "PartitioningSection"]

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DEFAULT_BACKOFF: Final = BackoffPolicy()
_DEFAULT_BUDGET: Final = FailureBudget()


def _zone_name(name: str) -> str:
    zone(name)
    return name


def _quoted(value: Any) -> Any:
    # YAML 1.1 reads an unquoted 22:00 as the number 1320: digits to the base of 60.
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"the number {value} is no time; write it in quotes, such as '22:00'")
    return value


def _time(text: str) -> str:
    parse_time(text)
    return text


Timezone = Annotated[str, Field(max_length=100), AfterValidator(_zone_name)]
TimeOfDay = Annotated[str, BeforeValidator(_quoted), Field(max_length=5), AfterValidator(_time)]
Multiplier = Annotated[float, Field(strict=True, ge=1, le=1_000, allow_inf_nan=False)]
PositiveCount = Annotated[int, Field(strict=True, gt=0, le=1_000_000)]


class FreshnessSection(Section):
    """When a materialization stops being fresh; an empty one never ends it."""

    ttl_ms: Milliseconds | None = None
    cadence_ms: Milliseconds | None = None
    max_age_ms: Milliseconds | None = None
    cron: str | None = Field(default=None, max_length=200)
    timezone: Timezone = "UTC"

    @field_validator("cron")
    @classmethod
    def _readable_cron(cls, cron: str | None) -> str | None:
        FreshnessPolicy(cron=cron)
        return cron

    def to_policy(self) -> FreshnessPolicy:
        return FreshnessPolicy(self.ttl_ms, self.cadence_ms, self.max_age_ms, self.cron, self.timezone)


class StaticSection(Section):
    """A fixed list of partition keys."""

    type: Literal["static"]
    keys: tuple[Annotated[str, Field(max_length=255)], ...] = Field(min_length=1, max_length=10_000)

    @field_validator("keys")
    @classmethod
    def _usable(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        StaticPartitioning(keys)
        return keys

    def to_partitioning(self) -> StaticPartitioning:
        return StaticPartitioning(self.keys)


class TimeWindowSection(Section):
    """One partition for each window of the wall clock; `format` is the form of its keys."""

    type: Literal["timeWindow"]
    granularity: Granularity
    timezone: Timezone = "UTC"
    format: str | None = Field(default=None, max_length=200)
    lookback_windows: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] | None = None

    @model_validator(mode="after")
    def _readable_format(self) -> Self:
        # The other fields are sound by now, so whatever is wrong is the format.
        try:
            self.to_partitioning()
        except ValueError as error:
            raise blame([(("format",), str(error))]) from None
        return self

    def to_partitioning(self) -> TimeWindowPartitioning:
        return TimeWindowPartitioning(self.granularity, self.timezone, self.format, self.lookback_windows)


class DynamicSection(Section):
    """Partition keys that come into being with the first materialization."""

    type: Literal["dynamic"]
    max_keys: PositiveCount | None = None
    retention_days: PositiveCount | None = None

    def to_partitioning(self) -> DynamicPartitioning:
        return DynamicPartitioning(self.max_keys)


PartitioningSection = Annotated[StaticSection | TimeWindowSection | DynamicSection, Field(discriminator="type")]


class QuietWindowSection(Section):
    """From `start` to `end` on the wall clock; an end that is not after the start lies on the next day."""

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = ()
    start: TimeOfDay
    end: TimeOfDay

    @model_validator(mode="after")
    def _in_the_day(self) -> Self:
        try:
            self.to_window()
        except ValueError as error:
            raise blame([(("start",), str(error))]) from None
        return self

    def to_window(self) -> QuietWindow:
        days = frozenset(_DAYS.index(day) for day in self.days)
        return QuietWindow(days, parse_time(self.start), parse_time(self.end))


class QuietHoursSection(Section):
    """Hours of the week in which nothing starts by itself."""

    timezone: Timezone = "UTC"
    windows: tuple[QuietWindowSection, ...] = Field(default=(), max_length=100)

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if is_always_quiet(self.to_quiet_hours()):
            reason = "the windows cover the whole week, so nothing would ever start; leave a minute free"
            raise blame([(("windows",), reason)])
        return self

    def to_quiet_hours(self) -> QuietHours:
        return QuietHours(tuple(window.to_window() for window in self.windows), self.timezone)


class BackoffSection(Section):
    """The wait before a retry; what is left out is as in the service's built-in policy."""

    base_ms: Milliseconds = _DEFAULT_BACKOFF.base_ms
    max_ms: Milliseconds = _DEFAULT_BACKOFF.max_ms
    multiplier: Multiplier = _DEFAULT_BACKOFF.multiplier
    jitter: StrictBool = _DEFAULT_BACKOFF.jitter

    @model_validator(mode="after")
    def _cap_above_base(self) -> Self:
        try:
            self.to_policy()
        except ValueError as error:
            raise blame([(("maxMs",), str(error))]) from None
        return self

    def to_policy(self) -> BackoffPolicy:
        return BackoffPolicy(self.base_ms, self.max_ms, self.multiplier, self.jitter)


class FailureBudgetSection(Section):
    """How many failures in a row suspend the asset; without `coolOffMs` (or with 0) until it is resumed."""

    failures: Annotated[int, Field(strict=True, gt=0, le=10_000)] = _DEFAULT_BUDGET.failures
    cool_off_ms: MillisecondsOrZero = 0

    def to_budget(self) -> FailureBudget:
        return FailureBudget(self.failures, self.cool_off_ms or None)


class UpstreamSection(Section):
    """Which upstreams' updates count: `only` these, or all but those to `ignore`."""

    only: tuple[AssetId, ...] | None = Field(default=None, max_length=1_000)
    ignore: tuple[AssetId, ...] | None = Field(default=None, max_length=1_000)

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.only is not None and self.ignore is not None:
            raise ValueError("both 'only' and 'ignore' are given; keep one of them")
        return self


class MappingSection(Section):
    """How the partitions of an upstream go into those of the asset. A text stands for the `type` alone."""

    type: MappingType | None = None
    wait: When = When.ANY

    @model_validator(mode="before")
    @classmethod
    def _type_alone(cls, data: Any) -> Any:
        return {"type": data} if isinstance(data, str) else data

    def to_mapping(self) -> PartitionMapping:
        return PartitionMapping(self.type, self.wait is When.ALL)


def _is_one_mapping(data: Any) -> bool:
    """One rule for every upstream, not an object of rules by asset id."""
    return isinstance(data, str) or (isinstance(data, dict) and isinstance(data.get("type", data.get("wait")), str))


def _by_asset(data: Any) -> Any:
    return {EVERY_UPSTREAM: data} if _is_one_mapping(data) else data


EVERY_UPSTREAM: Final = "*"
MappingsByAsset = Annotated[dict[AssetId, MappingSection], BeforeValidator(_by_asset), Field(max_length=1_000)]


class AutoMaterializeSection(Section):
    """The policy by which the asset is re-made by itself. It opts the asset in, unless `enabled` is false."""

    enabled: StrictBool = True
    on_upstream_update: StrictBool = False
    priority: Annotated[int, Field(strict=True, ge=-1_000_000, le=1_000_000)] = 100
    parameter_defaults: dict[str, JsonValue] = Field(default_factory=dict)
    when: When = When.ANY
    on_missing: StrictBool = False
    debounce_ms: Milliseconds | None = None
    max_delay_ms: Milliseconds | None = None
    quiet_hours: QuietHoursSection | None = None
    backoff: BackoffSection | None = None
    failure_budget: FailureBudgetSection | None = None
    pool: Label | None = None
    upstream: UpstreamSection = UpstreamSection()
    partition_mapping: MappingsByAsset = Field(default_factory=dict)
    catch_up: CatchUp = CatchUp.LATEST

    @model_validator(mode="after")
    def _delay_holds_debounce(self) -> Self:
        debounce, longest = self.debounce_ms, self.max_delay_ms
        if debounce is not None and longest is not None and longest < debounce:
            raise blame([(("maxDelayMs",), f"must be at least debounceMs ({debounce}), got {longest}")])
        return self

    def to_policy(self, also_quiet: tuple[QuietHours, ...] = ()) -> AutoMaterialize | None:
        """None when the block says `enabled: false`. Nothing starts inside the hours that are `also_quiet` either."""
        if not self.enabled:
            return None
        only = self.upstream.only
        quiet = (self.quiet_hours.to_quiet_hours(),) if self.quiet_hours else ()
        mappings = {asset_id: section.to_mapping() for asset_id, section in self.partition_mapping.items()}
        return AutoMaterialize(
            on_upstream_update=self.on_upstream_update,
            priority=self.priority,
            when=self.when,
            on_missing=self.on_missing,
            debounce_ms=self.debounce_ms,
            max_delay_ms=self.max_delay_ms,
            quiet_hours=tuple(hours for hours in (*also_quiet, *quiet) if hours.windows),
            backoff=self.backoff.to_policy() if self.backoff else None,
            failure_budget=self.failure_budget.to_budget() if self.failure_budget else None,
            pool=self.pool,
            only=None if only is None else frozenset(only),
            ignore=frozenset(self.upstream.ignore or ()),
            mapping=mappings.pop(EVERY_UPSTREAM, DEFAULT_MAPPING),
            mappings=mappings,
            catch_up=self.catch_up,
        )


class AssetDeclaration(Section):
    """An asset that a step produces or consumes."""

    asset_id: AssetId
    schema_: dict[str, JsonValue] | None = Field(default=None, alias="schema")
    freshness: FreshnessSection = FreshnessSection()
    partitioning: PartitioningSection | None = None
    auto_materialize: AutoMaterializeSection | None = None

    def to_partitioning(self) -> Partitioning | None:
        return None if self.partitioning is None else self.partitioning.to_partitioning()
