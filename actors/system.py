"""What `run.py` serves: a service on its catalog, the orders that it gets by signals, and its end."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from actors.catalog.access import open_catalog
from actors.catalog.directory import DirectoryUnreadable
from actors.catalog.store import CatalogUnavailable
from actors.interfaces.logs import configure_logging
from actors.orders import Orders
from actors.service import Service
from actors.settings import Settings, SettingsError, load_settings

__all__ = ["Service", "serve"]

_log = structlog.stdlib.get_logger("headwater")

ROLE: Final = "role"
"""The order to look whether the service leads."""


def serve(settings: Settings, config_files: Sequence[Path] = ()) -> int:
    """Run the service until a signal stops it. SIGHUP reads settings, jobs and definitions again.

    Returns:
        0 after a clean stop, 1 if the service gave up

    Raises:
        CatalogUnavailable, EmbeddedServerFailed, MetricsServerFailed, DirectoryUnreadable: it could not start.
    """
    logging = configure_logging(settings.log.format, settings.log.level)
    try:
        with (
            Orders((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)) as orders,
            open_catalog(settings, service=True) as catalog,
        ):
            service = Service(
                settings,
                catalog,
                give_up=lambda reason: orders.put(f"give up: {reason}"),
                on_role=lambda: orders.put(ROLE),
            )
            service.start()
            try:
                return _until_stopped(service, orders, config_files)
            finally:
                service.stop()
    finally:
        logging.stop()


def _until_stopped(service: Service, orders: Orders, config_files: Sequence[Path]) -> int:
    while True:
        match orders.get():
            case "SIGHUP":
                try:
                    service.reload(load_settings(config_files))
                except (SettingsError, DirectoryUnreadable, CatalogUnavailable) as error:
                    _log.error("settings.refused", error=str(error), text=f"not everything was read again: {error}")
            case order if order == ROLE:
                service.take_role()
            case order if order.startswith("give up"):
                _log.error("service.gave_up", reason=order, text=f"stopping: {order}")
                return 1
            case order:
                _log.info("service.stopping", signal=order, text=f"stopping: {order}")
                return 0
