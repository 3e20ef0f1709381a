from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actors.execution.jobs import JobRegistry
from actors.interfaces.checking import Checked, check_files, checked_json, definition_files
from tests.unit.interfaces.definitions import document


@pytest.fixture
def jobs(tmp_path: Path) -> JobRegistry:
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "jobs.toml").write_text('[jobs.make]\npython = "mod:make"\n')
    return JobRegistry.load(folder)


def _check(tmp_path: Path, jobs: JobRegistry, *documents: dict[str, Any], pools: tuple[str, ...] = ()) -> list[Checked]:
    files = []
    for index, one in enumerate(documents):
        file = tmp_path / f"{index}.json"
        file.write_text(json.dumps(one))
        files.append(file)
    return check_files(files, pools=pools, jobs=jobs)


def test_a_sound_file_is_ok(tmp_path: Path, jobs: JobRegistry) -> None:
    (one,) = _check(tmp_path, jobs, document("w", "A"))
    assert one.status == "ok"
    assert checked_json(one) == {
        "file": str(tmp_path / "0.json"),
        "status": "ok",
        "slug": "w",
        "version": 1,
        "problems": [],
        "warnings": [],
    }


def test_problems_name_the_place(tmp_path: Path, jobs: JobRegistry) -> None:
    (one,) = _check(tmp_path, jobs, document("w", "A", freshness={"ttlMs": -5}))
    assert one.status == "invalid"
    assert [problem.path for problem in one.problems] == ["$.steps[0].produces[0].freshness.ttlMs"]


def test_a_slug_may_be_used_once(tmp_path: Path, jobs: JobRegistry) -> None:
    first, second = _check(tmp_path, jobs, document("w", "A"), document("w", "B"))
    assert first.status == "ok"
    assert [(p.path, "0.json" in p.reason) for p in second.problems] == [("$.slug", True)]


def test_workflows_must_not_feed_each_other_in_a_circle(tmp_path: Path, jobs: JobRegistry) -> None:
    first, second = _check(tmp_path, jobs, document("a", "A", "B"), document("b", "B", "A"))
    assert first.status == "ok"
    (problem,) = second.problems
    assert "b -> a -> b" in problem.reason


def test_an_unknown_pool_is_a_warning_with_the_near_one(tmp_path: Path, jobs: JobRegistry) -> None:
    (one,) = _check(tmp_path, jobs, document("w", "A", autoMaterialize={"pool": "gpus"}), pools=("gpu",))
    assert one.status == "warnings"
    (warning,) = one.warnings
    assert warning.path == "$.steps[0].produces[0].autoMaterialize.pool"
    assert "did you mean 'gpu'" in warning.reason


def test_an_unknown_job_is_a_warning(tmp_path: Path, jobs: JobRegistry) -> None:
    other = document("w", "A")
    other["steps"][0]["jobSlug"] = "meke"
    (one,) = _check(tmp_path, jobs, other)
    (warning,) = one.warnings
    assert warning.path == "$.steps[0].jobSlug"
    assert "did you mean 'make'" in warning.reason


def test_partitions_that_never_meet_are_a_warning(tmp_path: Path, jobs: JobRegistry) -> None:
    up = document("up", "A", partitioning={"type": "static", "keys": ["eu"]})
    down = document(
        "down",
        "B",
        "A",
        partitioning={"type": "static", "keys": ["us"]},
        autoMaterialize={"onUpstreamUpdate": True},
    )
    # The order of the files must not matter.
    one, _ = _check(tmp_path, jobs, down, up)
    assert ["'A' -> 'B'" in warning.reason for warning in one.warnings] == [True]


def test_folders_give_their_definitions_each_once(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.json", "c.yml", ".hidden.json", "notes.txt", "d.json~"):
        (tmp_path / name).write_text("x")
    (tmp_path / "sub.json").mkdir()
    files = definition_files([tmp_path, tmp_path / "a.json", tmp_path / "notes.txt"])
    assert [file.name for file in files] == ["a.json", "b.yaml", "c.yml", "notes.txt"]


def test_a_missing_file_is_told_as_such(tmp_path: Path, jobs: JobRegistry) -> None:
    (one,) = check_files([tmp_path / "none.json"], pools=(), jobs=jobs)
    assert one.status == "invalid"
    assert "cannot be read" in one.problems[0].reason
