"""Who may do what: a bearer token for operators, one for readers. Tokens are compared in constant time, and never told.

What a route needs follows from its method, so none can be forgotten: whatever is not a GET is for operators, unless its
declaration says that it changes nothing (`LOOKS`).
"""

from __future__ import annotations

import hmac
from enum import IntEnum
from hashlib import sha256
from typing import Final

from fastapi import Request
from fastapi.routing import APIRoute

from actors.interfaces.http.access import Access
from actors.interfaces.http.problems import Kind, Refused
from actors.settings import HttpTokens

__all__ = ["LOOKS", "SCOPE_KEY", "Scope", "authorize", "granted", "needed"]

SCOPE_KEY: Final = "x-headwater-scope"
LOOKS: Final = {SCOPE_KEY: "read"}
"""For `openapi_extra` of a route that changes nothing, although it is not a GET."""

_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="headwater"'}


class Scope(IntEnum):
    """What a caller may do; a higher one holds the lower ones."""

    READ = 1
    OPERATOR = 2


def needed(route: APIRoute, method: str) -> Scope:
    """What a route asks of its callers."""
    if method in ("GET", "HEAD") or (route.openapi_extra or {}).get(SCOPE_KEY) == "read":
        return Scope.READ
    return Scope.OPERATOR


def granted(tokens: HttpTokens, shown: str) -> Scope | None:
    """What a token allows. Takes the same time whatever is shown."""
    digest = sha256(shown.encode()).digest()
    found: Scope | None = None
    for token, scope in ((tokens.read, Scope.READ), (tokens.operator, Scope.OPERATOR)):
        # Digests, because a comparison of texts of different length would tell the length.
        if hmac.compare_digest(digest, sha256((token or "").encode()).digest()) and token is not None:
            found = scope
    return found


async def authorize(request: Request, access: Access) -> None:
    """Let a request through if it may be.

    Raises:
        Refused: 401 without a token that is known, 403 with one that is not enough, or where none was set.
    """
    route, tokens = request.scope["route"], access.tokens
    need = needed(route, request.method) if isinstance(route, APIRoute) else Scope.OPERATOR
    if not tokens.has_any:
        if need is Scope.READ:
            return
        raise Refused(
            Kind.FORBIDDEN,
            "nothing can be changed without a token: set one in http.token_file or HEADWATER_HTTP__TOKEN, "
            "restart the service, and send it as Authorization: Bearer TOKEN",
        )
    kind, _, shown = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not shown.strip():
        raise Refused(Kind.UNAUTHORIZED, "send a token as Authorization: Bearer TOKEN", headers=_CHALLENGE)
    scope = granted(tokens, shown.strip())
    if scope is None:
        raise Refused(Kind.UNAUTHORIZED, "this token is not known here", headers=_CHALLENGE)
    if scope < need:
        raise Refused(Kind.FORBIDDEN, "this token is for looking only; use that of operators")
