"""Where orchestrators tell how the runs are that they were asked to execute (`[execution] launcher = "http"`)."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from actors.catalog.store import Renewal, RunStatus
from actors.execution.remote.runs import RemoteRuns, RunUnknown
from actors.execution.remote.signing import is_callback_token
from actors.execution.results import ResultError
from actors.execution_settings import SecretUnreadable, read_secrets
from actors.interfaces.http.access import Access
from actors.interfaces.http.answers import answer, no_such, tells
from actors.interfaces.http.auth import SCOPE_KEY
from actors.interfaces.http.bodies import RunPath, body_of, known_parameters_only, takes
from actors.interfaces.http.problems import Kind, Refused
from actors.interfaces.http.run_callbacks import RunCallback
from actors.interfaces.http.run_schemas import CallbackTaken
from actors.runtime.clock import SystemClock

__all__ = ["RUN_SCOPE", "router"]

RUN_SCOPE: Final = "run"
"""What the document says of routes that take the token of one run."""

_MORE: Final[dict[str, Any]] = {"security": [{"token": []}], SCOPE_KEY: RUN_SCOPE}
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="headwater run"'}


async def authorize_run(request: Request, access: Access) -> None:
    """Let a callback through that shows the token of its run. Whether there is such a run is told to nobody else.

    Raises:
        Refused: 401 without that token; 503 while the secret cannot be read.
    """
    execution = access.settings().execution
    try:
        secrets = await run_in_threadpool(read_secrets, execution.http) if execution.launcher == "http" else ()
    except SecretUnreadable as error:
        raise Refused(Kind.BUSY, str(error)) from None
    kind, _, shown = request.headers.get("authorization", "").partition(" ")
    run_id = unquote(request.path_params["run_id"], errors="replace")
    if kind.lower() != "bearer" or not is_callback_token(secrets, run_id, shown.strip()):
        detail = "send the token that came with this run, as Authorization: Bearer TOKEN"
        raise Refused(Kind.UNAUTHORIZED, detail, headers=_CHALLENGE)


router = APIRouter(tags=["runs"], dependencies=[Depends(authorize_run), Depends(known_parameters_only)])

Callback = Annotated[RunCallback, Depends(body_of(RunCallback))]


@router.post(
    "/runs/{run_id}/callback",
    **tells(CallbackTaken, "It is taken down."),
    openapi_extra=takes(RunCallback, **_MORE),
)
def callback(access: Access, run_id: RunPath, body: Callback) -> JSONResponse:
    """Tell how a run is that an orchestrator executes: `running` renews its lease, anything else ends it.

    The token came with the run, and is of no use for another. Any service on the catalog takes the callback. The same
    body again changes nothing. A run that was given up, canceled or ended otherwise answers 409: stop working on it.
    When `asked` is `cancel` or `stop` in an answer, end the run, and say so. What a run that succeeded says it made has
    to fit its definition: else the answer's `status` is `failed`.
    """
    runs = RemoteRuns.of(access.store, SystemClock(), access.settings().execution.http)
    try:
        heard = runs.hear(run_id, body.to_word())
    except RunUnknown:
        raise no_such("run", run_id) from None
    except ResultError as error:
        raise Refused(Kind.INVALID, str(error)) from None
    return answer({"runId": run_id, "status": heard.status.value, "asked": _asked(heard.status, heard.asked)})


def _asked(status: RunStatus, asked: Renewal | None) -> str | None:
    return asked.value if asked is not None and status is RunStatus.RUNNING else None
