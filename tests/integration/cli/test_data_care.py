"""`backup`, `restore` and `doctor`, and how every command meets a catalog that it cannot open."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from actors.catalog.embedded import EmbeddedServer
from tests.integration.cli.conftest import ROOT, Place, make_place

pytestmark = pytest.mark.integration


def test_a_backup_is_restored_into_another_catalog(
    filled: Place, tmp_path_factory: pytest.TempPathFactory, server_url: str, prefix: str
) -> None:
    filled.ok("emit", "asset.produced", "--asset", "orders.raw")
    filled.ok("trigger", "daily")
    file = filled.folder / "catalog.backup"
    wrote = filled.ok("backup", file, "--json").json
    assert wrote.keys() == {"file", "keys", "bytes", "position", "isConsistent"}
    assert (wrote["file"], wrote["bytes"], wrote["isConsistent"]) == (str(file), file.stat().st_size, True)

    other = make_place(tmp_path_factory.mktemp("other"), redis=f'url = "{server_url}"\nprefix = "{prefix}-other"')
    try:
        restored = other.ok("restore", file, "--json").json
        assert (restored["keys"], restored["position"], restored["mended"]) == (wrote["keys"], wrote["position"], [])
        for command in (["runs"], ["workflows"], ["history", "orders.raw"]):
            assert other.ok(*command, "--json").json == filled.ok(*command, "--json").json
        assert other.ok("doctor").out == "nothing found\ndead letters: 0\n"

        again = other.run("restore", file)
        assert (again.code, again.out) == (1, "")
        assert "is not empty; give --replace" in again.err
        assert other.ok("restore", file, "--replace").out.startswith("restored ")
    finally:
        client = Redis.from_url(server_url)
        for key in client.scan_iter(f"{prefix}-other:*"):
            client.delete(key)
        client.close()


def test_a_damaged_backup_is_refused(filled: Place) -> None:
    file = filled.folder / "catalog.backup"
    filled.ok("backup", file)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    answer = filled.run("restore", file, "--replace")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {file}: the file is damaged")
    assert filled.ok("workflows", "--json").json != []


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_file_that_cannot_be_used_is_named(filled: Place, command: str) -> None:
    answer = filled.run(command, filled.folder / "none" / "x")
    assert (answer.code, answer.out) == (1, "")
    assert str(filled.folder / "none") in answer.err


def test_beside_a_service_there_are_backups_but_no_restores(place: Place) -> None:
    file = place.folder / "catalog.backup"
    with place.service():
        place.ok("emit", "asset.produced", "--asset", "orders.raw")
        place.ok("backup", file)
        place.until(lambda found: found == {"findings": [], "deadLetters": 0}, "doctor")
        answer = place.run("restore", file, "--replace")
        assert answer.code == 1
        assert "a service is running on the catalog" in answer.err
    place.ok("restore", file, "--replace")


def test_the_embedded_catalog_goes_the_same_way(tmp_path: Path) -> None:
    place = make_place(tmp_path, redis="")
    place.ok("emit", "asset.produced", "--asset", "orders.raw")
    place.ok("backup", tmp_path / "b")
    holder = EmbeddedServer(tmp_path / "data")
    holder.acquire(service=True)
    try:
        answer = place.run("restore", tmp_path / "b", "--replace")
        assert answer.code == 1
        assert "is in use by" in answer.err
    finally:
        holder.release()
    place.ok("restore", tmp_path / "b", "--replace")
    assert len(place.ok("history", "orders.raw", "--json").json) == 1


def test_the_doctor_tells_then_mends(filled: Place, client: Redis, prefix: str) -> None:
    client.hset(f"{prefix}:claims", "daily\x1f", "run-gone")
    client.xadd(f"{prefix}:dead-letters", {"reason": "x"})
    told = filled.run("doctor")
    assert told.code == 1
    assert told.out.splitlines() == [
        f"claim-without-run  {prefix}:claims  daily",
        "  is claimed by run run-gone, which is not known",
        "  --fix: gives the claim free",
        "1 found; --fix mends them",
        "dead letters: 1",
    ]
    as_json = filled.run("doctor", "--json")
    assert as_json.code == 1
    assert as_json.json == {
        "findings": [
            {
                "kind": "claim-without-run",
                "key": f"{prefix}:claims",
                "item": "daily",
                "what": "is claimed by run run-gone, which is not known",
                "mend": "gives the claim free",
                "isMended": False,
            }
        ],
        "deadLetters": 1,
    }
    assert "  mended: gives the claim free" in filled.ok("doctor", "--fix").out
    assert filled.ok("doctor").out == "nothing found\ndead letters: 1\n"


COMMANDS = (
    ["runs"],
    ["workflows"],
    ["debug"],
    ["status"],
    ["doctor"],
    ["backup", "x"],
    ["emit", "asset.produced", "--asset", "a"],
    ["trigger", "daily"],
    ["pause", "--all"],
    ["serve"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_newer_catalog_is_opened_by_no_command(place: Place, client: Redis, prefix: str, command: list[str]) -> None:
    client.set(f"{prefix}:schema-version", "99")
    answer = place.run(*command)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(f"error: the catalog {prefix!r} on ")
    assert "has version 99, and this program knows versions up to 1" in answer.err
    assert list(client.scan_iter(f"{prefix}:*")) == [f"{prefix}:schema-version"]


def test_the_service_says_so_too(place: Place, client: Redis, prefix: str) -> None:
    client.set(f"{prefix}:schema-version", "99")
    done = subprocess.run(
        [sys.executable, "run.py", "--config", str(place.settings)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: the catalog {prefix!r} on ")
    assert "Traceback" not in done.stderr


def test_a_new_catalog_has_a_version(place: Place, client: Redis, prefix: str) -> None:
    place.ok("workflows")
    assert client.get(f"{prefix}:schema-version") == "1"
    assert json.loads(place.ok("workflows", "--json").out) == []
