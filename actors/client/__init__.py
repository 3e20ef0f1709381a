"""A client of the HTTP API, for jobs, scripts and notebooks: `Client`, and `AsyncClient` for asyncio.

It knows nothing of the service but its API: it needs httpx (`pip install 'headwater[client]'`) and pydantic.
"""

from __future__ import annotations

try:
    import httpx as _httpx  # noqa: F401 - only to say in time what is missing
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "the client of Headwater needs httpx, which is not installed: pip install 'headwater[client]'", name="httpx"
    ) from None

from actors.client.async_client import AsyncClient
from actors.client.client import Client
from actors.client.errors import (
    AnswerError,
    ConflictError,
    DeadlineError,
    Fault,
    ForbiddenError,
    HeadwaterError,
    InvalidError,
    NotFoundError,
    ProblemError,
    RunFailedError,
    UnavailableError,
    UnreachableError,
)
from actors.client.events import Event
from actors.client.records import (
    Asset,
    AssetSummary,
    Decision,
    Explanation,
    Health,
    Materialization,
    Partition,
    Pause,
)
from actors.client.run_records import (
    Audited,
    AutoMaterialize,
    Checked,
    EventTaken,
    Graph,
    Plan,
    Run,
    RunDetail,
    Step,
    Workflow,
    WorkflowDetail,
)

__all__ = [
    "AnswerError",
    "Asset",
    "AssetSummary",
    "AsyncClient",
    "Audited",
    "AutoMaterialize",
    "Checked",
    "Client",
    "ConflictError",
    "DeadlineError",
    "Decision",
    "Event",
    "EventTaken",
    "Explanation",
    "Fault",
    "ForbiddenError",
    "Graph",
    "HeadwaterError",
    "Health",
    "InvalidError",
    "Materialization",
    "NotFoundError",
    "Partition",
    "Pause",
    "Plan",
    "ProblemError",
    "Run",
    "RunDetail",
    "RunFailedError",
    "Step",
    "UnavailableError",
    "UnreachableError",
    "Workflow",
    "WorkflowDetail",
]
