"""The Celery application: what the service puts on the broker, and what a worker process does with it.

`celery -A actors.execution.celery_app worker` starts a worker by the settings that `HEADWATER_CONFIG` and the other
variables name; `python run.py worker` does the same with our options and logs. A message is the id of a run and nothing
else; everything about the run is in the catalog.

Each task is a thread of the worker that executes one run, as in the service itself, and the jobs run in worker
processes of ours. Celery's own processes are not used: to end a job there, Celery would have to end the run with it.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import structlog
from celery import Celery, signals
from celery.concurrency.thread import TaskPool
from celery.worker import state
from kombu import Exchange, Queue
from kombu.asynchronous import set_event_loop
from kombu.exceptions import OperationalError

from actors.catalog.access import Catalog, open_catalog
from actors.execution.celery_launcher import LAST_STEP, BrokerUnavailable
from actors.execution.jobs import JobRegistry
from actors.execution.restarts import keep_serving
from actors.execution.run_worker import RunWorker
from actors.settings import Settings, load_settings

__all__ = ["TASK", "CeleryQueues", "broker_url_of", "make_app", "serve_queues"]

TASK: Final = "headwater.run"
_POOLS: Final = ("threads", "solo", "celery.concurrency.thread", "celery.concurrency.solo", __name__)
_TALKATIVE: Final = ("celery.worker.strategy", "celery.app.trace")
_LEAST_SOCKET_SECONDS: Final = 5.0
_RETRY_POLICY: Final = {"max_retries": 3, "interval_start": 0.0, "interval_step": 0.2, "interval_max": 1.0}
_log: Final = structlog.get_logger(__name__)


class CeleryQueues:
    """Implements `RunQueues` over an application."""

    def __init__(self, app: Any) -> None:
        self._app = app
        # Those of the transport's own library come through as they are.
        self._errors = (OperationalError, OSError, *app.connection_for_write().connection_errors)

    def put(self, run_id: str, *, queue: str, step: int) -> None:
        """See `RunQueues.put`."""
        # Redis counts as we do; in AMQP the higher number goes first.
        priority = step if _is_redis(self._app.conf.broker_url) else LAST_STEP - step
        try:
            self._app.send_task(
                TASK, args=[run_id], queue=queue, priority=priority, retry=True, retry_policy=_RETRY_POLICY
            )
        except self._errors as error:
            raise _unavailable(error) from error

    def length(self, queue: str) -> int:
        """See `RunQueues.length`."""
        try:
            # A connection of its own: one of the pool is of no use any more once it has failed.
            with self._app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1)
                with connection.channel() as channel:
                    return int(self._app.amqp.queues[queue].bind(channel).queue_declare().message_count)
        except self._errors as error:
            raise _unavailable(error) from error


def broker_url_of(settings: Settings, catalog: Catalog) -> str:
    """The broker of the settings; by default the catalog's own server, also when it is embedded.

    The open catalog tells where an embedded server listens, and keeps it running.
    """
    if settings.celery.broker_url:
        return settings.celery.broker_url
    socket_path = catalog.client.connection_pool.connection_kwargs.get("path")
    parts = urlsplit(settings.redis.url)
    password = settings.read_redis_password() or unquote(parts.password or "")
    if socket_path:
        login = f"{quote(parts.username or '', safe='')}:{quote(password, safe='')}@" if password else ""
        return f"redis+socket://{login}{quote(socket_path)}"
    if password and parts.password is None:
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=f"{parts.username or ''}:{quote(password, safe='')}@{host}").geturl()
    return settings.redis.url


def make_app(settings: Settings, broker_url: str, execute: Callable[[str], object] | None = None) -> Any:
    """An application that sends to the queues of the settings; with `execute` it can also work on them."""
    app = Celery("headwater", broker=broker_url, set_as_current=False)
    celery = settings.celery
    names = dict.fromkeys((celery.queue, *celery.queues.values()))
    is_redis = _is_redis(broker_url)
    app.conf.update(
        task_default_queue=celery.queue,
        task_queues=[_queue(name, is_redis=is_redis) for name in names],
        task_serializer="json",
        accept_content=["json"],
        # How a run went is in the catalog.
        result_backend=None,
        task_ignore_result=True,
        # A message is acknowledged when the run is over: what a dead worker had taken is delivered again, and dropped
        # if the run has begun.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_pool="threads",
        worker_concurrency=settings.workers.processes,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options=_redis_options(settings) if is_redis else {},
        broker_use_ssl={"ssl_cert_reqs": ssl.CERT_REQUIRED} if broker_url.startswith("rediss://") else None,
    )
    if execute is not None:

        def run(run_id: str) -> None:
            execute(run_id)

        app.task(name=TASK, ignore_result=True)(run)
    return app


def serve_queues(settings: Settings, *, queues: Sequence[str] = (), concurrency: int | None = None) -> int:
    """Work on the queues (all of the settings if none is named) until a signal stops the worker; its exit code.

    Celery ends its worker when a broker dies at a bad moment. Then another is made (see `restarts.py`), and the runs go
    on meanwhile: what they made is told to the catalog, not to the broker.

    Raises:
        CatalogUnavailable, EmbeddedServerFailed: the catalog cannot be opened.
    """
    with ExitStack() as stack:
        catalog = stack.enter_context(open_catalog(settings))
        runs = _Runs(settings, catalog, outlives_celery=True)
        stack.callback(runs.stop)
        # Logs are ours already, and each run has its line.
        signals.setup_logging.connect(_leave_logging, weak=False)
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        return keep_serving(lambda: _serve(runs, queues, concurrency), runs.is_ending)


def _serve(runs: _Runs, queues: Sequence[str], concurrency: int | None) -> int:
    """Celery's worker, until it ends. Each has an application, a pool and an event loop of its own: what acknowledges a
    run of a former one does it on a connection that is gone."""

    class Threads(TaskPool):  # type: ignore[misc]
        def on_stop(self) -> None:
            # One that is begun again need not wait for the runs of the former.
            self.executor.shutdown(wait=_was_asked_to_end(worker), cancel_futures=True)

    set_event_loop(None)
    worker = runs.make_app().Worker(
        hostname=f"headwater-{os.getpid()}@{socket.gethostname()}",
        concurrency=concurrency,
        queues=list(queues) or None,
        pool=Threads,
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    worker.start()
    if _was_asked_to_end(worker):
        runs.is_ending.set()
    return int(worker.exitcode or 0)


def _was_asked_to_end(worker: Any) -> bool:
    """By a signal, or by Celery's remote control."""
    return worker.exitcode == 0 or state.should_stop is not None or state.should_terminate is not None


def __getattr__(name: str) -> Any:
    """`app`, which the command `celery` looks for: made when it is asked for, because that reads the settings."""
    if name == "app":
        return _process_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _process_app() -> Any:
    settings = load_settings()
    stack = ExitStack()
    atexit.register(stack.close)
    return _Runs(settings, stack.enter_context(open_catalog(settings))).make_app()


class _Runs:
    """What executes the runs, for as long as Celery's signals say; with `outlives_celery` until `stop`.

    `is_ending` is set when somebody asked for the end.
    """

    def __init__(self, settings: Settings, catalog: Catalog, *, outlives_celery: bool = False) -> None:
        self._settings = settings
        self._broker_url = broker_url_of(settings, catalog)
        jobs = JobRegistry.load(settings.jobs_dir)
        for problem in jobs.problems:
            _log.error("job.refused", reason=str(problem))
        self._worker = RunWorker(
            catalog.store,
            jobs,
            processes=settings.workers.processes,
            max_tasks_per_process=settings.workers.max_tasks_per_process,
            lease_ms=int(settings.runs.lease_seconds * 1_000),
        )
        self._has_started = False
        self._enders: list[threading.Thread] = []
        self.is_ending = threading.Event()
        signals.worker_init.connect(self._begin, weak=False)
        signals.worker_shutting_down.connect(self._end_runs, weak=False)
        if not outlives_celery:
            signals.worker_shutdown.connect(self.stop, weak=False)

    def make_app(self) -> Any:
        return make_app(self._settings, self._broker_url, self._worker.execute)

    def stop(self, **_: Any) -> None:
        """Once the runs have had the time that the signal left them."""
        for ender in self._enders:
            ender.join()
        if self._has_started:
            self._worker.end_runs(0)
            self._worker.stop()

    def _begin(self, sender: Any, **_: Any) -> None:
        pool = sender.pool_cls if isinstance(sender.pool_cls, str) else sender.pool_cls.__module__
        # Celery goes on after any other exception of a signal's receiver.
        if pool not in _POOLS:
            raise SystemExit(f"error: a worker of pool {pool!r} cannot execute runs; leave --pool out")
        if self._has_started:
            return
        try:
            self._worker.start()
        except Exception as error:
            raise SystemExit(f"error: the worker processes cannot be started: {error}") from error
        self._has_started = True

    def _end_runs(self, how: str, **_: Any) -> None:
        # On a thread of its own: this is called by a signal's handler, and the worker waits for its tasks meanwhile.
        self._enders.append(threading.Thread(target=self._end_all, args=(how,), name="runs-end", daemon=True))
        self._enders[-1].start()

    def _end_all(self, how: str) -> None:
        self.is_ending.set()
        self._worker.end_runs(self._settings.shutdown.grace_seconds if how == "Warm" else 0.0)


def _leave_logging(**_: Any) -> None:
    """Being connected is what keeps Celery from setting up its own."""


def _queue(name: str, *, is_redis: bool) -> Any:
    priorities = {} if is_redis else {"max_priority": LAST_STEP}
    return Queue(name, Exchange(name, type="direct"), routing_key=name, **priorities)


def _redis_options(settings: Settings) -> dict[str, Any]:
    timeout = max(settings.redis.socket_timeout_seconds, _LEAST_SOCKET_SECONDS)
    return {
        "global_keyprefix": f"{settings.redis.prefix}:celery:",
        "queue_order_strategy": "priority",
        "priority_steps": list(range(LAST_STEP + 1)),
        "sep": ":",
        "visibility_timeout": settings.celery.visibility_timeout_seconds,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
    }


def _is_redis(broker_url: str) -> bool:
    return urlsplit(broker_url).scheme in ("redis", "rediss", "redis+socket", "sentinel")


def _unavailable(error: Exception) -> BrokerUnavailable:
    return BrokerUnavailable(f"the broker cannot be reached ({error}); check that it runs and that its url is right")
