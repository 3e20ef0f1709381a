"""Job files: what is read, what is refused and how it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.execution.jobs import Command, JobRegistry, JobUnknown, PythonFunction


def write(folder: Path, text: str, name: str = "jobs.toml") -> JobRegistry:
    (folder / name).write_text(text)
    return JobRegistry.load(folder)


def problems(registry: JobRegistry) -> list[str]:
    return [str(problem) for problem in registry.problems]


def test_a_function_with_everything(tmp_path: Path) -> None:
    registry = write(
        tmp_path,
        """
        [jobs.daily-orders]
        python = "shop.orders:Daily.build"
        env = { REGION = "north", EMPTY = "" }
        cwd = "work"
        timeout_ms = 5000
        description = "Builds the orders"
        """,
    )
    job = registry.job("daily-orders")
    assert registry.problems == ()
    assert job.call == PythonFunction("shop.orders", "Daily.build")
    assert job.env == {"REGION": "north", "EMPTY": ""}
    assert (job.folder, job.cwd) == (tmp_path, tmp_path / "work")
    assert (job.timeout_ms, job.description) == (5000, "Builds the orders")


@pytest.mark.parametrize(
    ("program", "expected"),
    [("python3", "python3"), ("./run.sh", "{}/run.sh"), ("bin/run", "{}/bin/run"), ("/bin/sh", "/bin/sh")],
)
def test_only_a_path_is_relative_to_the_file(tmp_path: Path, program: str, expected: str) -> None:
    job = write(tmp_path, f'[jobs.x]\ncommand = ["{program}", "./argument"]').job("x")
    assert job.call == Command((expected.format(tmp_path), "./argument"))
    assert job.cwd is None


@pytest.mark.parametrize(
    ("body", "key", "reason"),
    [
        ("", "", "needs 'python' or 'command'"),
        ('python = "a:b"\ncommand = ["c"]', "", "has both"),
        ('python = "module"', "python", "must read 'module:function', got 'module'"),
        ('python = "a/b.py:run"', "python", "must read"),
        ("python = 3", "python", "must read"),
        ('command = "ls -l"', "command", "must be a list"),
        ("command = []", "command", "must be a list"),
        ('command = ["ls", 1]', "command", "must be a list"),
        ('command = [""]', "command", "must be a list"),
        ('python = "a:b"\ntimeout_ms = 0', "timeout_ms", "positive"),
        ('python = "a:b"\ntimeout_ms = true', "timeout_ms", "positive"),
        ('python = "a:b"\ntimeout_ms = 1.5', "timeout_ms", "positive"),
        ('python = "a:b"\nenv = { A = 1 }', "env.A", "got 1"),
        ('python = "a:b"\nenv = ["A"]', "env", "must be a table"),
        ('python = "a:b"\ncwd = 7', "cwd", "path of a folder"),
        ('python = "a:b"\ntimeout = 7', "timeout", "did you mean 'timeout_ms'?"),
        ('python = "a:b"\nzzz = 7', "zzz", "the keys are"),
        ('python = "a:b"\ndescription = 7', "description", "must be text"),
    ],
)
def test_a_bad_job_is_told_and_spoils_nothing_else(tmp_path: Path, body: str, key: str, reason: str) -> None:
    registry = write(tmp_path, f'[jobs.bad]\n{body}\n[jobs.good]\npython = "a:b"')
    (problem,) = registry.problems
    assert (problem.file, problem.slug, problem.key) == (tmp_path / "jobs.toml", "bad", key)
    assert reason in problem.reason
    assert list(registry.jobs) == ["good"]


@pytest.mark.parametrize("content", [b"[jobs.x", b"\xff\xfe", b'[jobs.x]\npython = "a:b"\n[jobs.x]'])
def test_a_bad_file_spoils_no_other(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.toml").write_bytes(content)
    registry = write(tmp_path, '[jobs.good]\npython = "a:b"', "b.toml")
    (problem,) = registry.problems
    assert problem.file == tmp_path / "a.toml"
    assert list(registry.jobs) == ["good"]


def test_what_is_not_a_job_is_told(tmp_path: Path) -> None:
    registry = write(tmp_path, 'title = "x"\n[jobs]\nbad = 1\n[jobs.good]\npython = "a:b"')
    assert list(registry.jobs) == ["good"]
    texts = problems(registry)
    assert len(texts) == 2
    assert f"{tmp_path}/jobs.toml: title:" in texts[0]
    assert f"{tmp_path}/jobs.toml: [jobs.bad]:" in texts[1]


def test_jobs_that_are_no_table(tmp_path: Path) -> None:
    assert "must hold tables" in problems(write(tmp_path, "jobs = 3"))[0]


def test_of_two_jobs_of_one_name_the_first_file_wins(tmp_path: Path) -> None:
    write(tmp_path, '[jobs.x]\npython = "a:first"', "a.toml")
    registry = write(tmp_path, '[jobs.x]\npython = "b:second"', "b.toml")
    assert registry.job("x").call == PythonFunction("a", "first")
    (problem,) = registry.problems
    assert (problem.file.name, problem.slug) == ("b.toml", "x")


def test_an_unknown_job_names_folder_and_near_matches(tmp_path: Path) -> None:
    registry = write(tmp_path, '[jobs.daily-orders]\npython = "a:b"')
    with pytest.raises(JobUnknown, match="'daily-order'") as caught:
        registry.job("daily-order")
    assert str(tmp_path) in str(caught.value)
    assert "did you mean 'daily-orders'?" in str(caught.value)


def test_an_unknown_job_names_the_problem_that_is_the_cause(tmp_path: Path) -> None:
    registry = write(tmp_path, "[jobs.x]\npython = 3\n[jobs.y]\npython = 4")
    with pytest.raises(JobUnknown) as caught:
        registry.job("x")
    assert "[jobs.x] python: must read" in str(caught.value)
    assert "[jobs.y]" not in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    registry = JobRegistry.load(tmp_path / "nowhere")
    assert "no such folder" in problems(registry)[0]
    with pytest.raises(JobUnknown, match="no such folder"):
        registry.job("x")


def test_a_reload_is_a_new_registry(tmp_path: Path) -> None:
    before = write(tmp_path, '[jobs.x]\npython = "a:b"')
    after = write(tmp_path, '[jobs.x]\npython = "a:c"')
    assert before.job("x").call == PythonFunction("a", "b")
    assert after.job("x").call == PythonFunction("a", "c")
