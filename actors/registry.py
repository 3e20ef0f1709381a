"""GraphRegistryActor: holds the graph, and routes what was produced and what expired along its edges.

It is the only one that talks to asset actors, so each of them hears everything in one order. It starts an actor for
each asset that has something to do, on first use for the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import assert_never

from actors.active_runs import ActiveRuns
from actors.asset_directory import AssetDirectory, SpawnAsset
from actors.catalog.store import ActiveRun
from actors.core.graph import AssetNode, CycleError, Graph, WorkflowSpec
from actors.core.partitions import Partitioning
from actors.core.state import Cause
from actors.core.waves import Reached, WaveNumbers, wave_at, wave_below
from actors.messages import (
    AssetAnnounced,
    AssetExpired,
    AssetPassedOver,
    AssetProduced,
    AssetResumed,
    AssetsLoaded,
    ChildFailed,
    CountLoaded,
    DumpAsset,
    FindSpec,
    FromShard,
    IsLoaded,
    ListAssets,
    Look,
    PauseChanged,
    PauseEnded,
    PausesLoaded,
    Refresh,
    ReloadAsset,
    Reported,
    ReportWanted,
    RestartAsset,
    RunEnded,
    RunEnqueued,
    RunHeldBack,
    RunRefused,
    RunRequested,
    Settled,
    ShardsSilent,
    TellShards,
    UpstreamChanged,
    UpstreamPending,
    UpstreamReported,
    UpstreamSettled,
    WaveBegan,
    WillBeMade,
    WorkflowLoaded,
    WorkflowsKnown,
    WorkflowsLoaded,
    WorkflowUpdated,
)
from actors.neighbours import Neighbours
from actors.pause_watch import PauseWatch
from actors.runtime import PooledActor
from actors.surroundings import Surroundings

__all__ = ["GraphRegistryActor", "RegistryMessage"]


RegistryMessage = (
    AssetProduced
    | AssetExpired
    | AssetResumed
    | AssetPassedOver
    | AssetAnnounced
    | FromShard
    | TellShards
    | ShardsSilent
    | WorkflowUpdated
    | RunRequested
    | RunEnqueued
    | RunEnded
    | Settled
    | WillBeMade
    | Reported
    | RunRefused
    | RunHeldBack
    | PauseChanged
    | PausesLoaded
    | PauseEnded
    | ReloadAsset
    | WorkflowsLoaded
    | WorkflowLoaded
    | AssetsLoaded
    | Refresh
    | RestartAsset
    | DumpAsset
    | FindSpec
    | ListAssets
    | CountLoaded
    | IsLoaded
)


class GraphRegistryActor(PooledActor):
    """Routes along edges; an event costs the edges below it, never the size of the graph (law L12)."""

    def __init__(self, around: Surroundings, spawn_asset: SpawnAsset, *, refresh_ms: int) -> None:
        super().__init__()
        self._around = around
        self._refresh_ms = refresh_ms
        self._graph = Graph()
        self._neighbours = Neighbours(self._graph, around, lambda: self.actor_ref)
        self._assets = AssetDirectory(self._graph, around, self._neighbours, spawn_asset, lambda: self.actor_ref)
        self._runs = ActiveRuns()
        self._waves = WaveNumbers()
        self._pauses = PauseWatch(self._graph, around, self._assets, self._waves, lambda: self.actor_ref)
        self._heard_pos = 0
        self._is_graph_loaded = False
        self._loaded_pos = 0
        self._held_back: set[str] = set()
        self._questions = 1  # the graph is read at the start
        self._postponed: list[ReportWanted] = []

    def on_start(self) -> None:
        self._around.catalog.load_workflows(self.actor_ref)

    def on_receive(self, message: RegistryMessage) -> object:
        match message:
            case AssetProduced():
                self._on_produced(message)
            case Settled():
                self._on_settled(message)
                self._neighbours.pass_on(message)
            case WillBeMade():
                self._on_will_be_made(message)
            case Reported():
                self._on_reported(message)
                self._neighbours.pass_on(message)
            case AssetAnnounced():
                self._on_announced(message)
            case FromShard():
                self._on_signal(message)
            case TellShards():
                across = [asset_id for asset_id in self._assets.ids() if self._neighbours.has_to_tell(asset_id)]
                self._assets.ask_again(across, self._waves.last)
            case ShardsSilent():
                for asset_id in self._neighbours.silent_since(message.asked):
                    self._on_reported(Reported(asset_id))
            case RunEnqueued():
                self._on_run_enqueued(message)
            case RunEnded():
                self._on_run_ended(message)
            case AssetExpired() | AssetResumed() | AssetPassedOver():
                self._tell(message.asset_id, message)
            case RunRequested():
                self._around.to_enqueuer(message)
            case RunRefused():
                self._on_run_refused(message)
            case PauseChanged():
                # What was reported before it is no answer to a question that follows from it.
                self._waves.reach(message.pos)
                self._ask_for_pauses()
            case RunHeldBack():
                self._held_back.update(message.asset_ids)
                self._ask_for_pauses()
            case PausesLoaded():
                held_back, self._held_back = self._held_back, set()
                self._pauses.take(message.pauses, "pause changed", held_back)
                self._answered()
            case PauseEnded():
                self._pauses.drop_ended()
            case ReloadAsset():
                self._assets.load([message.asset_id])
            case AssetsLoaded():
                self._assets.on_loaded(message, self._runs, self._waves.last)
            case WorkflowUpdated():
                self._questions += 1
                self._around.catalog.load_workflow(message.slug, self.actor_ref)
            case WorkflowLoaded():
                self._change(message.slug, message.workflow)
                self._answered()
            case WorkflowsLoaded():
                self._on_workflows_loaded(message)
            case Refresh():
                self._around.catalog.load_workflows(self.actor_ref)
            case RestartAsset():
                self._assets.restart(message.asset_id)
            case DumpAsset():
                return self._assets.ref(message.asset_id)
            case FindSpec():
                node = self._graph.node(message.asset_id)
                return node.spec if node is not None else None
            case ListAssets():
                return self._assets.ids()
            case CountLoaded():
                return self._assets.read, self._assets.to_read
            case IsLoaded():
                return self._is_graph_loaded and not self._assets.is_loading
            case _:
                assert_never(message)
        return None

    def on_stop(self) -> None:
        self._assets.stop()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.on_stop()
        self._around.to_supervisor(ChildFailed.by(exception_value, "registry"))

    # -- produced, settled, runs -------------------------------------------------------------------------------------

    def _on_produced(self, news: AssetProduced) -> None:
        node = self._graph.node(news.asset_id)
        if node is None:
            return
        self._tell(news.asset_id, news, needs_actor=news.made.freshness is not None)
        if news.made.changed_version < news.made.version or not node.consumers:
            return
        wave = self._waves.next(news.pos)
        reached = wave_below(self._graph, news.asset_id, news.partition_key, news.made.produced_at_ms)
        self._tell_pending(reached, wave, news.pos)
        cause = Cause(news.asset_id, news.partition_key, news.made.changed_version)
        for below in reached:
            if below.keys is not None:
                self._tell(below.asset_id, UpstreamChanged(cause, below.keys, news.pos, wave))

    def _tell_pending(self, reached: Iterable[Reached], wave: int, pos: int = 0) -> None:
        """Tell what will be re-made above each. Other shards know the wave by its event alone: without one, or when it
        is told again and they have dealt with it, nobody waits for what they keep."""
        is_shared = pos > self._heard_pos
        for below in reached:
            own, others = self._neighbours.split(below.pending)
            if own:
                self._tell(below.asset_id, UpstreamPending(wave, own))
            if others and is_shared:
                self._tell(below.asset_id, UpstreamPending(wave_at(pos), others))
        self._heard_pos = max(self._heard_pos, pos)

    def _on_settled(self, settled: Settled) -> None:
        node = self._graph.node(settled.asset_id)
        if node is not None:
            news = UpstreamSettled(settled.asset_id, settled.partition_key, settled.wave, settled.until_ms)
            for consumer_id in node.consumers:
                self._tell(consumer_id, news)

    def _on_will_be_made(self, found: WillBeMade) -> None:
        node = self._graph.node(found.asset_id)
        if node is None or not node.consumers:
            return
        self._begin_wave(found.asset_id, found.partition_key)
        self._neighbours.will_be_made(found)

    def _begin_wave(self, asset_id: str, partition_key: str | None, pos: int = 0) -> None:
        """A partition is about to be made again: those below it wait."""
        wave = self._waves.next(pos)
        now_ms = self._around.clock.now_ms()
        self._tell_pending(wave_below(self._graph, asset_id, partition_key, now_ms, is_made=False), wave, pos)
        self._tell(asset_id, WaveBegan(partition_key, wave))

    def _on_announced(self, news: AssetAnnounced) -> None:
        node = self._graph.node(news.asset_id)
        # It may be declared otherwise by now: then nothing is made, and nobody says that it was dealt with.
        if node is not None and node.spec is not None and node.spec.auto is not None:
            self._begin_wave(news.asset_id, news.partition_key, news.pos)

    def _on_reported(self, report: Reported) -> None:
        node = self._graph.node(report.asset_id)
        for consumer_id in node.consumers if node else ():
            self._tell(consumer_id, UpstreamReported(report.asset_id, report.wave, report.keys))

    def _on_signal(self, told: FromShard) -> None:
        match told.signal:
            case Settled() as settled:
                self._on_settled(settled)
            case Reported() as report:
                if self._neighbours.takes(report):
                    self._on_reported(report)
            case ReportWanted() as wanted if self._questions:
                self._postponed.append(wanted)
            case ReportWanted() as wanted:
                self._report_to_shard(wanted)
            case _:
                assert_never(told.signal)

    def _report_to_shard(self, wanted: ReportWanted) -> None:
        for asset_id in wanted.asset_ids:
            if asset_id not in self._assets:
                self._neighbours.pass_on(Reported(asset_id, wanted.wave))
        here = [asset_id for asset_id in wanted.asset_ids if asset_id in self._assets]
        # What comes before a question in the stream was heard by now, so all up to its wave was.
        self._waves.last = max(self._waves.last, wanted.wave)
        self._assets.ask_again(here, self._waves.last)

    def _answered(self) -> None:
        """The catalog has answered a question that news had raised. Another shard that had the same news asks what
        follows from it here: that is known when no question is open."""
        self._questions = max(0, self._questions - 1)
        if not self._questions:
            postponed, self._postponed = self._postponed, []
            for wanted in postponed:
                self._report_to_shard(wanted)

    def _on_run_enqueued(self, news: RunEnqueued) -> None:
        if self._runs.is_over(news.run_id) or news.pos <= self._loaded_pos:
            return
        if not self._neighbours.shard.owns(news.workflow_slug):
            return
        self._runs.began((news.workflow_slug, news.partition_key), news.run_id, news.pos)
        self._around.to_enqueuer(news)
        for spec in self._graph.led_by(news.workflow_slug):
            if (spec.partitioning is None) == (news.partition_key is None):
                self._tell(spec.asset_id, news)

    def _on_run_ended(self, news: RunEnded) -> None:
        self._runs.ended((news.workflow_slug, news.partition_key), news.run_id)
        # The enqueuer first: an asset that wants the next run at once must find the slot free.
        self._around.to_enqueuer(news)
        unmade = {entry.asset_id for entry in news.unmade}
        for spec in self._graph.led_by(news.workflow_slug):
            if spec.asset_id in unmade or (spec.partitioning is None) == (news.partition_key is None):
                self._tell(spec.asset_id, news)

    def _on_run_refused(self, refused: RunRefused) -> None:
        node = self._graph.node(refused.asset_id)
        if self._runs.is_over(refused.active_run_id) or node is None or node.spec is None:
            self._tell(refused.asset_id, Look(refused.partition_key))
            return
        self._runs.claimed_by((node.spec.workflow_slug, refused.partition_key), refused.active_run_id)
        self._tell(refused.asset_id, refused)

    def _ask_for_pauses(self) -> None:
        self._questions += 1
        self._around.catalog.load_pauses(self.actor_ref)

    # -- the graph ---------------------------------------------------------------------------------------------------

    def _on_workflows_loaded(self, loaded: WorkflowsLoaded) -> None:
        self._pauses.take(loaded.pauses, "pause changed")
        found = {workflow.slug: workflow for workflow in loaded.workflows}
        touched: set[str] = set()
        for slug in [slug for slug in self._graph.workflows if slug not in found]:
            touched |= self._graph.remove(slug)
            self._around.observer.workflow_changed(slug=slug, change="removed")
        for slug, workflow in found.items():
            if self._graph.workflows.get(slug) != workflow:
                touched |= self._put(workflow, "updated" if self._is_graph_loaded else "loaded")
        self._around.to_enqueuer(WorkflowsKnown(dict(self._graph.workflows), is_complete=True))
        if not self._is_graph_loaded:
            # Runs that were active then are in what was loaded; older news of them is late.
            self._loaded_pos = loaded.pos
            # Waves of what came before are dealt with in what is read of the assets.
            self._waves.reach(loaded.pos)
        self._neighbours.hear_of(touched, self._graph.workflows, anew=not self._is_graph_loaded)
        is_first, self._is_graph_loaded = not self._is_graph_loaded, True
        self._settle(touched)
        self._reconcile(loaded.active, loaded.pos)
        self._around.timers.tell_at(self._around.clock.now_ms() + self._refresh_ms, self.actor_ref, Refresh())
        if is_first:
            self._answered()

    def _change(self, slug: str, workflow: WorkflowSpec | None) -> None:
        previous = self._graph.workflows.get(slug)
        if previous == workflow:
            return
        before = self._partitionings(previous, workflow)
        if workflow is None:
            touched = self._graph.remove(slug)
            self._around.observer.workflow_changed(slug=slug, change="removed")
        else:
            touched = self._put(workflow, "updated")
        self._neighbours.hear_of(touched, [slug])
        self._around.to_enqueuer(WorkflowsKnown({slug: self._graph.workflows.get(slug)}, is_complete=False))
        self._settle(touched)
        # Which of their partitions an upstream concerns may differ now.
        after = self._partitionings(previous, workflow)
        below = {c for a in before if before[a] != after[a] and (n := self._graph.node(a)) for c in n.consumers}
        self._assets.load(sorted(c for c in below.difference(touched) if c in self._assets))

    def _partitionings(self, *workflows: WorkflowSpec | None) -> dict[str, Partitioning | None]:
        """Of every asset that these workflows make or read: how it is partitioned, as the graph has it now."""
        asset_ids = {a for w in workflows if w is not None for a in (*(s.asset_id for s in w.assets), *w.consumed)}
        nodes = {asset_id: self._graph.node(asset_id) for asset_id in asset_ids}
        return {asset_id: node.partitioning if node else None for asset_id, node in nodes.items()}

    def _put(self, workflow: WorkflowSpec, change: str) -> frozenset[str]:
        try:
            touched = self._graph.put(workflow)
        except CycleError as error:
            self._around.observer.workflow_changed(slug=workflow.slug, change=f"refused: {error}")
            return frozenset()
        self._around.observer.workflow_changed(slug=workflow.slug, change=change)
        return touched

    def _settle(self, touched: Iterable[str]) -> None:
        """Let the actors follow what was declared anew; nobody need wait for an asset that is not re-made any more."""
        asset_ids = sorted(touched)
        self._assets.follow(asset_ids)
        for asset_id in asset_ids:
            node = self._graph.node(asset_id)
            if node is not None and not _is_remade(node):
                for consumer_id in node.consumers:
                    self._tell(consumer_id, UpstreamSettled(asset_id, None, self._waves.last, every_key=True))
                    self._tell(consumer_id, UpstreamReported(asset_id))

    def _reconcile(self, active: tuple[ActiveRun, ...], pos: int) -> None:
        for (slug, partition_key), run_id in self._runs.lost(active, pos):
            self._on_run_ended(RunEnded(run_id, slug, partition_key, "unknown", (), 0))
            self._assets.load([spec.asset_id for spec in self._graph.led_by(slug) if spec.asset_id in self._assets])
        self._runs.take_over(active, pos)

    def _tell(self, asset_id: str, message: object, *, needs_actor: bool = False) -> None:
        self._assets.tell(asset_id, message, needs_actor=needs_actor)


def _is_remade(node: AssetNode) -> bool:
    return node.spec is not None and bool(node.spec.considered)
