"""The catalog for actors: their questions wait in lanes, each served by a thread that may block (see `lanes`).

Submissions are taken in batches, whatever has gathered at once. Until the service leads, expiries are held back.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog
from pykka import ActorDeadError, ActorRef

from actors.catalog.definitions import WorkflowDefinition
from actors.catalog.lanes import Lane
from actors.catalog.store import (
    ActiveRun,
    CatalogUnavailable,
    Deposed,
    Gone,
    JsonObject,
    NewRun,
    Paused,
    RunStatus,
    Store,
    SubmitOutcome,
    Submitted,
)
from actors.core.freshness import Expiry
from actors.core.partitions import PartitionKeyError
from actors.core.pauses import Pauses
from actors.core.quiet_hours import quiet_until_all
from actors.core.shards import WHOLE, Shard
from actors.core.state import Dismissal
from actors.execution.launcher import LaunchFailed, RunLauncher, RunOrder
from actors.execution.parameters import run_parameters
from actors.messages import (
    AssetsLoaded,
    PausesLoaded,
    QueuedRunLoaded,
    RunRequest,
    RunsAnswered,
    RunsLoaded,
    WorkflowLoaded,
    WorkflowsLoaded,
)
from actors.runtime import Clock

__all__ = ["CatalogGateway"]

_log = structlog.get_logger(__name__)

Receiver = ActorRef[Any]

HISTORY_READ = 1_000
SUBMIT_AT_ONCE = 100
"""Enough to hide the way to the server; few enough that it works on some runs while the next are prepared here."""


@dataclass(frozen=True, slots=True)
class _Submission:
    """Runs to be submitted, and who wants to know how that went."""

    requests: tuple[RunRequest, ...]
    receiver: Receiver


class CatalogGateway:
    """Implements `CatalogPort` over a blocking store, and hands claimed runs to the launcher."""

    def __init__(
        self,
        store: Store,
        launcher: RunLauncher,
        clock: Clock,
        make_lane: Callable[[str], Lane],
        *,
        is_leading: bool = True,
        shard: Shard = WHOLE,
    ) -> None:
        self._store = store
        self._launcher = launcher
        self._clock = clock
        self._shard = shard
        self._definitions: dict[str, WorkflowDefinition] = {}
        self._waiting: deque[_Submission] = deque()
        self._taken: list[_Submission] = []
        self.reads: Final = make_lane("catalog-reads")
        self._submissions = make_lane("catalog-submissions")
        self._expiries = make_lane("catalog-expiries")
        self._holding = threading.Lock()  # guards the two below
        self._is_leading = is_leading
        self._held: dict[tuple[str, str | None], Callable[[], None]] = {}

    def start(self) -> None:
        for lane in (self.reads, self._submissions, self._expiries):
            lane.start()

    def stop(self) -> None:
        """What is under way is finished; what waits is given up: the catalog has all of it still."""
        for lane in (self.reads, self._submissions, self._expiries):
            lane.stop()

    def lead(self) -> None:
        """Write from now on, and what was held back: the catalog knows which of it the last leader has written."""
        with self._holding:
            self._is_leading = True
            held, self._held = self._held, {}
        for work in held.values():
            self._expiries.put(work)

    def expired(self, asset_id: str, partition_key: str | None) -> None:
        """Take note that the expiry was published, by whoever leads."""
        with self._holding:
            self._held.pop((asset_id, partition_key), None)

    def load_workflows(self, receiver: Receiver) -> None:
        self.reads.put(partial(self._load_workflows, receiver))

    def load_workflow(self, slug: str, receiver: Receiver) -> None:
        # At once: a run submitted from here on is made with the definition that is to be read, not the former.
        self._definitions.pop(slug, None)
        self.reads.put(partial(self._load_workflow, slug, receiver))

    def load_pauses(self, receiver: Receiver) -> None:
        self.reads.put(partial(self._load_pauses, receiver))

    def load_assets(
        self, asset_ids: Sequence[str], upstream_ids: Sequence[str], histories_of: Sequence[str], receiver: Receiver
    ) -> None:
        self.reads.put(partial(self._load_assets, tuple(asset_ids), tuple(upstream_ids), tuple(histories_of), receiver))

    def load_runs(self, receiver: Receiver) -> None:
        self.reads.put(partial(self._load_runs, receiver))

    def load_queued_run(self, run_id: str, receiver: Receiver) -> None:
        self.reads.put(partial(self._load_queued_run, run_id, receiver))

    def submit(self, requests: Sequence[RunRequest], receiver: Receiver) -> None:
        for start in range(0, len(requests), SUBMIT_AT_ONCE):
            self._waiting.append(_Submission(tuple(requests[start : start + SUBMIT_AT_ONCE]), receiver))
            self._submissions.put(self._submit_waiting)

    def expire(self, asset_id: str, partition_key: str | None, version: int, expiry: Expiry) -> None:
        self._write((asset_id, partition_key), partial(self._expire, asset_id, partition_key, version, expiry))

    def pass_over(self, asset_id: str, dismissals: Mapping[str, Dismissal]) -> None:
        with self._holding:
            if not self._is_leading:
                return  # whoever leads decides the same; later it might undo a resumption
        self._expiries.put(partial(self._pass_over, asset_id, dismissals))

    def _write(self, of: tuple[str, str | None], work: Callable[[], None]) -> None:
        """Put it into the lane of expiries once the service leads; of the same thing only the latest."""
        with self._holding:
            if not self._is_leading:
                self._held[of] = work
                return
        self._expiries.put(work)

    # -- on the threads of the lanes ---------------------------------------------------------------------------------

    def _load_workflows(self, receiver: Receiver) -> None:
        pos = self._store.position()
        definitions = self._store.workflows()
        self._definitions = {definition.slug: definition for definition in definitions}
        active = self._active_runs()
        specs = tuple(definition.to_spec() for definition in definitions)
        _tell(receiver, WorkflowsLoaded(specs, active, pos, self._pauses()))

    def _load_workflow(self, slug: str, receiver: Receiver) -> None:
        definition = self._store.workflow(slug)
        if definition is None:
            self._definitions.pop(slug, None)
        else:
            self._definitions[slug] = definition
        _tell(receiver, WorkflowLoaded(slug, definition.to_spec() if definition else None))

    def _load_pauses(self, receiver: Receiver) -> None:
        _tell(receiver, PausesLoaded(self._pauses()))

    def _pauses(self) -> Pauses:
        return Pauses(self._store.pauses(self._clock.now_ms()))

    def _load_assets(
        self,
        asset_ids: tuple[str, ...],
        upstream_ids: tuple[str, ...],
        histories_of: tuple[str, ...],
        receiver: Receiver,
    ) -> None:
        pos = self._store.position()
        active = self._active_runs()
        records = self._store.read_assets([*asset_ids, *upstream_ids])
        histories = {asset_id: self._changes_of(asset_id) for asset_id in histories_of}
        _tell(receiver, AssetsLoaded(asset_ids, records, active, pos, histories))

    def _changes_of(self, asset_id: str) -> tuple[tuple[str | None, int, int], ...]:
        entries = self._store.history(asset_id, limit=HISTORY_READ)
        return tuple(
            (entry.partition_key, made.version, made.produced_at_ms)
            for entry in entries
            if (made := entry.materialization).changed_version == made.version
        )

    def _load_runs(self, receiver: Receiver) -> None:
        active = self._active_runs()
        queued = tuple(run for run in self._store.queued_runs() if self._shard.owns(run.workflow_slug))
        _tell(receiver, RunsLoaded(active, queued))

    def _active_runs(self) -> tuple[ActiveRun, ...]:
        """Those of this shard's workflows."""
        return tuple(run for run in self._store.active_runs() if self._shard.owns(run.workflow_slug))

    def _load_queued_run(self, run_id: str, receiver: Receiver) -> None:
        run = self._store.run(run_id)
        if run is not None and run.status is RunStatus.QUEUED and self._shard.owns(run.workflow_slug):
            _tell(receiver, QueuedRunLoaded(run))

    def _expire(self, asset_id: str, partition_key: str | None, version: int, expiry: Expiry) -> None:
        self._store.expire(
            asset_id,
            partition_key,
            version=version,
            expires_at_ms=expiry.at_ms,
            reason=expiry.reason,
            now_ms=self._clock.now_ms(),
        )

    def _pass_over(self, asset_id: str, dismissals: Mapping[str, Dismissal]) -> None:
        self._store.pass_over(asset_id, dismissals)

    def _submit_waiting(self) -> None:
        """Submit what has gathered, in one go; the pieces of work behind this one find less to do, or nothing."""
        while self._waiting and sum(len(taken.requests) for taken in self._taken) < SUBMIT_AT_ONCE:
            self._taken.append(self._waiting.popleft())
        requests = [request for submission in self._taken for request in submission.requests]
        try:
            outcomes = self._submit(requests)
        except (CatalogUnavailable, Deposed):
            raise  # this piece of work is repeated, with what was taken; or it is another's now
        except Exception as error:
            # Without an answer they would keep their slots. Those that were submitted after all are told of as news.
            _log.exception("submission.failed", runs=len(requests))
            outcomes = {request.run_id: Gone(f"{type(error).__name__}: {error}") for request in requests}
        taken, self._taken = self._taken, []
        for submission in taken:
            answers = tuple((request, outcomes[request.run_id]) for request in submission.requests)
            _tell(submission.receiver, RunsAnswered(answers))

    def _submit(self, requests: Sequence[RunRequest]) -> dict[str, SubmitOutcome]:
        runs: list[NewRun] = []
        outcomes: dict[str, SubmitOutcome] = {}
        for request, stored in zip(requests, self._stored_parameters(requests), strict=True):
            run = self._new_run(request, stored)
            if isinstance(run, NewRun):
                runs.append(run)
            else:
                outcomes[request.run_id] = run
        outcomes |= dict(zip([run.run_id for run in runs], self._store.submit(runs) if runs else (), strict=True))
        for request in requests:
            match outcomes[request.run_id]:
                case Submitted():
                    self._launch(request)
                case Gone() if request.queued is not None:
                    # Its workflow is not there any more; nobody would ask for the run again.
                    self._store.cancel_queued(request.run_id, now_ms=self._clock.now_ms())
                case _:
                    pass
        return outcomes

    def _stored_parameters(self, requests: Sequence[RunRequest]) -> list[JsonObject]:
        """What users gave for the partition of each; empty without one."""
        partitions = list({(r.workflow.slug, key) for r in requests if (key := r.partition_key) is not None})
        found = dict(zip(partitions, self._store.parameters_of(partitions), strict=True))
        return [found.get((r.workflow.slug, r.partition_key or ""), {}) for r in requests]

    def _new_run(self, request: RunRequest, stored: JsonObject) -> NewRun | Gone | Paused:
        slug = request.workflow.slug
        definition = self._definitions.get(slug) or self._store.workflow(slug)
        if definition is None:
            return Gone(f"workflow {slug} was removed")
        if quiet := _quiet(request, self._clock.now_ms()):
            return Paused(quiet)
        if request.queued is not None:
            parameters = request.queued.parameters
        else:
            try:
                parameters = run_parameters(
                    definition,
                    asset_ids=[want.asset_id for want in request.wants],
                    partition_key=request.partition_key,
                    stored=stored,
                    given={},
                )
            except PartitionKeyError as error:
                # Without an answer it would keep its slot, and so would every other request of the batch.
                _log.warning("run.refused", workflow=slug, partition_key=request.partition_key, reason=str(error))
                return Gone(str(error))
        return NewRun(
            run_id=request.run_id,
            workflow_slug=slug,
            partition_key=request.partition_key,
            parameters=parameters,
            trigger=request.trigger,
            created_at_ms=self._clock.now_ms(),
            limits=request.limits,
            pools=request.workflow.pools,
            basis=tuple(want.basis for want in request.wants),
            queued=request.queued is not None,
            upstreams=request.workflow.upstreams,
        )

    def _launch(self, request: RunRequest) -> None:
        order = RunOrder(request.run_id, request.workflow.slug, request.partition_key)
        try:
            self._launcher.launch(order)
        except LaunchFailed as error:
            self._store.finish_run(
                request.run_id,
                RunStatus.FAILED,
                now_ms=self._clock.now_ms(),
                error=f"the run could not be launched: {error}",
                expected=request.workflow.expected(request.partition_key),
            )


def _quiet(request: RunRequest, now_ms: int) -> tuple[str, ...]:
    """The assets that want the run though their quiet hours have begun: it may have waited for its turn since."""
    wanting = {want.asset_id for want in request.wants}
    return tuple(
        spec.asset_id
        for spec in request.workflow.assets
        if spec.asset_id in wanting and spec.auto is not None and quiet_until_all(spec.auto.quiet_hours, now_ms)
    )


def _tell(receiver: Receiver, message: object) -> None:
    try:
        receiver.tell(message)
    except ActorDeadError:
        # Whoever takes its place asks again.
        return
