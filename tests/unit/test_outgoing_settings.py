"""Settings of events outward: which receivers can be named, what stays secret, and what must be installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from redis import Redis

from actors.catalog.access import Catalog
from actors.catalog.control import ControlClient
from actors.catalog.redis_store import RedisStore
from actors.core.shards import WHOLE, Shard
from actors.interfaces.outgoing.wiring import Outgoing, make_outgoing
from actors.settings import Settings, SettingsError, load_settings

URL = "https://marquez.internal/api/v1/lineage"


class Standby:
    """The fence of a service that does not lead."""

    shard: Shard = WHOLE

    def term(self) -> int | None:
        return None

    def refused(self, term: int) -> None:
        raise AssertionError("nothing was written")


def load(**variables: str) -> Settings:
    return load_settings([], {f"HEADWATER_OUTGOING__{name}": value for name, value in variables.items()})


def make(settings: Settings) -> Outgoing:
    client = Redis()  # connects to nothing before it is asked
    catalog = Catalog(RedisStore(client, prefix="p"), ControlClient(client, prefix="p"), client)
    return make_outgoing(settings, catalog, Standby(), CollectorRegistry(), leads=lambda: False)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "begins with https:// or http://"),
        ("ftp://marquez.internal/", "begins with https:// or http://"),
        ("marquez.internal/api", "begins with https:// or http://"),
        ("https:///api", "names a host"),
        ("https://marquez internal/", "begins with https:// or http://"),
        ("https://user:pass@marquez.internal/", "put a token into token_file"),
        ("https://marquez.internal:port/", "the URL cannot be read"),
    ],
)
def test_a_url_that_cannot_be_used(url: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as caught:
        load(OPENLINEAGE__URL=url)
    assert "outgoing.openlineage.url" in str(caught.value)
    assert "pass@" not in str(caught.value)


def test_who_sends_cloudevents_has_a_name() -> None:
    with pytest.raises(SettingsError, match="source is missing"):
        load(CLOUDEVENTS__URL=URL)
    assert load(CLOUDEVENTS__URL=URL, CLOUDEVENTS__SOURCE="urn:headwater:test").outgoing.cloudevents.url == URL


def test_a_type_that_is_not_sent_is_refused() -> None:
    assert load(CLOUDEVENTS__TYPES='["asset.expired"]').outgoing.cloudevents.types == ("asset.expired",)
    with pytest.raises(SettingsError, match=r"outgoing\.cloudevents\.types"):
        load(CLOUDEVENTS__TYPES='["asset.made"]')


def test_secrets_are_in_no_dump(tmp_path: Path) -> None:
    settings = load(OPENLINEAGE__URL=f"{URL}?key=hidden", OPENLINEAGE__TOKEN="hidden-too")
    receiver = settings.outgoing.openlineage
    assert receiver.url == f"{URL}?key=hidden"
    assert "hidden" not in f"{settings!r} {settings.model_dump_json()} {receiver.safe_url}"
    assert settings.read_outgoing_token("openlineage", receiver) == "hidden-too"


def test_a_token_comes_from_its_file_and_can_be_sent(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-a-file\n")
    receiver = load(OPENLINEAGE__TOKEN_FILE=str(file)).outgoing.openlineage
    settings = Settings()
    assert settings.read_outgoing_token("openlineage", receiver) == "from-a-file"
    file.write_text("two\nlines")
    with pytest.raises(SettingsError, match=r"outgoing\.openlineage\.token: write printable ASCII"):
        settings.read_outgoing_token("openlineage", receiver)
    with pytest.raises(SettingsError, match="keep one of them"):
        load(OPENLINEAGE__TOKEN_FILE=str(file), OPENLINEAGE__TOKEN="another")


def test_a_name_that_no_server_can_have_is_told_at_the_start() -> None:
    with pytest.raises(SettingsError, match=r"outgoing\.openlineage\.url: the URL cannot be used"):
        make(load(OPENLINEAGE__URL="http://999.999.999.999/"))


def test_the_extra_is_needed_only_by_who_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    without: Any = None
    monkeypatch.setitem(sys.modules, "httpx", without)
    monkeypatch.delitem(sys.modules, "actors.interfaces.outgoing.sender", raising=False)
    make(load())
    with pytest.raises(SettingsError, match=r"pip install 'headwater\[outgoing\]'"):
        make(load(OPENLINEAGE__URL=URL))
