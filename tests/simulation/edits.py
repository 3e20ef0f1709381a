"""The edits by which each law is broken on purpose. They are texts of the code, so a test sees to it that they fit.

Seeds of the second generation catch these; those for what came later are in `edits_third.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EDITS", "Edit", "Mutation"]


@dataclass(frozen=True, slots=True)
class Edit:
    """In `file`, `old` becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutation:
    """What breaks a law: one edit, or the same one in both places where the law is kept.

    Seeds of `generation` catch it.
    """

    law: str
    name: str
    edits: tuple[Edit, ...]
    generation: int = 2


EDITS = (
    Mutation(
        "L1",
        "drop the dirty mark: what came during a run counts as read when it ends",
        (
            Edit(
                "actors/core/transitions.py",
                "    _drop_causes_done_with(state)\n    if state.changed_since_run_ms is not None:\n",
                "    state.causes = ()\n    state.latest = dict(made.inputs)\n    if False:\n",
            ),
        ),
    ),
    Mutation(
        "L1",
        "after a start the upstreams are not compared",
        (Edit("actors/core/loading.py", "        if snapshot is not None:\n", "        if snapshot is None:\n"),),
    ),
    Mutation(
        "L1",
        "forget to give back the slot of a run that has ended",
        (
            Edit(
                "actors/registry.py",
                "        self._around.to_enqueuer(news)\n        unmade =",
                "        unmade =",
            ),
        ),
    ),
    Mutation(
        "L1",
        "submit at once what should wait for further updates",
        (Edit("actors/core/decide.py", "    if stale.needed is Reason.UPSTREAM_UPDATED:\n", "    if False:\n"),),
    ),
    Mutation(
        "L1",
        "let updates that keep coming hold an asset back for longer than `maxDelayMs`",
        (Edit("actors/core/decide.py", "    if auto.max_delay_ms is not None:\n", "    if False:\n"),),
    ),
    Mutation(
        "L1",
        "do not tell an asset how it is declared now",
        (
            Edit(
                "actors/asset_directory.py",
                "                self._around.tell(ref, asset_id, Configure(node.spec))\n",
                "                pass\n",
            ),
        ),
    ),
    Mutation(
        "L2",
        "skip the claim, in the queue and in the script",
        (
            Edit("actors/enqueuer.py", "        if self._queue.is_busy(key):\n", "        if False:\n"),
            Edit("actors/core/run_queue.py", "        if self.is_busy(slot.key):\n", "        if False:\n"),
            Edit("actors/catalog/lua/submit.lua", "if holder then\n", "if false then\n"),
        ),
    ),
    Mutation(
        "L2",
        "do not compare at the claim what the asset knew when it asked",
        (
            Edit(
                "actors/catalog/gateway.py",
                "basis=tuple(want.basis for want in request.wants),",
                "basis=(),",
            ),
        ),
    ),
    Mutation(
        "L2",
        "count updates of upstreams that the policy ignores",
        (Edit("actors/core/graph.py", "if u not in auto.ignore and (", "if ("),),
    ),
    Mutation(
        "L2",
        "one newer upstream is enough, whatever `when` says",
        (
            Edit(
                "actors/core/decide.py",
                "    if newer and (auto.when is When.ANY or len(newer) == len(spec.considered)):\n",
                "    if newer:\n",
            ),
        ),
    ),
    Mutation(
        "L2",
        "re-make windows older than the lookback",
        (
            Edit(
                "actors/core/decide.py",
                "    return ago is None or ago > partitioning.lookback_windows\n",
                "    return False\n",
            ),
        ),
    ),
    Mutation(
        "L3",
        "note the versions at the recording, not those captured at the start",
        (
            Edit(
                "actors/catalog/lua/record.lua",
                "versions_text(args.upstreams, captured)",
                "versions_text(args.upstreams, nil)",
            ),
        ),
    ),
    Mutation(
        "L4",
        "do not wait for an upstream that is about to be re-made",
        (
            Edit(
                "actors/core/decide.py",
                "    if (waiting := _for_upstreams(spec, state, defaults, now_ms)) is not None:\n"
                "        return waiting\n",
                "",
            ),
        ),
    ),
    Mutation(
        "L5",
        "tell of unchanged data as if it had changed",
        (
            Edit(
                "actors/catalog/news.py",
                "changed_version=event.changed_version if event.changed_version is not None else event.version,",
                "changed_version=event.version,",
            ),
        ),
    ),
    Mutation(
        "L6",
        "forget to arm the expiry timer",
        (
            Edit(
                "actors/acting.py",
                "    times = [expiry.at_ms] if expiry is not None and expiry.at_ms > now_ms else []\n",
                "    times: list[int] = []\n    if isinstance(decision, Skip):\n        return None\n",
            ),
        ),
    ),
    Mutation(
        "L6",
        "forget the cron",
        (Edit("actors/core/freshness.py", "    if policy.cron is not None and (", "    if False and ("),),
    ),
    Mutation(
        "L6",
        "do not look when a time window begins",
        (
            Edit(
                "actors/asset.py",
                "                self._on_window_began()\n",
                "                pass\n",
            ),
        ),
    ),
    Mutation(
        "L7",
        "never suspend",
        (
            Edit(
                "actors/core/decide.py",
                "    if suspension is not None and (suspension.until_ms is None or suspension.until_ms > now_ms):\n",
                "    if suspension is not None and False:\n",
            ),
        ),
    ),
    Mutation(
        "L7",
        "cool off in half the time",
        (
            Edit(
                "actors/core/backoff.py",
                "    return Suspension(last_failure_at_ms + budget.cool_off_ms)\n",
                "    return Suspension(last_failure_at_ms + budget.cool_off_ms // 2)\n",
            ),
        ),
    ),
    Mutation(
        "L7",
        "end a suspension that only a user may end",
        (Edit("actors/core/backoff.py", "        return Suspension(None)\n", "        return None\n"),),
    ),
    Mutation(
        "L7",
        "wait for less than the backoff says",
        (
            Edit(
                "actors/core/backoff.py",
                "    return int(u * cap) if policy.jitter else cap\n",
                "    return int(u * cap)\n",
            ),
        ),
    ),
    Mutation(
        "L8",
        "forget the pools, in the queue and in the script",
        (
            Edit(
                "actors/core/run_queue.py", "        for pool in slot.pools:\n", "        for pool in slot.pools[:0]:\n"
            ),
            Edit(
                "actors/enqueuer.py",
                "{pool: capacity.pools[pool] for pool in workflow.pools if pool in capacity.pools}",
                "{}",
            ),
        ),
    ),
    Mutation(
        "L9",
        "start by itself in quiet hours, by decision and at the claim",
        (
            Edit("actors/core/decide.py", "    if spec.auto.quiet_hours and (until", "    if False and (until"),
            Edit("actors/catalog/gateway.py", "        if quiet := _quiet(", "        if False and _quiet("),
            Edit("actors/catalog/gateway.py", "            return Paused(quiet)\n", "            return Paused(())\n"),
        ),
    ),
    Mutation(
        "L10",
        "name another reason in the trigger than was decided",
        (Edit("actors/triggers.py", '        "reason": lead.reason.value,\n', '        "reason": "missing",\n'),),
    ),
    Mutation(
        "L11",
        "believe late news of a run that has ended",
        (
            Edit(
                "actors/registry.py", "if self._runs.is_over(news.run_id) or news.pos <= self._loaded_pos:", "if False:"
            ),
            Edit("actors/enqueuer.py", "        if news.run_id in self._ended:\n", "        if False:\n"),
            Edit(
                "actors/core/transitions.py", "    if state.run_id == run_id or pos <= state.pos:\n", "    if False:\n"
            ),
        ),
    ),
    Mutation(
        "L11",
        "let a run that was given up record on",
        (Edit("actors/catalog/lua/record.lua", "if status and status ~= 'running' then\n", "if false then\n"),),
    ),
    Mutation(
        "L11",
        "record again what a run tells twice",
        (
            Edit(
                "actors/catalog/lua/record.lua",
                "local earlier = produced_key and redis.call('HGET', produced_key, produced_field)\n",
                "local earlier = nil\n",
            ),
        ),
    ),
)
