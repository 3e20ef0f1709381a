"""One frame of `top`: counters first, then what runs, waits, comes next and fails, as far as the screen goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from actors.catalog.store import Json, JsonObject
from actors.catalog.timestamps import parse_iso_ms
from actors.core.decide import Reason
from actors.core.state import partition_name
from actors.interfaces.look import objects
from actors.interfaces.render import age_text, duration_text, has_drawing_letters, state_text

__all__ = ["SORTS", "Frame", "comes_text", "counter_lines", "draw_frame"]

SORTS: Final = ("age", "name", "steps")
"""By what the runs in flight may be sorted: the oldest first, by workflow, or the least advanced first."""

_HEAD_LINES: Final = 6
_LINES_OF_A_SECTION: Final = 3
_GAP: Final = 2
_CUT_FIRST: Final = ("ERROR", "GOING ON")
"""Where a narrow screen cuts first: the other columns say which row it is."""
_LEAST_WIDTH: Final = 12
_MOST_ERROR: Final = 100
_COMES: Final[Mapping[str, str]] = {
    "expires": "it expires",
    Reason.BACKOFF: "its backoff ends",
    Reason.SUSPENDED: "its cool-off ends",
    Reason.PAUSED: "the pause ends",
    Reason.QUIET_HOURS: "its quiet hours end",
    Reason.DEBOUNCE: "its debounce ends",
    Reason.UPSTREAM_PENDING: "it waits no more for upstreams",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """What is drawn besides the document: `width` and `height` None are for paper, which has no end."""

    now_ms: int
    width: int | None = None
    height: int | None = None
    sort: str = SORTS[0]
    filter: str = ""
    footer: str = ""


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str | Text]]
    count: int


def draw_frame(told: JsonObject, frame: Frame) -> RenderableType:
    """The document of `Looker.look`, drawn."""
    sections = [section for section in _sections(told, frame) if section.rows]
    counters = counter_lines(told, frame.now_ms)
    if frame.width is not None:
        for line in counters:
            line.truncate(frame.width, overflow="ellipsis")
    parts: list[RenderableType] = [*counters]
    rooms = _rooms([len(section.rows) for section in sections], frame.height)
    for section, room in zip(sections, rooms, strict=True):
        if room:
            parts += [Text(), *_drawn(section, room, frame.width)]
    if not sections:
        parts += [Text(), Text("nothing runs, waits, fails or expires", style="dim")]
    if frame.footer:
        parts += [Text(), Text(frame.footer, style="reverse")]
    return Group(*parts)


def counter_lines(told: JsonObject, now_ms: int) -> list[Text]:
    """Who leads, and the numbers: for `status` too."""
    overview = _object(told.get("overview"))
    lines = [("service", _service(told, now_ms)), ("assets", _assets(overview)), ("runs", _runs(told, overview))]
    lines += [("events", _events(told, overview)), ("slots", _slots(told, overview))]
    lines += [("paused", _pauses(told, now_ms))]
    return [Text.assemble((f"{name:<8} ", "bold"), text) for name, text in lines]


def _service(told: JsonObject, now_ms: int) -> Text:
    leader = told.get("leader")
    who = f"{leader.get('host')}, pid {leader.get('pid')}," if isinstance(leader, Mapping) else "it"
    started = told.get("startedAtMs")
    since = f" for {duration_text(max(0, now_ms - started))}" if isinstance(started, int) else ""
    standbys = len(objects(told.get("standbys")))
    text = Text.assemble(who, " ", ("leads", "green"), f" in term {told.get('term')}, runs{since}")
    return text.append(f"; {standbys} stand{'s' if standbys == 1 else ''} by" if standbys else "; nobody stands by")


def _assets(overview: JsonObject) -> Text:
    stale = _int(overview.get("stale"))
    waiting = overview.get("waiting")
    counts = [(str(name), _int(count)) for name, count in waiting.items()] if isinstance(waiting, Mapping) else []
    text = Text(f"{stale} stale", style="yellow" if stale else "green")
    for index, (reason, count) in enumerate(sorted(counts, key=lambda each: -each[1])):
        text.append(": " if index == 0 else ", ", style="none").append(f"{count} ", style="none")
        text.append_text(state_text(reason))
    return text


def _runs(told: JsonObject, overview: JsonObject) -> Text:
    slots, rates = _object(overview.get("slots")), _object(overview.get("rates"))
    queued = _int(told.get("queuedCount"))
    by_hand = f", {queued} of them asked for by hand" if queued else ""
    return Text(
        f"{_int(told.get('activeCount'))} of {slots.get('maxRuns')} in flight, {_int(told.get('wantedCount'))} queued"
        f"{by_hand}; {_number(rates.get('runsPerMinute'))} a minute end"
    )


def _events(told: JsonObject, overview: JsonObject) -> Text:
    rates, stream = _object(overview.get("rates")), _object(told.get("stream"))
    behind, dead = stream.get("behind"), _int(stream.get("deadLetters"))
    text = Text(
        f"{_number(rates.get('eventsPerSecond'))} a second, {_number(rates.get('decisionsPerSecond'))} decisions a "
        f"second (last {rates.get('seconds')} s); "
    )
    if behind is None:
        text.append("the stream was never read", style="yellow")
    elif behind == 0:
        text.append("nothing behind", style="green")
    else:
        text.append(f"{behind} behind, the first for {duration_text(_int(stream.get('lagMs')))}", style="yellow")
    if mail := _int(overview.get("mailboxDepth")):
        text.append(f"; {mail} messages wait")
    return text.append(f"; {dead} dead letters", style="red") if dead else text


def _slots(told: JsonObject, overview: JsonObject) -> Text:
    slots, used = _object(overview.get("slots")), _object(told.get("used"))
    processes = slots.get("processes")
    parts = [f"{processes} worker processes here" if processes is not None else f"workers of {slots.get('launcher')}"]
    for kind, word in (("workflows", "workflow"), ("pools", "pool")):
        taken = _object(used.get(kind))
        parts += [
            f"{word} {name}: {_int(taken.get(name))} of {most}" for name, most in _object(slots.get(kind)).items()
        ]
    return Text("; ".join(parts))


def _pauses(told: JsonObject, now_ms: int) -> Text:
    pauses = objects(told.get("pauses"))
    if not pauses:
        return Text("nothing")
    shown = ", ".join(
        f"{pause.get('scope')}{f' (ends {_when(until, now_ms)})' if (until := pause.get('until')) else ''}"
        for pause in pauses[:5]
    )
    return Text(shown + (f", {len(pauses) - 5} more" if len(pauses) > 5 else ""), style="yellow")


def _sections(told: JsonObject, frame: Frame) -> list[_Section]:
    overview, now_ms = _object(told.get("overview")), frame.now_ms

    def kept(rows: Sequence[JsonObject], name: str) -> list[JsonObject]:
        return [row for row in rows if frame.filter.lower() in f"{_name(row, name)} {row.get('runId')}".lower()]

    active = sorted(kept(objects(told.get("active")), "workflowSlug"), key=_order(frame.sort))
    wanted = kept(objects(told.get("wanted")), "workflowSlug")
    coming, failing = (kept(objects(overview.get(name)), "assetId") for name in ("next", "failing"))
    failed = kept(objects(overview.get("failedRuns")), "workflowSlug")
    waiting = _object(overview.get("waiting"))
    failing_count = sum(_int(waiting.get(reason)) for reason in ("suspended", "backoff"))
    return [
        _Section(
            "IN FLIGHT",
            ("WORKFLOW", "AGE", "STEPS", "GOING ON", "RUN"),
            [_active_row(run, now_ms) for run in active],
            _int(told.get("activeCount")),
        ),
        _Section(
            "QUEUED",
            ("WORKFLOW", "PRIORITY"),
            [(_name(run, "workflowSlug"), str(run.get("priority"))) for run in wanted],
            _int(told.get("wantedCount")),
        ),
        _Section(
            "FAILING",
            ("ASSET", "STATE", "FAILED IN A ROW", "GOES ON"),
            [
                (
                    _name(each, "assetId"),
                    state_text(str(each.get("state"))),
                    str(each.get("failures")),
                    _when(each.get("until"), now_ms) or "when it is resumed",
                )
                for each in failing
            ],
            failing_count,
        ),
        _Section(
            "NEXT",
            ("ASSET", "WHAT", "WHEN"),
            [(_name(each, "assetId"), comes_text(each), _when(each.get("at"), now_ms) or "") for each in coming],
            len(coming),
        ),
        _Section(
            "FAILED RUNS",
            ("WORKFLOW", "ENDED", "AS", "ERROR", "RUN"),
            [
                (
                    _name(run, "workflowSlug"),
                    _when(run.get("at"), now_ms) or "",
                    state_text(str(run.get("outcome"))),
                    str(run.get("error") or "").partition("\n")[0][:_MOST_ERROR],
                    str(run.get("runId")),
                )
                for run in failed
            ],
            len(failed),
        ),
    ]


def _active_row(run: JsonObject, now_ms: int) -> tuple[str | Text, ...]:
    began = run.get("startedAt") or run.get("createdAt")
    age = duration_text(max(0, now_ms - parse_iso_ms(began))) if isinstance(began, str) else "-"
    over, steps = _int(run.get("stepsOver")), run.get("steps")
    going_on = ", ".join(_step(step) for step in objects(run.get("goingOn")))
    if not run.get("startedAt"):
        going_on = "waits for a worker"
    return (
        _name(run, "workflowSlug"),
        age,
        Text(f"{_bar(over, steps)} {over}/{steps if steps is not None else '?'}", style="blue"),
        going_on,
        str(run.get("runId")),
    )


def _step(step: JsonObject) -> str:
    attempt = _int(step.get("attempt"))
    return f"{step.get('stepId')} (attempt {attempt})" if attempt > 1 else str(step.get("stepId"))


def _bar(over: int, steps: Json) -> str:
    most = max(over, _int(steps))
    full = 6 * over // most if most else 0
    filled, empty = ("█", "░") if has_drawing_letters() else ("#", ".")
    return filled * full + empty * (6 - full)


def _order(sort: str) -> Callable[[JsonObject], tuple[str | float, ...]]:
    def key(run: JsonObject) -> tuple[str | float, ...]:
        age = str(run.get("startedAt") or run.get("createdAt") or "9")
        match sort:
            case "name":
                return _name(run, "workflowSlug"), age
            case "steps":
                return _int(run.get("stepsOver")) / max(1, _int(run.get("steps"))), age
            case _:
                return (age,)

    return key


def _drawn(section: _Section, room: int, width: int | None) -> list[RenderableType]:
    shown = section.rows[:room]
    more = f"  {section.count}" if section.count <= len(shown) else f"  {len(shown)} of {section.count}"
    cells = [section.columns, *shown]
    widths = [max(cell_len(str(cell)) for cell in column) for column in zip(*cells, strict=True)]
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, _GAP, 0, 0))
    for column, natural in zip(section.columns, widths, strict=True):
        most = natural
        if width is not None and column in _CUT_FIRST:
            most = min(natural, max(_LEAST_WIDTH, width - sum(widths) - _GAP * len(widths) + natural))
        table.add_column(column, overflow="ellipsis", no_wrap=True, max_width=most)
    for row in shown:
        table.add_row(*row)
    return [Text.assemble((section.title, "bold"), more), table]


def _rooms(wants: Sequence[int], height: int | None) -> list[int]:
    """How many rows each section gets: one more each in turn, until the screen is full."""
    if height is None:
        return list(wants)
    left = height - _HEAD_LINES - 2 - _LINES_OF_A_SECTION * len(wants)
    rooms = [0] * len(wants)
    while left > 0 and any(room < want for room, want in zip(rooms, wants, strict=True)):
        for index, want in enumerate(wants):
            if rooms[index] < want and left > 0:
                rooms[index] += 1
                left -= 1
    return rooms


def comes_text(each: JsonObject) -> str:
    """What comes next of an asset partition: it expires, or a wait ends."""
    what = str(each.get("what"))
    return _COMES.get(what, f"it waited until then: {what}")


def _name(row: JsonObject, name: str) -> str:
    key = row.get("partitionKey")
    return partition_name(str(row.get(name)), key if isinstance(key, str) else None)


def _when(at: Json, now_ms: int) -> str | None:
    return age_text(parse_iso_ms(at), now_ms) if isinstance(at, str) else None


def _number(value: Json) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, int | float) else "?"


def _int(value: Json) -> int:
    return value if isinstance(value, int) else 0


def _object(value: Json) -> JsonObject:
    return value if isinstance(value, Mapping) else {}
