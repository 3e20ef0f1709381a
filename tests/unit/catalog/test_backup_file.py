"""The file of a backup: whole or not there, and refused when a single byte of it differs."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.catalog.backup_file import BackupInvalid, BackupWriter, read_records, verify, write_backup
from actors.catalog.store import JsonObject

RECORDS: list[JsonObject] = [
    {"name": "counters", "type": "hash", "items": [["up", "1"]], "begin": True},
    {"name": "history:up", "type": "list", "items": ["x" * 200, "\udcff ü"], "begin": True},
]
REPEATED = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a small backup."""
    file = tmp_path_factory.mktemp("sound") / "backup"
    with write_backup(file, {"schemaVersion": 1}) as writer:
        for record in RECORDS:
            writer.write(record)
        writer.end = {"keys": 2}
    return file.read_bytes()


def test_what_was_written_is_read(tmp_path: Path, sound: bytes) -> None:
    (tmp_path / "backup").write_bytes(sound)
    about = verify(tmp_path / "backup")
    assert (about["schemaVersion"], about["records"], about["keys"]) == (1, 2, 2)
    assert list(read_records(tmp_path / "backup")) == RECORDS


@given(data=st.data())
@REPEATED
def test_a_single_changed_byte_is_refused(tmp_path: Path, sound: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(sound) - 1))
    changed = bytearray(sound)
    changed[at] ^= data.draw(st.integers(1, 255))
    (tmp_path / "damaged").write_bytes(changed)
    with pytest.raises(BackupInvalid, match=str(tmp_path / "damaged")):
        verify(tmp_path / "damaged")


def test_a_changed_bit_that_unzips_to_the_same_is_refused_too(tmp_path: Path, sound: bytes) -> None:
    """The time in the header of the gzip format is such a one."""
    changed = bytearray(sound)
    changed[4] ^= 1
    assert gzip.decompress(changed) == gzip.decompress(sound)
    (tmp_path / "damaged").write_bytes(changed)
    with pytest.raises(BackupInvalid, match="checksum"):
        verify(tmp_path / "damaged")


@given(length=st.integers(0, 400))
@REPEATED
def test_a_file_that_is_cut_off_or_goes_on_is_refused(tmp_path: Path, sound: bytes, length: int) -> None:
    length %= len(sound)
    for content in (sound[:length], sound + sound[:length] + b"x", sound[length + 1 :]):
        (tmp_path / "damaged").write_bytes(content)
        with pytest.raises(BackupInvalid):
            verify(tmp_path / "damaged")


def test_it_is_readable_text(sound: bytes) -> None:
    lines = [json.loads(line) for line in gzip.decompress(sound).splitlines()]
    assert lines[0] == {"format": "headwater-backup", "formatVersion": 1, "schemaVersion": 1}
    assert lines[1:3] == RECORDS
    assert lines[3] == {"type": "end", "records": 2, "keys": 2}
    assert lines[4].keys() == {"sha256"}


def test_one_that_fails_leaves_the_former_file(tmp_path: Path) -> None:
    file = tmp_path / "backup"
    file.write_text("former")

    def fail(writer: BackupWriter) -> None:
        writer.write(RECORDS[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), write_backup(file, {}) as writer:
        fail(writer)
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]
    assert file.read_text() == "former"
    with write_backup(file, {}):
        pass
    assert verify(file)["records"] == 0
    assert file.stat().st_mode & 0o077 == 0, "it holds all that the catalog knows"


@pytest.mark.parametrize("path", ["none", "."])
def test_a_file_that_is_none_is_told_by_the_system(tmp_path: Path, path: str) -> None:
    with pytest.raises(OSError, match=str(tmp_path)):
        verify(tmp_path / path)
