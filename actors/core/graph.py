"""The asset graph: which workflow produces an asset, what lies upstream of it and what downstream.

Pure data and pure lookups. The graph is changed one workflow at a time, so a definition that changes costs its own
edges and not the size of the graph (law L12).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from operator import itemgetter

from actors.core.backoff import BackoffPolicy, FailureBudget
from actors.core.freshness import FreshnessPolicy
from actors.core.mappings import DEFAULT_MAPPING, PartitionMapping
from actors.core.partitions import Partitioning, is_key
from actors.core.quiet_hours import QuietHours

__all__ = [
    "AssetNode",
    "AssetSpec",
    "AutoMaterialize",
    "CatchUp",
    "CycleError",
    "Graph",
    "When",
    "WorkflowSpec",
]


class When(StrEnum):
    """How many of the considered upstreams must be newer before an update re-makes the asset."""

    ANY = "any"
    ALL = "all"


class CatchUp(StrEnum):
    """Which of the time windows that went stale during a long pause or outage are re-made by themselves after it."""

    LATEST = "latest"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class AutoMaterialize:
    """An opted-in asset's policy. `None` for a policy means the service's default from the settings.

    Lower `priority` goes first. `only` and `ignore` narrow the upstreams whose updates count. Nothing starts inside
    any of `quiet_hours`. `mappings` are the rules of single upstreams, `mapping` is that of all others.
    """

    on_upstream_update: bool = False
    priority: int = 100
    when: When = When.ANY
    on_missing: bool = False
    debounce_ms: int | None = None
    max_delay_ms: int | None = None
    quiet_hours: tuple[QuietHours, ...] = ()
    backoff: BackoffPolicy | None = None
    failure_budget: FailureBudget | None = None
    pool: str | None = None
    only: frozenset[str] | None = None
    ignore: frozenset[str] = frozenset()
    mapping: PartitionMapping = DEFAULT_MAPPING
    mappings: Mapping[str, PartitionMapping] = field(default_factory=dict)
    catch_up: CatchUp = CatchUp.LATEST


@dataclass(frozen=True, slots=True)
class AssetSpec:
    """One asset as one workflow declares it.

    `upstreams` are all the assets it is made from, those of other workflows only. `auto` is None when the asset did not
    opt in (no `autoMaterialize` block, or `enabled: false`). `considered` are the upstreams whose updates re-make the
    asset: none unless it opted in with `onUpstreamUpdate`. `waits_for_all_of` are those of which every partition that
    goes into one here must be there first.
    """

    asset_id: str
    workflow_slug: str
    step_id: str
    upstreams: tuple[str, ...] = ()
    freshness: FreshnessPolicy = field(default_factory=FreshnessPolicy)
    partitioning: Partitioning | None = None
    auto: AutoMaterialize | None = None
    # Kept, because every decision reads it several times.
    considered: tuple[str, ...] = field(init=False, repr=False, compare=False)
    waits_for_all_of: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        considered = _considered(self.upstreams, self.auto)
        object.__setattr__(self, "considered", considered)
        waits = tuple(u for u in considered if self.mapping_of(u).wait_for_all)
        object.__setattr__(self, "waits_for_all_of", waits)

    def mapping_of(self, upstream_id: str) -> PartitionMapping:
        """The rule of the edge from an upstream."""
        auto = self.auto
        return DEFAULT_MAPPING if auto is None else auto.mappings.get(upstream_id, auto.mapping)


@dataclass(frozen=True, slots=True)
class WorkflowSpec:
    """What deciding needs to know of a workflow: the assets it makes and the partitioning of those it only reads.

    `pools` are those that any of its assets names; a run of the workflow counts in each. `upstreams` are those of all
    its assets: the versions that a run captures when it starts.
    """

    slug: str
    version: int = 1
    assets: tuple[AssetSpec, ...] = ()
    consumed: Mapping[str, Partitioning | None] = field(default_factory=dict)
    # Kept, because every run needs them several times.
    pools: tuple[str, ...] = field(init=False, repr=False, compare=False)
    upstreams: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pools = {a.auto.pool for a in self.assets if a.auto is not None and a.auto.pool is not None}
        object.__setattr__(self, "pools", tuple(sorted(pools)))
        object.__setattr__(self, "upstreams", tuple(sorted({u for a in self.assets for u in a.upstreams})))

    def expected(self, partition_key: str | None) -> tuple[tuple[str, str | None], ...]:
        """The asset partitions that a run for this partition should make."""
        return tuple(
            (spec.asset_id, None if spec.partitioning is None else partition_key)
            for spec in self.assets
            if spec.partitioning is None or is_key(spec.partitioning, partition_key)
        )


class CycleError(ValueError):
    """Workflows feed each other in a circle; `path` names them, first and last alike."""

    def __init__(self, path: tuple[str, ...]) -> None:
        self.path = path
        super().__init__(
            f"workflows feed each other in a circle: {' -> '.join(path)}; drop one of these `consumes` to break it"
        )


@dataclass(slots=True)
class AssetNode:
    """One asset's place in the graph. Of several producers the opted-in one with the lowest (priority, slug) leads."""

    asset_id: str
    producers: dict[str, AssetSpec] = field(default_factory=dict)
    readers: dict[str, Partitioning | None] = field(default_factory=dict)
    consumers: dict[str, None] = field(default_factory=dict)
    spec: AssetSpec | None = None

    @property
    def partitioning(self) -> Partitioning | None:
        """The producer's partitioning; for an asset that no workflow here makes, what its readers say of it.

        If they do not agree, the first by slug is believed: the answer must not depend on who was read first.
        """
        if self.spec is not None:
            return self.spec.partitioning
        return min(
            ((slug, p) for slug, p in self.readers.items() if p is not None), key=itemgetter(0), default=("", None)
        )[1]

    def elect(self) -> None:
        self.spec = min(
            self.producers.values(),
            key=lambda s: (s.auto is None, s.auto.priority if s.auto else 0, s.workflow_slug),
            default=None,
        )


class Graph:
    """All workflows and assets.

    `consumers` of a node are the opted-in assets that follow its updates; a dict for its order, so that the same
    changes give the same order of messages in every process.
    """

    __slots__ = ("assets", "workflows")

    def __init__(self, workflows: Iterable[WorkflowSpec] = ()) -> None:
        self.workflows: dict[str, WorkflowSpec] = {}
        self.assets: dict[str, AssetNode] = {}
        for workflow in workflows:
            self.put(workflow)

    def put(self, workflow: WorkflowSpec) -> frozenset[str]:
        """Add or replace a workflow; return the ids of the assets whose producer, policy or edges may differ now.

        Raises:
            CycleError: the workflow would close a circle; the graph is left as it was.
        """
        previous = self.workflows.get(workflow.slug)
        touched = self._detach(workflow.slug)
        try:
            self._attach(workflow)
            self._check_cycle(workflow.slug)
        except CycleError:
            self._detach(workflow.slug)
            if previous is not None:
                self._attach(previous)
            raise
        return touched | self._ids_of(workflow)

    def remove(self, slug: str) -> frozenset[str]:
        """Drop a workflow; return the ids of the assets that it touched."""
        return self._detach(slug)

    def node(self, asset_id: str) -> AssetNode | None:
        return self.assets.get(asset_id)

    def feeds(self, slug: str) -> set[str]:
        """The workflows that read anything that `slug` makes."""
        return {
            reader
            for spec in self.workflows[slug].assets
            for reader in self.assets[spec.asset_id].readers
            if reader != slug
        }

    def led_by(self, slug: str) -> list[AssetSpec]:
        """The assets of which this workflow leads the production: they follow its runs, not those of others that also
        make them."""
        workflow = self.workflows.get(slug)
        return [spec for spec in workflow.assets if self.assets[spec.asset_id].spec is spec] if workflow else []

    @staticmethod
    def _ids_of(workflow: WorkflowSpec) -> frozenset[str]:
        return frozenset([*(a.asset_id for a in workflow.assets), *workflow.consumed])

    def _attach(self, workflow: WorkflowSpec) -> None:
        self.workflows[workflow.slug] = workflow
        for asset_id, partitioning in workflow.consumed.items():
            self._node(asset_id).readers[workflow.slug] = partitioning
        for spec in workflow.assets:
            node = self._node(spec.asset_id)
            node.producers[workflow.slug] = spec
            self._elect(node)

    def _detach(self, slug: str) -> frozenset[str]:
        workflow = self.workflows.pop(slug, None)
        if workflow is None:
            return frozenset()
        for spec in workflow.assets:
            node = self.assets[spec.asset_id]
            del node.producers[slug]
            self._elect(node)
        for asset_id in workflow.consumed:
            self.assets[asset_id].readers.pop(slug, None)
        touched = self._ids_of(workflow)
        for asset_id in touched:
            node = self.assets[asset_id]
            if not (node.producers or node.readers or node.consumers):
                del self.assets[asset_id]
        return touched

    def _elect(self, node: AssetNode) -> None:
        before = node.spec.considered if node.spec else ()
        node.elect()
        after = node.spec.considered if node.spec else ()
        for upstream in set(before) - set(after):
            self.assets[upstream].consumers.pop(node.asset_id, None)
        for upstream in after:
            self._node(upstream).consumers[node.asset_id] = None

    def _node(self, asset_id: str) -> AssetNode:
        node = self.assets.get(asset_id)
        if node is None:
            node = self.assets[asset_id] = AssetNode(asset_id)
        return node

    def _check_cycle(self, start: str) -> None:
        trail: list[str] = [start]
        stack = [iter(sorted(self.feeds(start)))]
        seen: set[str] = set()
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
                trail.pop()
            elif step == start:
                raise CycleError((*trail, start))
            elif step not in seen:
                seen.add(step)
                trail.append(step)
                stack.append(iter(sorted(self.feeds(step))))


def _considered(upstreams: tuple[str, ...], auto: AutoMaterialize | None) -> tuple[str, ...]:
    if auto is None or not auto.on_upstream_update:
        return ()
    return tuple(u for u in upstreams if u not in auto.ignore and (auto.only is None or u in auto.only))
