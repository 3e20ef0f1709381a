"""Runs that something else executes, as their OpenLineage events tell of them, merged on the server.

So whichever service hears an event knows what was told to the others, and a restart forgets nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from actors.catalog.redis_root import RedisRoom
from actors.core.time_windows import Window
from actors.core.wallclock import DAY_MS

__all__ = ["MAX_OUTPUTS", "LineageFull", "LineageRuns", "MergedRun", "OutputSeen", "RunState"]

MAX_OUTPUTS: Final = 1_000
_MAX_BYTES: Final = 256 * 1024
_ENDED_FOR_MS: Final = DAY_MS
"""How long a run that has ended is remembered: events of it may still come, out of order."""

RunState: TypeAlias = Literal["open", "complete", "dropped"]


@dataclass(frozen=True, slots=True)
class OutputSeen:
    """A dataset that a run writes; `version` is the data's own, '' while none was told."""

    namespace: str
    name: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class MergedRun:
    """What is known of a run. `completed_at_ms` and `outputs` only once it is complete; `window` is its nominal time.

    `forgotten` is how many other runs had to be forgotten for it.
    """

    state: RunState
    completed_at_ms: int | None = None
    window: Window | None = None
    outputs: tuple[OutputSeen, ...] = ()
    forgotten: int = 0


class LineageFull(ValueError):  # noqa: N818 - as `DefinitionInvalid`
    """The run has more outputs than are remembered of one."""


class LineageRuns(RedisRoom):
    """The runs of one catalog. Thread-safe."""

    def merge(
        self,
        run_id: str,
        state: RunState,
        at_ms: int,
        outputs: Sequence[OutputSeen],
        window: Window | None,
        *,
        keep_days: int,
        max_runs: int,
    ) -> MergedRun:
        """Add what one event tells; what is known then. Merging an event again changes nothing.

        A run that was complete stays complete, and outputs that are told later count as well. One that failed
        (`dropped`) has no outputs, unless it completes after all. The nominal time and the time of completion that were
        told first count; of versions the last.

        Raises:
            LineageFull: with this event it would have too many outputs; nothing was changed.
            CatalogUnavailable: the server does not answer.
        """
        answer = self._call(
            "merge_lineage",
            runId=run_id,
            state=state,
            atMs=at_ms,
            outputs=[] if state == "dropped" else [[_field(each), each.version] for each in outputs],
            window=None if window is None else json.dumps([window.start_ms, window.end_ms]),
            openForMs=keep_days * DAY_MS,
            endedForMs=_ENDED_FOR_MS,
            maxRuns=max_runs,
            maxOutputs=MAX_OUTPUTS,
            maxBytes=_MAX_BYTES,
        )
        if answer[0] == "full":
            raise LineageFull(
                f"run {run_id} has more than {MAX_OUTPUTS} outputs, or names of more than {_MAX_BYTES} bytes in all"
            )
        _, merged, completed_at_ms, window_text, forgotten, *pairs = answer
        return MergedRun(
            state=merged,
            completed_at_ms=completed_at_ms if merged == "complete" else None,
            window=Window(*json.loads(window_text)) if window_text else None,
            outputs=tuple(
                _output(field, version) for field, version in sorted(zip(pairs[::2], pairs[1::2], strict=True))
            ),
            forgotten=forgotten,
        )


def _field(output: OutputSeen) -> str:
    # As JSON, because any letter may stand in either.
    return json.dumps([output.namespace, output.name])


def _output(field: str, version: str) -> OutputSeen:
    namespace, name = json.loads(field)
    return OutputSeen(namespace, name, version)
