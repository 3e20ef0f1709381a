"""What actors are given in unit tests: a catalog in memory, an observer that keeps what it was told, and a stage.

Both implement the production Protocols. The catalog keeps the rules of the real one that actors rely on: one claim for
each (workflow, partition), limits, bases, one `asset.expired` for each version, news in the order of what happened.
Nothing is answered and no news is told before the test says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from pykka import ActorRef

from actors.catalog.store import (
    ActiveRun,
    AssetRecord,
    BasisOutdated,
    Busy,
    Gone,
    LimitReached,
    RunRecord,
    RunStatus,
    SubmitOutcome,
    Submitted,
)
from actors.core.backoff import BackoffPolicy, FailureBudget
from actors.core.decide import Decision, Defaults, Reason
from actors.core.freshness import Expiry
from actors.core.graph import WorkflowSpec
from actors.core.pauses import Pause, Pauses
from actors.core.state import Dismissal, FailureRecord, Materialization
from actors.messages import (
    AssetExpired,
    AssetPassedOver,
    AssetProduced,
    AssetsLoaded,
    PauseChanged,
    PausesLoaded,
    QueuedRunLoaded,
    RunEnded,
    RunEnqueued,
    RunRequest,
    RunRequested,
    RunsAnswered,
    RunsLoaded,
    StreamNews,
    Unmade,
    WorkflowLoaded,
    WorkflowsLoaded,
    WorkflowUpdated,
)
from actors.runtime import PooledActor, SteppedDispatcher, VirtualClock, VirtualTimers
from actors.surroundings import Surroundings

NOON = 1_772_366_400_000
"""2026-03-01T12:00:00Z"""

Key = tuple[str, str | None]


class MemoryCatalog:
    """Implements `CatalogPort`. Questions are answered by `answer`, as of that moment; `stream` is the news to tell."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._pos = 0
        self.is_slow = False  # what is found travels until `answer` is called again
        self._questions: deque[Callable[[], None]] = deque()
        self.workflows: dict[str, WorkflowSpec] = {}
        self.pauses: dict[str, Pause] = {}
        self.latest: dict[Key, Materialization] = {}
        self.failures: dict[Key, FailureRecord] = {}
        self.dismissals: dict[Key, Dismissal] = {}
        self.counters: dict[str, int] = {}
        self.active: dict[str, RunRequest] = {}
        self.inputs: dict[str, Mapping[str, int]] = {}
        self.queued: dict[str, RunRecord] = {}
        self.expiries: list[tuple[str, str | None, int, Expiry]] = []
        self.submitted: list[RunRequest] = []
        self.outcomes: deque[SubmitOutcome] = deque()
        self.stream: deque[StreamNews] = deque()

    # -- what is asked ------------------------------------------------------------------------------------------------

    def load_workflows(self, receiver: ActorRef[Any]) -> None:
        self._ask(receiver, self._workflows_loaded)

    def load_workflow(self, slug: str, receiver: ActorRef[Any]) -> None:
        self._ask(receiver, lambda: WorkflowLoaded(slug, self.workflows.get(slug)))

    def load_pauses(self, receiver: ActorRef[Any]) -> None:
        self._ask(receiver, lambda: PausesLoaded(Pauses(dict(self.pauses))))

    def load_assets(
        self,
        asset_ids: Sequence[str],
        upstream_ids: Sequence[str],
        histories_of: Sequence[str],
        receiver: ActorRef[Any],
    ) -> None:
        def loaded() -> AssetsLoaded:
            records = {a: self._record(a) for a in (*asset_ids, *upstream_ids)}
            return AssetsLoaded(tuple(asset_ids), records, self._active(), self._pos)

        self._ask(receiver, loaded)

    def load_runs(self, receiver: ActorRef[Any]) -> None:
        self._ask(receiver, lambda: RunsLoaded(self._active(), tuple(self.queued.values())))

    def load_queued_run(self, run_id: str, receiver: ActorRef[Any]) -> None:
        self._ask(receiver, lambda: QueuedRunLoaded(self.queued[run_id]) if run_id in self.queued else None)

    def submit(self, requests: Sequence[RunRequest], receiver: ActorRef[Any]) -> None:
        self._ask(receiver, lambda: RunsAnswered(tuple((request, self._claim(request)) for request in requests)))

    def expire(self, asset_id: str, partition_key: str | None, version: int, expiry: Expiry) -> None:
        self.expiries.append((asset_id, partition_key, version, expiry))
        made = self.latest.get((asset_id, partition_key))
        if made is not None and made.version == version and made.expired_version < version:
            expired = replace(made, expired_version=version, expired_reason=expiry.reason)
            self.latest[asset_id, partition_key] = expired
            self.stream.append(AssetExpired(asset_id, partition_key, version, expiry.reason, self.next_pos()))

    def pass_over(self, asset_id: str, dismissals: Mapping[str, Dismissal]) -> None:
        for key, left in dismissals.items():
            self.dismissals[asset_id, key] = left
            self.stream.append(AssetPassedOver(asset_id, key, left, self.next_pos()))

    def answer(self, most: int = 1_000) -> int:
        """Answer what has been asked so far; how many questions that were."""
        count = min(most, len(self._questions))
        for _ in range(count):
            self._questions.popleft()()
        return count

    # -- what happens ------------------------------------------------------------------------------------------------

    def put(self, *workflows: WorkflowSpec) -> None:
        for workflow in workflows:
            self.workflows[workflow.slug] = workflow
            self.stream.append(WorkflowUpdated(workflow.slug, self.next_pos()))

    def remove(self, slug: str) -> None:
        del self.workflows[slug]
        self.stream.append(WorkflowUpdated(slug, self.next_pos()))

    def produce(
        self, asset_id: str, partition_key: str | None = None, *, run_id: str | None = None, changed: bool = True
    ) -> Materialization:
        version = self.counters[asset_id] = self.counters.get(asset_id, 0) + 1
        before = self.latest.get((asset_id, partition_key))
        changed_version = version if changed or before is None else before.changed_version
        inputs = self.inputs.get(run_id or "", dict(self.counters))
        made = Materialization(version, changed_version, self._clock.now_ms(), run_id=run_id, inputs=inputs)
        self.latest[asset_id, partition_key] = made
        self.failures.pop((asset_id, partition_key), None)
        self.dismissals.pop((asset_id, partition_key), None)
        self.stream.append(AssetProduced(asset_id, partition_key, made, self.next_pos()))
        return made

    def queue(self, run_id: str, slug: str, partition_key: str | None = None) -> None:
        trigger = {"type": "manual"}
        self.queued[run_id] = RunRecord(
            run_id, slug, partition_key, RunStatus.QUEUED, {}, trigger, self._clock.now_ms()
        )
        self.stream.append(RunRequested(run_id, self.next_pos()))

    def start(self, run_id: str) -> None:
        """The run reads the versions of now."""
        self.inputs[run_id] = {u: self.counters.get(u, 0) for u in self.active[run_id].workflow.upstreams}
        request = self.active[run_id]
        self.stream.append(
            RunEnqueued(run_id, request.workflow.slug, request.partition_key, self.next_pos(), is_started=True)
        )

    def succeed(self, run_id: str) -> None:
        """The run has made all that was expected of it."""
        request = self.active[run_id]
        for asset_id, key in request.workflow.expected(request.partition_key):
            self.produce(asset_id, key, run_id=run_id)
        self.end(run_id, "succeeded")

    def end(self, run_id: str, outcome: str) -> None:
        """The run is over; if it did not succeed, it has made nothing."""
        request = self.active.pop(run_id)
        unmade: list[Unmade] = []
        for where in request.workflow.expected(request.partition_key) if outcome != "succeeded" else ():
            if outcome == "canceled":
                version = self.latest[where].version if where in self.latest else 0
                self.dismissals[where] = Dismissal(version, dict(self.counters))
            else:
                before = self.failures[where].failures if where in self.failures else 0
                self.failures[where] = FailureRecord(before + 1, self._clock.now_ms(), run_id)
            unmade.append(Unmade(*where, self.failures.get(where), self.dismissals.get(where)))
        slug, key = request.workflow.slug, request.partition_key
        self.stream.append(RunEnded(run_id, slug, key, outcome, tuple(unmade), self.next_pos()))

    def cancel_queued(self, run_id: str) -> None:
        run = self.queued.pop(run_id)
        self.stream.append(RunEnded(run_id, run.workflow_slug, run.partition_key, "canceled", (), self.next_pos()))

    def next_pos(self) -> int:
        self._pos += 1
        return self._pos

    def pause(self, scope: str, until_ms: int | None = None) -> None:
        self.pauses[scope] = Pause(scope, self._clock.now_ms(), until_ms)
        self.stream.append(PauseChanged(scope, self.next_pos()))

    def unpause(self, scope: str) -> None:
        del self.pauses[scope]
        self.stream.append(PauseChanged(scope, self.next_pos()))

    # -- inside --------------------------------------------------------------------------------------------------------

    def _ask(self, receiver: ActorRef[Any], answer: Callable[[], object]) -> None:
        self._questions.append(partial(self._reply, receiver, answer))

    def _reply(self, receiver: ActorRef[Any], answer: Callable[[], object]) -> None:
        found = answer()
        if found is None or not receiver.is_alive():
            return
        if self.is_slow:
            self._questions.append(partial(receiver.tell, found))
        else:
            receiver.tell(found)

    def _workflows_loaded(self) -> WorkflowsLoaded:
        return WorkflowsLoaded(tuple(self.workflows.values()), self._active(), self._pos, Pauses(dict(self.pauses)))

    def _active(self) -> tuple[ActiveRun, ...]:
        return tuple(
            ActiveRun(r.run_id, r.workflow.slug, r.partition_key, RunStatus.ENQUEUED) for r in self.active.values()
        )

    def _record(self, asset_id: str) -> AssetRecord:
        def mine(table: Mapping[Key, Any]) -> dict[str | None, Any]:
            return {key: value for (owner, key), value in table.items() if owner == asset_id}

        counter = self.counters.get(asset_id, 0)
        return AssetRecord(mine(self.latest), mine(self.failures), mine(self.dismissals), counter)

    def _claim(self, request: RunRequest) -> SubmitOutcome:
        self.submitted.append(request)
        outcome = self.outcomes.popleft() if self.outcomes else self._verdict(request)
        if isinstance(outcome, Submitted):
            self.queued.pop(request.run_id, None)
            self.active[request.run_id] = request
            slug, key = request.workflow.slug, request.partition_key
            self.stream.append(RunEnqueued(request.run_id, slug, key, self.next_pos()))
        return outcome

    def _verdict(self, request: RunRequest) -> SubmitOutcome:
        if request.workflow.slug not in self.workflows or (request.queued and request.run_id not in self.queued):
            return Gone("it is not there any more")
        for run in self.active.values():
            if (run.workflow.slug, run.partition_key) == (request.workflow.slug, request.partition_key):
                return Busy(run.run_id)
        outdated = [
            b.asset_id
            for b in (want.basis for want in request.wants)
            if (b.version, b.failures) != self._basis((b.asset_id, b.partition_key))
        ]
        if outdated:
            return BasisOutdated(tuple(outdated))
        return LimitReached("global") if len(self.active) >= request.limits.max_runs else Submitted(request.run_id)

    def _basis(self, where: Key) -> tuple[int, int]:
        version = self.latest[where].version if where in self.latest else 0
        return version, self.failures[where].failures if where in self.failures else 0


@dataclass
class RecordingObserver:
    """Implements `Observer`: keeps the name of each call with what was said."""

    calls: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def of(self, name: str) -> list[dict[str, object]]:
        return [said for called, said in self.calls if called == name]

    def decided(
        self,
        *,
        asset_id: str,
        workflow_slug: str | None,
        partition_key: str | None,
        decision: Decision,
        cause: str,
        run_id: str | None,
        failures: int,
        next_look_ms: int | None,
        is_news: bool,
    ) -> None:
        self._keep("decided", asset_id=asset_id, partition_key=partition_key, decision=decision, cause=cause)

    def run_submitted(
        self,
        *,
        run_id: str,
        workflow_slug: str,
        partition_key: str | None,
        trigger: str,
        reason: str,
        cause: str,
        waited_ms: int | None,
    ) -> None:
        self._keep("run_submitted", run_id=run_id, trigger=trigger, reason=reason, cause=cause, waited_ms=waited_ms)

    def run_deduplicated(self, *, workflow_slug: str, partition_key: str | None, asset_id: str, because: str) -> None:
        self._keep("run_deduplicated", asset_id=asset_id, because=because)

    def run_delayed(self, *, workflow_slug: str, partition_key: str | None, limit: str) -> None:
        self._keep("run_delayed", workflow_slug=workflow_slug, limit=limit)

    def run_ended(
        self,
        *,
        run_id: str,
        workflow_slug: str,
        partition_key: str | None,
        trigger: str,
        reason: str,
        outcome: str,
        error: str | None,
        duration_ms: int | None,
    ) -> None:
        self._keep("run_ended", run_id=run_id, trigger=trigger, outcome=outcome)

    def run_lost(self, *, run_id: str, workflow_slug: str, partition_key: str | None, error: str) -> None:
        self._keep("run_lost", run_id=run_id, error=error)

    def run_relaunched(self, *, run_id: str, workflow_slug: str, partition_key: str | None) -> None:
        self._keep("run_relaunched", run_id=run_id)

    def failed(self, *, asset_id: str, partition_key: str | None, failures: int, reason: Reason) -> None:
        self._keep("failed", asset_id=asset_id, failures=failures, reason=reason)

    def stale_changed(self, delta: int) -> None:
        self._keep("stale_changed", delta=delta)

    def queue_changed(self, *, active: int, queued: int) -> None:
        self._keep("queue_changed", active=active, queued=queued)

    def dead_letter(self, *, reason: str) -> None:
        self._keep("dead_letter", reason=reason)

    def undelivered(self, *, message: str, receiver: str) -> None:
        self._keep("undelivered", message=message, receiver=receiver)

    def child_restarted(self, *, name: str, error: str, restarts: int) -> None:
        self._keep("child_restarted", name=name, error=error, restarts=restarts)

    def workflow_changed(self, *, slug: str, change: str) -> None:
        self._keep("workflow_changed", slug=slug, change=change)

    def catalog_unavailable(self, *, error: str) -> None:
        self._keep("catalog_unavailable", error=error)

    def catalog_available(self) -> None:
        self._keep("catalog_available")

    def _keep(self, called: str, /, **said: object) -> None:
        self.calls.append((called, said))


class Inbox(PooledActor):
    """Stands where another actor would: keeps what it is told, in order."""

    def __init__(self, mail: list[Any]) -> None:
        super().__init__()
        self._mail = mail

    def on_receive(self, message: object) -> None:
        self._mail.append(message)


class Stage:
    """Clock, timers, catalog, observer and a dispatcher that runs when told to."""

    def __init__(self) -> None:
        self.clock = VirtualClock(NOON)
        self.timers = VirtualTimers(self.clock)
        self.catalog = MemoryCatalog(self.clock)
        self.observer = RecordingObserver()
        self.dispatcher = SteppedDispatcher()
        self._runs = 0
        self.around = Surroundings(
            clock=self.clock,
            timers=self.timers,
            catalog=self.catalog,
            observer=self.observer,
            defaults=Defaults(BackoffPolicy(10_000, 60_000, jitter=False), FailureBudget(failures=3)),
            new_run_id=self._new_run_id,
        )

    def _new_run_id(self) -> str:
        self._runs += 1
        return f"run-{self._runs}"

    def inbox(self, link: str) -> list[Any]:
        """Put an `Inbox` in the place of `registry`, `enqueuer` or `supervisor`."""
        mail: list[Any] = []
        setattr(self.around.links, link, self.dispatcher.spawn(Inbox, mail))
        return mail

    def run(self) -> None:
        """Actors do all they can; no question is answered and no news told."""
        self.dispatcher.run_until_idle(max_steps=100_000)

    def settle(self) -> None:
        """Actors run, questions are answered and news is told to the registry, until nothing is left to do."""
        self.run()
        while self.catalog.answer() or self.tell_news():
            self.run()

    def tell_news(self) -> int:
        count = len(self.catalog.stream)
        while self.catalog.stream:
            self.around.to_registry(self.catalog.stream.popleft())
        return count

    def tell(self, ref: ActorRef[Any], *messages: object) -> None:
        for message in messages:
            ref.tell(message)
        self.run()

    def ask(self, ref: ActorRef[Any], message: object) -> Any:
        answer = ref.ask(message, block=False)
        self.run()
        return answer.get(timeout=1)

    def advance(self, ms: int) -> None:
        """Time passes, and each timer fires at its time."""
        end_ms = self.clock.now_ms() + ms
        while (at_ms := self.timers.next_at()) is not None and at_ms <= end_ms:
            self.clock.advance(max(0, at_ms - self.clock.now_ms()))
            self.timers.fire_due()
            self.run()
        self.clock.advance(end_ms - self.clock.now_ms())


@contextmanager
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    assert made.dispatcher.stop() == []


def only(items: Sequence[Any], kind: type[Any]) -> list[Any]:
    return [item for item in items if isinstance(item, kind)]
