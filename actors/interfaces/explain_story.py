"""The story of a run for a person: a tree back to its first causes, then what it made and what followed from it."""

from __future__ import annotations

from actors.catalog.store import RunRecord
from actors.core.state import partition_name
from actors.interfaces.explain_run import Origin, RunStory
from actors.interfaces.render import duration_text, has_drawing_letters, when_text

__all__ = ["story_lines"]


def story_lines(story: RunStory, now_ms: int) -> list[str]:
    """The run, below it its reasons, below each the run that made it, and so on; the latest comes first."""
    branch, last, onward = ("├─ ", "└─ ", "│  ") if has_drawing_letters() else ("|- ", "`- ", "|  ")
    lines: list[str] = []
    # Each part with what stands before its own line, and before those below it.
    stack: list[tuple[str, str, str, RunStory | Origin]] = [("", "", "", story)]
    while stack:
        word, before, below, part = stack.pop()
        children: list[RunStory | Origin]
        if isinstance(part, Origin):
            when = f", {when_text(part.at_ms, now_ms)}" if part.at_ms is not None else ""
            lines.append(f"{before}because {part.text}{when}{f'; {part.note}' if part.note else ''}")
            children = [part.run] if part.run is not None else []
        else:
            seen = "  (its reasons are told elsewhere here)" if part.told_elsewhere else ""
            lines.append(f"{before}{word}{_run_text(part.record, now_ms)}{seen}")
            children = list(part.origins)
        for place, child in reversed(list(enumerate(children, 1))):
            is_last = place == len(children)
            made_by = "made by " if isinstance(child, RunStory) else ""
            mine, theirs = (last, "   ") if is_last else (branch, onward)
            stack.append((made_by, below + mine, below + theirs, child))
    if story.record.produced:
        lines += ["", "it made:"]
        lines += [f"  {partition_name(p.asset_id, p.partition_key)} v{p.version}" for p in story.record.produced]
    else:
        lines += ["", "it made nothing" if story.record.status.is_over else "it has made nothing yet"]
    lines += ["from which followed:"] if story.followers else ["no run followed from it"]
    return [*lines, *(f"  {_run_text(run, now_ms)}" for run in story.followers)]


def _run_text(run: RunRecord, now_ms: int) -> str:
    attempt = run.trigger.get("attempt")
    again = f", attempt {attempt}" if isinstance(attempt, int) and attempt > 1 else ""
    took = ""
    if run.started_at_ms is not None and run.ended_at_ms is not None:
        took = f" in {duration_text(max(0, run.ended_at_ms - run.started_at_ms))}"
    name = partition_name(run.workflow_slug, run.partition_key)
    return f"{run.run_id}  {name}  {run.status.value}{took}{again}, {when_text(run.created_at_ms, now_ms)}"
