"""Times on the wire: ISO 8601 with an offset, never guessed. Inside they are epoch milliseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from actors.core.wallclock import DAY_MS, EARLIEST_MS, FIRST_YEAR, LAST_YEAR, LATEST_MS, epoch_ms

__all__ = ["MAX_AHEAD_MS", "format_iso", "parse_iso_ms"]

# Clocks of two machines differ by seconds; a whole day also forgives one that is set to the wrong timezone.
MAX_AHEAD_MS: Final = DAY_MS
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EXAMPLE: Final = "2026-11-23T10:00:00.000Z"
_FORM: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}T(?:[01]\d|2[0-3]):\d{2}(?::\d{2}(?:\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})?", re.ASCII
)


def parse_iso_ms(text: str, *, now_ms: int | None = None) -> int:
    """The epoch milliseconds of an ISO 8601 timestamp; what is finer than a millisecond is cut off.

    With `now_ms` a time that lies more than `MAX_AHEAD_MS` after it is refused too.

    Raises:
        ValueError: the text is no timestamp, has no offset, names a time that does not exist, or lies too far
            away; the error says which and shows a good one.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no ISO 8601 timestamp; write it as {_EXAMPLE!r}")
    if match[1] is None:
        raise ValueError(f"{text!r} has no offset, so it could be any of 38 hours; write it as {_EXAMPLE!r}")
    try:
        at_ms = epoch_ms(datetime.fromisoformat(text))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is a time that does not exist ({error}); write it as {_EXAMPLE!r}") from None
    if not EARLIEST_MS <= at_ms < LATEST_MS:
        raise ValueError(f"{text!r} lies outside the years {FIRST_YEAR} to {LAST_YEAR}")
    if now_ms is not None and at_ms > now_ms + MAX_AHEAD_MS:
        raise ValueError(
            f"{text!r} lies more than 24 hours in the future of {format_iso(now_ms)}; "
            "set the clock of the machine that wrote it"
        )
    return at_ms


def format_iso(at_ms: int) -> str:
    """Epoch milliseconds as `2026-11-23T10:00:00.000Z`.

    Raises:
        ValueError: the instant lies outside the years 1900 to 2999.
    """
    if not EARLIEST_MS <= at_ms < LATEST_MS:
        raise ValueError(
            f"instant {at_ms} ms lies outside the years {FIRST_YEAR} to {LAST_YEAR}; "
            "give milliseconds (not seconds, not nanoseconds) since 1970-01-01 UTC"
        )
    at = _EPOCH + timedelta(milliseconds=at_ms)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
