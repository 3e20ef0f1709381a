"""The edits that break what the third generation plays: mappings, catching up, quiet workflows, several services."""

from __future__ import annotations

from tests.simulation.edits import Edit, Mutation

__all__ = ["EDITS_OF_THE_THIRD"]

EDITS_OF_THE_THIRD = (
    Mutation(
        "L1",
        "with `wait: all`, make a partition though some that go into it were never made",
        (
            Edit(
                "actors/core/decide.py",
                "    if state.missing:\n        return Wait(None, Reason.UPSTREAM_MISSING)\n",
                "",
            ),
        ),
        3,
    ),
    Mutation(
        "L2",
        "with `latest`, count every window of the upstream",
        (
            Edit(
                "actors/core/mappings.py",
                "    if up_key is None or newest is None:\n        return False\n",
                "    return False\n",
            ),
        ),
        3,
    ),
    Mutation(
        "L9",
        "pass over the latest of the stale windows, and make the oldest",
        (
            Edit(
                "actors/core/catching_up.py",
                "        for _, key, state in stale[:-1]\n",
                "        for _, key, state in stale[1:]\n",
            ),
        ),
        3,
    ),
    Mutation(
        "L9",
        "pass over after any pause, however short",
        (Edit("actors/core/catching_up.py", " or held_ms < defaults.catch_up_after_ms:\n", ":\n"),),
        3,
    ),
    Mutation(
        "L9",
        "pass over also where all is to be made (`catchUp: all`)",
        (Edit("actors/core/catching_up.py", "spec.auto.catch_up is CatchUp.ALL or ", ""),),
        3,
    ),
    Mutation(
        "L1",
        "leave what was passed over as it is, also when it is resumed",
        (
            Edit(
                "actors/core/transitions.py",
                "        state.dismissed, state.dismissed_pos = None, pos\n    return is_news\n",
                "        state.dismissed_pos = pos\n    return is_news\n",
            ),
        ),
        3,
    ),
    Mutation(
        "L9",
        "forget the quiet hours of the workflow",
        (Edit("actors/catalog/definitions.py", ".to_policy(self._quiet_hours)", ".to_policy()"),),
        3,
    ),
    Mutation(
        "L2",
        "let a service that stands by submit",
        (
            Edit(
                "actors/enqueuer.py",
                "        if not (self._is_ready and self._is_open):\n",
                "        if not self._is_ready:\n",
            ),
        ),
        3,
    ),
    Mutation(
        "L2",
        "do not check the term in which a service writes",
        (Edit("actors/catalog/lua/prelude.lua", "  if term ~= int(args.term) then\n", "  if false then\n"),),
        3,
    ),
)
