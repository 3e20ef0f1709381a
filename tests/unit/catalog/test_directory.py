"""The folder of definitions: which files count, and what becomes of those that cannot be used."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from actors.catalog.directory import DirectoryUnreadable, load_directory, load_path
from actors.catalog.problems import DefinitionInvalid


def definition(slug: str) -> str:
    return json.dumps({"slug": slug, "name": slug, "steps": [{"id": "s", "jobSlug": "j"}]})


def test_json_and_yaml_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    # JSON is YAML, so one text serves both.
    for name in ("c.json", "a.yaml", "b.YML"):
        (tmp_path / name).write_text(definition(name[0]))

    found = load_directory(tmp_path)

    assert [(file.name, d.slug) for file, d in found.definitions.items()] == [
        ("a.yaml", "a"),
        ("b.YML", "b"),
        ("c.json", "c"),
    ]
    assert found.refused == ()


def test_what_editors_write_and_other_files_are_passed_over(tmp_path: Path) -> None:
    for name in (".w.json", "w.json~", ".#w.json", "w.json.swp", "#w.json#", "notes.txt", "w"):
        (tmp_path / name).write_text(definition("w"))
    (tmp_path / "below.json").mkdir()
    (tmp_path / "below.json" / "w.json").write_text(definition("w"))

    found = load_directory(tmp_path)

    assert (found.definitions, found.refused) == ({}, ())


def test_a_bad_file_does_not_keep_the_others_out(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text(definition("b"))

    found = load_directory(tmp_path)

    assert [d.slug for d in found.definitions.values()] == ["b"]
    (refused,) = found.refused
    assert refused.source == str(tmp_path / "a.json")


def test_the_second_file_of_a_slug_is_refused_and_names_the_first(tmp_path: Path) -> None:
    for name in ("a.json", "b.json", "c.json"):
        (tmp_path / name).write_text(definition("same"))

    found = load_directory(tmp_path)

    assert list(found.definitions) == [tmp_path / "a.json"]
    assert [refused.source for refused in found.refused] == [str(tmp_path / "b.json"), str(tmp_path / "c.json")]
    for refused in found.refused:
        assert refused.problems[0].path == "$.slug"
        assert str(tmp_path / "a.json") in str(refused)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")

    (refused,) = load_directory(tmp_path).refused

    assert "gone.json" in str(refused)
    assert "No such file" in str(refused)


@pytest.mark.timeout(20)
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")

    (refused,) = load_directory(tmp_path).refused

    assert "no regular file" in str(refused)


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DirectoryUnreadable, match=r"nowhere: .*workflows_dir"):
        load_directory(tmp_path / "nowhere")


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DirectoryUnreadable, match="Not a directory"):
        load_directory(tmp_path / "file")


def test_one_file(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text("slug: w\nname: W\nsteps: [{id: s, jobSlug: j}]")
    assert load_path(tmp_path / "w.yaml").slug == "w"


def test_one_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text("")
    with pytest.raises(DefinitionInvalid, match=r"'\.toml' is not one of \.json, \.yaml, \.yml"):
        load_path(tmp_path / "w.toml")


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(" " * (1024 * 1024) + definition("w"))
    with pytest.raises(DefinitionInvalid, match="larger than 1048576 bytes"):
        load_path(tmp_path / "w.json")
