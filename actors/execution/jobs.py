"""Job files: which code a `jobSlug` stands for.

A job file is TOML. Each table `[jobs.SLUG]` has either `python = "module:function"` or
`command = ["program", "arg"]`, and may have `env = {NAME = "value"}`, `cwd`, `timeout_ms` and `description`.
A module is looked for in the file's folder first; a relative `cwd`, and a program with a relative path, start
there too. Without `cwd` a job runs where the service was started.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Self, cast

__all__ = ["Command", "Job", "JobProblem", "JobRegistry", "JobUnknown", "PythonFunction"]

_DOTTED: Final = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_PYTHON: Final = re.compile(rf"({_DOTTED}):({_DOTTED})")
_KEYS: Final = ("python", "command", "env", "cwd", "timeout_ms", "description")
_MAX_TIMEOUT_MS: Final = 366 * 24 * 60 * 60 * 1_000


@dataclass(frozen=True, slots=True)
class PythonFunction:
    module: str
    function: str

    def __str__(self) -> str:
        return f"{self.module}:{self.function}"


@dataclass(frozen=True, slots=True)
class Command:
    """A program, found by its path or in PATH, and its arguments; no shell."""

    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.arguments)


@dataclass(frozen=True, slots=True)
class Job:
    """`folder` is that of the job file. `env` is added to the service's. A step's own timeout comes first."""

    slug: str
    call: PythonFunction | Command
    folder: Path
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_ms: int | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class JobProblem:
    """What keeps a job, or with an empty `slug` a whole file, from being used."""

    file: Path
    slug: str
    key: str
    reason: str

    def __str__(self) -> str:
        where = f" [jobs.{self.slug}]" if self.slug else ""
        return f"{self.file}:{where}{' ' + self.key if self.key else ''}: {self.reason}"


class JobUnknown(LookupError):  # noqa: N818 - as `CatalogUnavailable` and the like
    """No job has this slug; the text names the folder, close matches, and problems that may be the cause."""


class _FlawError(ValueError):
    def __init__(self, key: str, reason: str) -> None:
        self.key = key
        self.reason = reason
        super().__init__(f"{key}: {reason}")


@dataclass(frozen=True, slots=True)
class JobRegistry:
    """Every job of one folder, as read at one moment; a change is a new registry."""

    jobs_dir: Path
    jobs: Mapping[str, Job] = field(default_factory=dict)
    problems: tuple[JobProblem, ...] = ()

    @classmethod
    def load(cls, jobs_dir: Path) -> Self:
        """Read every `*.toml` of the folder. A bad file or job becomes a problem and spoils nothing else."""
        folder = jobs_dir.absolute()
        if not folder.is_dir():
            return cls(folder, problems=(JobProblem(folder, "", "", "there is no such folder; no job can be found"),))
        jobs: dict[str, Job] = {}
        problems: list[JobProblem] = []
        for file in sorted(folder.glob("*.toml")):
            for found in _read(file):
                if isinstance(found, JobProblem):
                    problems.append(found)
                elif found.slug in jobs:
                    reason = "another file of the folder has a job of this name, which is used; rename one of them"
                    problems.append(JobProblem(file, found.slug, "", reason))
                else:
                    jobs[found.slug] = found
        return cls(folder, jobs, tuple(problems))

    def job(self, slug: str) -> Job:
        """The job of this name.

        Raises:
            JobUnknown: there is none that can be used.
        """
        job = self.jobs.get(slug)
        if job is not None:
            return job
        text = f"there is no job {slug!r} in {self.jobs_dir}"
        near = get_close_matches(slug, self.jobs, n=3)
        if near:
            text += f"; did you mean {' or '.join(repr(name) for name in near)}?"
        causes = [problem for problem in self.problems if problem.slug in ("", slug)]
        if causes:
            text += f"; it may be for this: {'; '.join(str(cause) for cause in causes[:3])}"
        raise JobUnknown(text)


def _read(file: Path) -> Iterator[Job | JobProblem]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield JobProblem(file, "", "", f"the file cannot be read: {error}")
        return
    for key in document.keys() - {"jobs"}:
        yield JobProblem(file, "", key, "this key means nothing here; a job is a table [jobs.SLUG]")
    tables = document.get("jobs", {})
    if not isinstance(tables, dict):
        yield JobProblem(file, "", "jobs", "must hold tables [jobs.SLUG]")
        return
    for slug, table in tables.items():
        try:
            yield _job(file, slug, table)
        except _FlawError as flaw:
            yield JobProblem(file, slug, flaw.key, flaw.reason)


def _job(file: Path, slug: str, table: object) -> Job:
    if not isinstance(table, dict):
        raise _FlawError("", "must be a table with 'python' or 'command'")
    for key in table:
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(_KEYS)}"
            raise _FlawError(key, f"this key is not known; {hint}")
    folder = file.parent
    cwd = table.get("cwd")
    if cwd is not None and not (isinstance(cwd, str) and cwd):
        raise _FlawError("cwd", f"must be the path of a folder, got {cwd!r}")
    description = table.get("description", "")
    if not isinstance(description, str):
        raise _FlawError("description", f"must be text, got {description!r}")
    return Job(
        slug=slug,
        call=_call(table, folder),
        folder=folder,
        cwd=folder / cwd if cwd else None,
        env=_env(table.get("env", {})),
        timeout_ms=_timeout(table.get("timeout_ms")),
        description=description,
    )


def _call(table: Mapping[str, object], folder: Path) -> PythonFunction | Command:
    match table.get("python"), table.get("command"):
        case None, None:
            raise _FlawError("", "needs 'python' or 'command'")
        case str() as text, None:
            found = _PYTHON.fullmatch(text)
            if found is None:
                raise _FlawError("python", f"must read 'module:function', got {text!r}")
            return PythonFunction(found[1], found[2])
        case None, [str(program), *rest] if program and all(isinstance(item, str) for item in rest):
            # With a slash it is a path, as in a shell; without one it is looked for in PATH.
            path = str(folder / program) if "/" in program else program
            return Command((path, *cast("list[str]", rest)))
        case None, value:
            raise _FlawError("command", f"must be a list of texts that begins with a program, got {value!r}")
        case value, None:
            raise _FlawError("python", f"must read 'module:function', got {value!r}")
        case _:
            raise _FlawError("", "has both 'python' and 'command'; keep one of them")


def _env(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _FlawError("env", f"must be a table of texts, got {value!r}")
    for name, text in value.items():
        if not name or "=" in name or not isinstance(text, str) or "\0" in name + text:
            raise _FlawError(f"env.{name}", f"must be a name without '=' and a text, got {text!r}")
    return value


def _timeout(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _MAX_TIMEOUT_MS:
        raise _FlawError("timeout_ms", f"must be a positive number of milliseconds, at most a year, got {value!r}")
    return value
