"""The groups of settings of what is sent to others; their meaning is told in `config/default.toml`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_serializer, field_validator, model_validator

from actors.setting_groups import Group, OptionalPath, starred

__all__ = [
    "CloudEventType",
    "CloudEventsSettings",
    "DatasetName",
    "OpenLineageReceiverSettings",
    "OutgoingSettings",
    "ReceiverSettings",
]

CloudEventType = Literal[
    "asset.produced",
    "asset.expired",
    "workflow.run.requested",
    "workflow.run.enqueued",
    "workflow.run.started",
    "workflow.run.succeeded",
    "workflow.run.failed",
    "workflow.run.canceled",
]


class ReceiverSettings(Group):
    """One receiver. Its token, and values of the query of its URL, stay out of the repr and of dumps;
    `Settings.read_outgoing_token` has the token, `safe_url` is for logs."""

    url: Annotated[str, Field(max_length=2_000)] = ""
    token_file: OptionalPath = None
    token: Annotated[SecretStr, Field(strict=False, max_length=4_000)] = SecretStr("")
    gzip: bool = False
    timeout_seconds: Annotated[float, Field(ge=0.1, le=300)] = 10.0

    @field_validator("url")
    @classmethod
    def _readable_url(cls, url: str) -> str:
        # The text of an error must not hold the URL: it may hold a secret.
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018 - reading it checks it
        except ValueError as error:
            raise ValueError('the URL cannot be read; write https://HOST/PATH, or "" for none') from error
        if not url:
            return url
        if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable() or " " in url:
            raise ValueError('write a URL that begins with https:// or http:// and names a host, or "" for none')
        if "@" in parts.netloc:
            raise ValueError("the URL holds a user or a password; put a token into token_file instead")
        return url

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token_file is not None and self.token.get_secret_value():
            raise ValueError("both token and token_file hold a token; keep one of them")
        return self

    @property
    def safe_url(self) -> str:
        return self.url and starred(urlsplit(self.url))

    @field_serializer("url")
    def _without_secrets(self, _: str) -> str:
        return self.safe_url

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        return [(name, self.safe_url if name == "url" else value) for name, value in super().__repr_args__()]


class DatasetName(Group):
    """What a dataset is called in OpenLineage."""

    namespace: Annotated[str, Field(min_length=1, max_length=1_000)]
    name: Annotated[str, Field(min_length=1, max_length=1_000)]


class OpenLineageReceiverSettings(ReceiverSettings):
    datasets: dict[str, DatasetName] = Field(default_factory=dict)


class CloudEventsSettings(ReceiverSettings):
    source: Annotated[str, Field(max_length=200, pattern=r"^[\x21-\x7e]*$")] = ""
    types: Annotated[tuple[CloudEventType, ...], Field(strict=False)] = ()
    batch: Annotated[int, Field(ge=1, le=1_000)] = 1

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.url and not self.source:
            raise ValueError(
                "source is missing: the name by which receivers know this Headwater, such as "
                "'urn:headwater:warehouse'; no two that tell each other may have the same"
            )
        return self


class OutgoingSettings(Group):
    openlineage: OpenLineageReceiverSettings = OpenLineageReceiverSettings()
    cloudevents: CloudEventsSettings = CloudEventsSettings()
