"""Who is told of what happens: a delivery for each receiver that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry

from actors.catalog.access import Catalog
from actors.catalog.outgoing_feed import OutgoingFeed
from actors.catalog.scripts import Fence
from actors.interfaces.outgoing.cloudevents import CloudEventsForm
from actors.interfaces.outgoing.delivery import Delivery
from actors.interfaces.outgoing.metrics import OutgoingMetrics
from actors.interfaces.outgoing.openlineage import OpenLineageForm
from actors.outgoing_settings import ReceiverSettings
from actors.settings import Settings, SettingsError

__all__ = ["Outgoing", "make_outgoing"]


class Outgoing:
    """The deliveries of one service. They can be started once."""

    def __init__(self, deliveries: Sequence[Delivery]) -> None:
        self._deliveries = deliveries

    def prepare(self) -> None:
        """Before the service acts as the leader: receivers that are new hear of all that it does.

        Raises:
            CatalogUnavailable: the server cannot be reached.
            Deposed: the service does not lead (any more).
        """
        for delivery in self._deliveries:
            delivery.prepare()

    def start(self) -> None:
        for delivery in self._deliveries:
            delivery.start()

    def stop(self) -> None:
        for delivery in self._deliveries:
            delivery.signal_stop()
        for delivery in self._deliveries:
            delivery.stop()


def make_outgoing(
    settings: Settings, catalog: Catalog, fence: Fence, registry: CollectorRegistry, *, leads: Callable[[], bool]
) -> Outgoing:
    """One delivery for each receiver. Their metrics are in the registry, whether or not there is one.

    Raises:
        SettingsError: a URL or a token cannot be used, or the library for HTTP is not installed.
    """
    outgoing = settings.outgoing
    metrics = OutgoingMetrics(registry)
    wanted: list[tuple[OpenLineageForm | CloudEventsForm, ReceiverSettings]] = [
        (OpenLineageForm(settings.openlineage.namespace, outgoing.openlineage.datasets), outgoing.openlineage),
        (
            CloudEventsForm(
                outgoing.cloudevents.source, types=outgoing.cloudevents.types, most=outgoing.cloudevents.batch
            ),
            outgoing.cloudevents,
        ),
    ]
    return Outgoing(
        [
            _delivery(settings, catalog, fence, metrics, form, receiver, leads)
            for form, receiver in wanted
            if receiver.url
        ]
    )


def _delivery(
    settings: Settings,
    catalog: Catalog,
    fence: Fence,
    metrics: OutgoingMetrics,
    form: OpenLineageForm | CloudEventsForm,
    receiver: ReceiverSettings,
    leads: Callable[[], bool],
) -> Delivery:
    try:
        from actors.interfaces.outgoing.sender import Sender
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"outgoing.{form.name}.url is set, and {error.name!r} is not installed; pip install 'headwater[outgoing]'"
        ) from None
    token = settings.read_outgoing_token(form.name, receiver)
    try:
        sender = Sender(receiver, token=token, content_type=form.content_type)
    except ValueError as error:
        raise SettingsError(f"outgoing.{form.name}.url: {error}") from None
    feed = OutgoingFeed(
        catalog.client,
        name=form.name,
        prefix=settings.redis.prefix,
        streams=settings.streams,
        fence=fence,
        with_runs=form.with_runs,
    )
    return Delivery(feed, form, sender, metrics, leads=leads)
