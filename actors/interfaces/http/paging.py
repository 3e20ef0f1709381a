"""Pages of a list that is ordered by a text: a cursor names the last one that was told, so that what comes and goes in
between moves nothing."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Sequence

from actors.catalog.store import Json, JsonObject
from actors.interfaces.http.problems import Kind, Refused

__all__ = ["after", "page_json"]


def after(names: Sequence[str], cursor: str | None) -> Sequence[str]:
    """Those of the sorted names that come after a cursor's.

    Raises:
        Refused: the cursor is none of ours.
    """
    return names if cursor is None else names[bisect_right(names, _decode(cursor)) :]


def page_json(items: Sequence[Json], last: str | None) -> JsonObject:
    """`{items, nextCursor}`; without a last one there is no further page."""
    return {"items": list(items), "nextCursor": None if last is None else _encode(last)}


def _encode(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _decode(cursor: str) -> str:
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise Refused(Kind.INVALID, f"{cursor[:100]!r} is no cursor; take nextCursor of the page before") from None
