"""EnqueuerActor: serialises run submissions. It keeps what is wanted, in order and within the limits.

Order and limits are kept here; the truth about both is the catalog's claim script, which may refuse. What is wanted is
not stored: assets ask again after a restart, and decide again whenever a run of theirs has ended.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import assert_never

from actors.catalog.store import (
    ActiveRun,
    BasisOutdated,
    Busy,
    Gone,
    LimitReached,
    Limits,
    Paused,
    RunRecord,
    RunStatus,
    SubmitOutcome,
    Submitted,
)
from actors.core.graph import WorkflowSpec
from actors.core.run_queue import Capacity, RunKey, RunQueue, Slot
from actors.messages import (
    ChildFailed,
    CountQueue,
    OpenQueue,
    QueuedRunLoaded,
    QueueDump,
    ReloadAsset,
    RetryRuns,
    RunEnded,
    RunEnqueued,
    RunHeldBack,
    RunRefused,
    RunRequest,
    RunRequested,
    RunsAnswered,
    RunsLoaded,
    SetCapacity,
    SubmitRuns,
    WantRun,
    WithdrawRun,
    WorkflowsKnown,
    at_ms_of,
)
from actors.runtime import PooledActor
from actors.surroundings import Surroundings
from actors.triggers import because_of, trigger_of
from actors.wanted import Started, Submission, Wanted

__all__ = ["EnqueuerActor", "EnqueuerMessage"]

RETRY_MS = 1_000
ENDED_KEPT = 10_000

EnqueuerMessage = (
    WantRun
    | WithdrawRun
    | RunRequested
    | QueuedRunLoaded
    | RunEnqueued
    | RunEnded
    | RunsAnswered
    | RunsLoaded
    | WorkflowsKnown
    | SetCapacity
    | OpenQueue
    | SubmitRuns
    | RetryRuns
    | CountQueue
)


class EnqueuerActor(PooledActor):
    """Turns wants into submitted runs, one run for each (workflow, partition); one that is not open keeps them."""

    def __init__(self, around: Surroundings, capacity: Capacity, aging_ms: int, *, is_open: bool = True) -> None:
        super().__init__()
        self._around = around
        self._queue = RunQueue(capacity, aging_ms=aging_ms)
        self._wanted: dict[str, Wanted] = {}
        self._submitting: dict[RunKey, Submission] = {}
        self._started: dict[str, Started] = {}
        self._workflows: dict[str, WorkflowSpec] = {}
        self._is_open = is_open
        self._is_ready = False
        self._believed_active: frozenset[str] = frozenset()
        self._is_flush_due = False
        self._set_aside: list[Wanted] = []
        self._ended: OrderedDict[str, None] = OrderedDict()

    def on_receive(self, message: EnqueuerMessage) -> QueueDump | None:
        match message:
            case WantRun():
                self._on_want(message)
            case WithdrawRun():
                self._on_withdraw(message)
            case RunEnqueued():
                self._on_run_enqueued(message)
            case RunEnded():
                self._on_run_ended(message)
            case RunsAnswered():
                for request, outcome in message.answers:
                    self._on_answer(request, outcome)
                self._flush_soon()
            case SubmitRuns():
                self._submit()
            case RetryRuns():
                self._retry()
            case RunRequested():
                self._around.catalog.load_queued_run(message.run_id, self.actor_ref)
            case QueuedRunLoaded():
                self._on_queued(message.run)
            case RunsLoaded():
                self._on_runs_loaded(message)
            case WorkflowsKnown():
                self._on_workflows(message)
            case SetCapacity():
                self._queue.resize(message.capacity)
                self._flush_soon()
            case OpenQueue():
                self._is_open = True
                if self._is_ready:
                    # News of runs may be on the way still; the catalog knows them.
                    self._is_ready = False
                    self._load_runs()
            case CountQueue():
                return self._dump()
            case _:
                assert_never(message)
        return None

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._around.to_supervisor(ChildFailed.by(exception_value, "enqueuer"))

    # -- what is wanted ----------------------------------------------------------------------------------------------

    def _on_want(self, want: WantRun, *, since_ms: int | None = None) -> None:
        key = (want.workflow_slug, want.partition_key)
        if key in self._submitting:
            # The answer decides: if the run starts, the asset hears of it; if not, the want counts again.
            self._submitting[key].late.append(want)
            return
        if self._queue.is_busy(key):
            self._around.observer.run_deduplicated(
                workflow_slug=want.workflow_slug,
                partition_key=want.partition_key,
                asset_id=want.asset_id,
                because="a run is active; the asset decides again when it has ended",
            )
            return
        if since_ms is None:
            since_ms = self._around.clock.now_ms()
        wanted = self._wanted.setdefault(_auto_item(key), Wanted(key, since_ms=since_ms))
        wanted.since_ms = min(wanted.since_ms, since_ms)
        wanted.wants[want.asset_id] = want
        self._put(_auto_item(key), wanted)

    def _on_withdraw(self, withdrawn: WithdrawRun) -> None:
        key = (withdrawn.workflow_slug, withdrawn.partition_key)
        if key in self._submitting:
            late = self._submitting[key].late
            late[:] = [want for want in late if want.asset_id != withdrawn.asset_id]
        wanted = self._wanted.get(_auto_item(key))
        if wanted is None or wanted.wants.pop(withdrawn.asset_id, None) is None or wanted.wants:
            return
        self._drop(_auto_item(key))
        self._around.observer.run_deduplicated(
            workflow_slug=withdrawn.workflow_slug,
            partition_key=withdrawn.partition_key,
            asset_id=withdrawn.asset_id,
            because="no longer needed",
        )

    def _on_queued(self, run: RunRecord) -> None:
        if run.status is not RunStatus.QUEUED or run.run_id in self._wanted:
            return
        wanted = Wanted((run.workflow_slug, run.partition_key), queued=run, since_ms=run.created_at_ms)
        self._wanted[run.run_id] = wanted
        self._put(run.run_id, wanted)

    def _put(self, item: str, wanted: Wanted) -> None:
        slot = Slot(wanted.key, self._pools(wanted.key[0]))
        self._queue.put(item, slot, priority=wanted.priority, since_ms=wanted.since_ms)
        self._flush_soon()

    def _drop(self, item: str) -> None:
        self._wanted.pop(item, None)
        self._queue.remove(item)

    # -- what is active ----------------------------------------------------------------------------------------------

    def _on_run_enqueued(self, news: RunEnqueued) -> None:
        if news.run_id in self._ended:
            return
        started = self._started.get(news.run_id)
        if started is None:
            self._started[news.run_id] = Started("unknown", "unknown", at_ms_of(news.pos))
        elif news.is_started:
            started.since_ms = at_ms_of(news.pos)
        key = (news.workflow_slug, news.partition_key)
        self._queue.occupy(news.run_id, Slot(key, self._pools(news.workflow_slug)))
        self._drop(news.run_id)
        # Whatever assets wanted of this key, they decide again when the run has ended.
        self._drop(_auto_item(key))
        self._answered(key, news.run_id)
        self._report_queue()

    def _on_run_ended(self, news: RunEnded) -> None:
        self._ended[news.run_id] = None
        if len(self._ended) > ENDED_KEPT:
            self._ended.popitem(last=False)
        # A run asked for by hand may be canceled before it was ever claimed.
        self._drop(news.run_id)
        # It may end before its submission is answered; what its assets want from now on counts.
        self._answered((news.workflow_slug, news.partition_key), news.run_id)
        if self._queue.release(news.run_id):
            started = self._started.pop(news.run_id, None)
            self._around.observer.run_ended(
                run_id=news.run_id,
                workflow_slug=news.workflow_slug,
                partition_key=news.partition_key,
                trigger=started.trigger if started else "unknown",
                reason=started.reason if started else "unknown",
                outcome=news.outcome,
                error=news.error,
                duration_ms=at_ms_of(news.pos) - started.since_ms if started and news.pos else None,
            )
        self._retry()
        self._flush_soon()
        self._report_queue()

    def _load_runs(self) -> None:
        self._believed_active = frozenset(self._queue.active).difference(s.run_id for s in self._submitting.values())
        self._around.catalog.load_runs(self.actor_ref)

    def _on_runs_loaded(self, loaded: RunsLoaded) -> None:
        """Take over what the catalog says: news of a run may have been lost while the registry was down."""
        for run_id in sorted(self._believed_active.difference(run.run_id for run in loaded.active)):
            slot = self._queue.active.get(run_id)
            if slot is not None:
                self._on_run_ended(RunEnded(run_id, slot.key[0], slot.key[1], "unknown", (), 0))
        for active in loaded.active:
            # What was read may be older than the news of a run's end.
            if active.run_id not in self._ended:
                key = (active.workflow_slug, active.partition_key)
                self._queue.occupy(active.run_id, Slot(key, self._pools(active.workflow_slug)))
        self._is_ready = True
        for run in loaded.queued:
            self._on_queued(run)
        self._flush_soon()

    def _on_workflows(self, known: WorkflowsKnown) -> None:
        if known.is_complete:
            self._workflows.clear()
        self._forget_retired(known.workflows)
        for slug, workflow in known.workflows.items():
            if workflow is None:
                self._workflows.pop(slug, None)
            else:
                self._workflows[slug] = workflow
        if known.is_complete:
            # The pools of a run are known by its workflow, so the runs are read after the workflows.
            self._load_runs()
        self._flush_soon()

    def _forget_retired(self, workflows: Mapping[str, WorkflowSpec | None]) -> None:
        """Drop what assets wanted that these workflows do not make any more.

        Their actors do not withdraw it when they stop: one that took the place of another may have asked by then.
        """
        for item, wanted in list(self._wanted.items()):
            slug = wanted.key[0]
            if wanted.queued is not None or slug not in workflows:
                continue
            workflow = workflows[slug]
            made = {spec.asset_id for spec in workflow.assets} if workflow is not None else set()
            wanted.wants = {asset_id: want for asset_id, want in wanted.wants.items() if asset_id in made}
            if not wanted.wants:
                self._drop(item)

    # -- handing over ------------------------------------------------------------------------------------------------

    def _flush_soon(self) -> None:
        if not self._is_flush_due and self._queue:
            self._is_flush_due = True
            self.actor_ref.tell(SubmitRuns())

    def _submit(self) -> None:
        self._is_flush_due = False
        if not (self._is_ready and self._is_open):
            return
        requests: list[RunRequest] = []
        while (taken := self._queue.take()) is not None:
            item, slot = taken
            wanted = self._wanted.pop(item)
            request = self._request(wanted)
            self._queue.occupy(request.run_id, slot)
            self._submitting[wanted.key] = Submission(request.run_id)
            self._started[request.run_id] = Started(
                str(request.trigger.get("type")), str(request.trigger.get("reason")), self._around.clock.now_ms()
            )
            requests.append(request)
        if requests:
            self._around.catalog.submit(requests, self.actor_ref)
        self._report_queue()

    def _request(self, wanted: Wanted) -> RunRequest:
        slug, partition_key = wanted.key
        workflow = self._workflows.get(slug) or WorkflowSpec(slug)
        capacity = self._queue.capacity
        wants = tuple(sorted(wanted.wants.values(), key=lambda want: (want.priority, want.asset_id)))
        return RunRequest(
            run_id=wanted.queued.run_id if wanted.queued else self._around.new_run_id(),
            workflow=workflow,
            partition_key=partition_key,
            trigger=wanted.queued.trigger if wanted.queued else trigger_of(wants),
            limits=Limits(
                capacity.max_runs,
                capacity.workflows.get(slug),
                {pool: capacity.pools[pool] for pool in workflow.pools if pool in capacity.pools},
            ),
            wants=wants,
            queued=wanted.queued,
            since_ms=wanted.since_ms,
        )

    def _on_answer(self, request: RunRequest, outcome: SubmitOutcome) -> None:
        key = (request.workflow.slug, request.partition_key)
        late = self._answered(key, request.run_id)
        if isinstance(outcome, Submitted):
            self._on_submitted(request)
            return
        self._queue.release(request.run_id)
        self._started.pop(request.run_id, None)
        retry: tuple[WantRun, ...] = (*request.wants, *late)
        match outcome:
            case Busy(active_run_id=run_id):
                for want in retry:
                    self._around.to_registry(RunRefused(want.asset_id, want.partition_key, run_id))
                self._count_duplicate(request, f"run {run_id} is active")
                retry = ()
                if request.queued is not None:
                    self._retry_later(request, ())
            case BasisOutdated(asset_ids=asset_ids):
                for asset_id in asset_ids:
                    self._around.to_registry(ReloadAsset(asset_id))
                self._count_duplicate(request, "it was made, or failed, since it was wanted")
                retry = tuple(want for want in retry if want.asset_id not in asset_ids)
            case Paused(asset_ids=asset_ids):
                # They, and what they asked for meanwhile, decide again by what is paused now.
                self._around.to_registry(RunHeldBack(asset_ids))
                self._count_duplicate(request, f"paused: {', '.join(asset_ids)}")
                retry = tuple(want for want in retry if want.asset_id not in asset_ids)
            case LimitReached(limit=limit):
                self._around.observer.run_delayed(
                    workflow_slug=request.workflow.slug, partition_key=request.partition_key, limit=limit
                )
                self._retry_later(request, retry)
                retry = ()
            case Gone():
                if request.queued is None:
                    # It cannot be run, now or when asked again at once; what is wanted once it can be is decided anew.
                    retry = ()
            case _:
                assert_never(outcome)
        for want in retry:
            self._on_want(want, since_ms=request.since_ms)

    def _answered(self, key: RunKey, run_id: str) -> list[WantRun]:
        """The submission of a run is over; returns what was wanted of its key meanwhile."""
        submission = self._submitting.get(key)
        if submission is None or submission.run_id != run_id:
            return []
        del self._submitting[key]
        return submission.late

    def _on_submitted(self, request: RunRequest) -> None:
        now_ms = self._around.clock.now_ms()
        events = [want.event_at_ms for want in request.wants if want.event_at_ms is not None]
        self._around.observer.run_submitted(
            run_id=request.run_id,
            workflow_slug=request.workflow.slug,
            partition_key=request.partition_key,
            trigger=str(request.trigger.get("type")),
            reason=str(request.trigger.get("reason")),
            cause=because_of(request),
            waited_ms=max(0, now_ms - max(events)) if events else None,
        )

    def _retry_later(self, request: RunRequest, wants: Sequence[WantRun]) -> None:
        """Set aside what the catalog holds back for a reason not seen from here, until a run ends or time passes."""
        if not self._set_aside:
            self._around.timers.tell_at(self._around.clock.now_ms() + RETRY_MS, self.actor_ref, RetryRuns())
        key = (request.workflow.slug, request.partition_key)
        by_asset = {want.asset_id: want for want in wants}
        self._set_aside.append(Wanted(key, by_asset, request.queued, request.since_ms))

    def _retry(self) -> None:
        set_aside, self._set_aside = self._set_aside, []
        for wanted in set_aside:
            if wanted.queued is not None:
                self._on_queued(wanted.queued)
            for want in wanted.wants.values():
                self._on_want(want, since_ms=wanted.since_ms)

    def _count_duplicate(self, request: RunRequest, because: str) -> None:
        for want in request.wants:
            self._around.observer.run_deduplicated(
                workflow_slug=request.workflow.slug,
                partition_key=request.partition_key,
                asset_id=want.asset_id,
                because=because,
            )

    def _pools(self, slug: str) -> tuple[str, ...]:
        workflow = self._workflows.get(slug)
        return workflow.pools if workflow else ()

    def _report_queue(self) -> None:
        self._around.observer.queue_changed(
            active=len(self._queue.active), queued=len(self._queue) + len(self._set_aside)
        )

    def _dump(self) -> QueueDump:
        waiting = [self._wanted[item] for item, _ in self._queue.waiting()] + self._set_aside
        return QueueDump(
            active=tuple(
                ActiveRun(run_id, slot.key[0], slot.key[1], RunStatus.ENQUEUED)
                for run_id, slot in self._queue.active.items()
            ),
            wanted=tuple((*wanted.key, wanted.priority) for wanted in waiting),
            queued=tuple(wanted.queued.run_id for wanted in waiting if wanted.queued is not None),
        )


def _auto_item(key: RunKey) -> str:
    return f"auto:{key[0]}\x1f{key[1] if key[1] is not None else ''}"
