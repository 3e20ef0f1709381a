"""Settings: the layers, what is refused and how it is named, and that the documented defaults are the real ones."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from actors import settings as module
from actors.core.backoff import BackoffPolicy, FailureBudget
from actors.settings import DEFAULT_FILE, Settings, SettingsError, load_settings

FREE_TABLES = {
    *("concurrency.workflows", "concurrency.pools", "celery.queues", "execution.http.headers"),
    "outgoing.openlineage.datasets",
}
PRODUCTION_FILE = DEFAULT_FILE.with_name("production.toml")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def load(*files: Path, **variables: str) -> Settings:
    return load_settings(files, {f"HEADWATER_{name}": value for name, value in variables.items()})


def refusal(*files: Path, **variables: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(*files, **variables)
    return str(caught.value).splitlines()


def leaves(values: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        is_group = isinstance(value, dict) and f"{group}{key}" not in FREE_TABLES
        found |= leaves(value, f"{group}{key}.") if is_group else {f"{group}{key}": value}
    return found


def model_keys(model: type[BaseModel], group: str = "") -> set[str]:
    found: set[str] = set()
    for key, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= model_keys(inner, f"{group}{key}.")
        else:
            found.add(f"{group}{key}")
    return found


class TestDefaultFile:
    def test_it_names_every_key_and_no_other(self) -> None:
        assert leaves(tomllib.loads(DEFAULT_FILE.read_text())).keys() == model_keys(Settings)

    def test_every_key_has_a_comment_above_it(self) -> None:
        lines = DEFAULT_FILE.read_text().splitlines()
        for above, line in pairwise(lines):
            if line and not line.startswith(("#", "[")):
                assert above.startswith("#"), f"{line} has no comment"

    def test_it_says_what_an_installed_package_does_without_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with_file = load()
        monkeypatch.setattr(module, "DEFAULT_FILE", tmp_path / "default.toml")
        monkeypatch.chdir(tmp_path)
        without_file = load()

        paths = {"data_dir", "workflows_dir", "jobs_dir"}
        assert without_file.model_dump(exclude=paths) == with_file.model_dump(exclude=paths)
        assert without_file.data_dir == tmp_path / "data"
        assert without_file.workflows_dir == tmp_path / "workflows"

    def test_the_paths_of_a_checkout(self) -> None:
        root = DEFAULT_FILE.parents[1]
        found = load()
        assert found.data_dir == root / "data"
        assert found.workflows_dir == root / "config" / "workflows"
        assert found.jobs_dir == root / "config" / "jobs"

    def test_the_example_for_production_loads(self) -> None:
        found = load(PRODUCTION_FILE)
        assert not found.redis.is_embedded
        assert found.log.format == "json"
        assert found.metrics.port > 0
        assert found.concurrency.max_runs > load().concurrency.max_runs


class TestLayers:
    def test_a_later_file_wins_and_the_environment_over_all(self, tmp_path: Path) -> None:
        one = write(
            tmp_path / "one.toml", "[concurrency]\nmax_runs = 1\n[streams]\nbatch = 1\n[workers]\nprocesses = 1"
        )
        two = write(tmp_path / "two.toml", "[concurrency]\nmax_runs = 2\n[streams]\nbatch = 2")

        found = load(one, two, CONCURRENCY__MAX_RUNS="3")

        assert (found.concurrency.max_runs, found.streams.batch, found.workers.processes) == (3, 2, 1)
        assert found.streams.events_max_length == 100_000

    def test_tables_of_names_are_merged(self, tmp_path: Path) -> None:
        one = write(tmp_path / "one.toml", "[concurrency.pools]\ngpu = 1\ndb = 1")
        two = write(tmp_path / "two.toml", "[concurrency.pools]\ndb = 2")

        found = load(one, two, CONCURRENCY__POOLS__DISK="3", CONCURRENCY__WORKFLOWS='{"Orders": 4}')

        assert found.concurrency.pools == {"gpu": 1, "db": 2, "disk": 3}
        assert found.concurrency.workflows == {"Orders": 4}

    def test_kinds_of_value_in_the_environment(self) -> None:
        found = load(
            BACKOFF__JITTER="false",
            BACKOFF__MULTIPLIER="3",
            METRICS__PORT="9000",
            REDIS__PREFIX="2",
            LOG='{"level": "debug", "format": "json"}',
            LOG__FORMAT="console",
        )
        assert (found.backoff.jitter, found.backoff.multiplier, found.metrics.port) == (False, 3.0, 9000)
        assert found.redis.prefix == "2"
        assert (found.log.level, found.log.format) == ("debug", "console")

    def test_a_path_is_relative_to_what_sets_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = write(
            tmp_path / "etc" / "h.toml",
            'data_dir = "../data"\nworkflows_dir = "/abs"\n[redis]\nurl = "redis://h"\npassword_file = "secret"',
        )
        (tmp_path / "work").mkdir()
        monkeypatch.chdir(tmp_path / "work")

        found = load_settings([Path("../etc/h.toml")], {"HEADWATER_JOBS_DIR": "jobs"})

        assert file.is_file()
        assert found.data_dir == tmp_path / "data"
        assert found.workflows_dir == Path("/abs")
        assert found.redis.password_file == tmp_path / "etc" / "secret"
        assert found.jobs_dir == tmp_path / "work" / "jobs"

    def test_the_home_directory(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        assert load(DATA_DIR="~/water").data_dir == tmp_path / "water"

    def test_a_variable_names_the_files_unless_they_are_given(self, tmp_path: Path) -> None:
        one = write(tmp_path / "one.toml", "[workers]\nprocesses = 3")
        two = write(tmp_path / "two.toml", "[workers]\nprocesses = 4")
        both = os.pathsep.join((str(one), str(two)))

        assert load(CONFIG=both).workers.processes == 4
        assert load(one, CONFIG=both).workers.processes == 3

    def test_the_real_environment_counts_only_when_none_is_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HEADWATER_WORKERS__PROCESSES", "5")
        assert load_settings().workers.processes == 5
        assert load_settings((), {}).workers.processes == 2
        assert Settings().workers.processes == 2

    def test_it_cannot_be_changed(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            load().redis.prefix = "x"  # type: ignore[misc]


class TestRefusal:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (
                "[concurrency]\nmax_run = 3",
                "concurrency.max_run: there is no such setting; did you mean concurrency.max_runs?",
            ),
            ("max_runs = 3", "max_runs: there is no such setting; did you mean concurrency.max_runs?"),
            ("[concurency]\nmax_runs = 3", "concurency: there is no such setting; did you mean concurrency?"),
            ("zebra = 3", "zebra: there is no such setting"),
            ("[concurrency]\nmax_runs = 0", "concurrency.max_runs: Input should be greater than or equal to 1"),
            ("[concurrency]\nmax_runs = true", "concurrency.max_runs: Input should be a valid integer"),
            ("[concurrency.pools]\ngpu = 0", "concurrency.pools.gpu: Input should be greater than or equal to 1"),
            ("concurrency = 3", "concurrency: Input should be"),
            ("[metrics]\nport = 70000", "metrics.port: Input should be less than or equal to 65535"),
            ('[log]\nlevel = "loud"', "log.level: Input should be 'debug', 'info', 'warning' or 'error'"),
            ("[backoff]\nmax_ms = 1", "backoff: max_ms must be at least base_ms (1000), got 1"),
            ('[streams]\naudit = "events"', "streams: events, dead_letters and audit are three streams"),
            ('[redis]\nprefix = "a b"', "redis.prefix: 'a b' cannot be used"),
            ('[redis]\nurl = "http://h"', "redis.url: write 'embedded', or a URL that begins with redis://"),
            ('[redis]\nurl = "redis:///0"', "redis.url: the URL names no server"),
            ('[redis]\nurl = "redis://h:port"', "redis.url: the URL cannot be read"),
            ('[redis]\npassword_file = "x"', "redis: password_file has no effect on an embedded server"),
            ('[redis]\nurl = "redis://:p@h"\npassword_file = "x"', "redis: both url and password_file"),
            ("[refresh]\nwatch_seconds = nan", "refresh.watch_seconds: "),
            ('data_dir = ""', "data_dir: is empty"),
            ("data_dir = 3", "data_dir: "),
        ],
    )
    def test_a_bad_file_is_named_with_the_key_and_the_reason(self, tmp_path: Path, text: str, expected: str) -> None:
        file = write(tmp_path / "bad.toml", text)
        (line,) = refusal(PRODUCTION_FILE.with_name("default.toml"), file)
        assert line.startswith(f"{file}: {expected}")

    def test_of_two_files_the_one_that_counts_is_named(self, tmp_path: Path) -> None:
        good = write(tmp_path / "good.toml", "[workers]\nprocesses = 3")
        bad = write(tmp_path / "bad.toml", "[workers]\nprocesses = -3")

        assert refusal(good, bad)[0].startswith(f"{bad}: workers.processes")
        assert load(bad, good).workers.processes == 3

    def test_every_problem_is_told(self, tmp_path: Path) -> None:
        file = write(tmp_path / "bad.toml", "zebra = 1\n[workers]\nprocesses = 0")
        assert len(refusal(file, METRICS__PORT="x")) == 3

    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("WORKERS__PROCESSES", "many", "workers.processes: Input should be a valid integer"),
            ("WORKERS__PROCESSES", "", "workers.processes: Input should be a valid integer"),
            ("BACKOFF__JITTER", "maybe", "backoff.jitter: Input should be a valid boolean"),
            ("CONCURRENCY__POOLS", '{"gpu": 0}', "concurrency.pools.gpu: Input should be greater"),
            ("CONCURRENCY__POOLS", "{", "the value is no JSON"),
            ("LOG", "debug", "the value is no JSON"),
            ("DATA_DIR", "", "data_dir: is empty"),
            ("WORKER__PROCESSES", "1", "there is no such setting; did you mean HEADWATER_WORKERS__PROCESSES?"),
            ("MAX_RUNS", "1", "there is no such setting; did you mean HEADWATER_CONCURRENCY__MAX_RUNS?"),
            ("ZEBRA", "1", "there is no such setting"),
            ("", "1", "there is no such setting"),
            ("REDIS__URL__X", "1", "there is no such setting"),
        ],
    )
    def test_a_bad_variable_is_named(self, name: str, value: str, expected: str) -> None:
        (line,) = refusal(**{name: value})
        assert line.startswith(f"variable HEADWATER_{name}: {expected}")

    def test_other_variables_are_none_of_our_business(self) -> None:
        load_settings((), {"HEADWATERS": "1", "headwater_zebra": "1", "PATH": "/bin"})

    def test_a_file_that_does_not_exist(self, tmp_path: Path) -> None:
        (line,) = refusal(tmp_path / "nowhere.toml")
        assert line.startswith(f"{tmp_path / 'nowhere.toml'}: the file cannot be read")

    def test_a_file_that_is_no_toml(self, tmp_path: Path) -> None:
        (line,) = refusal(write(tmp_path / "bad.toml", "a = "))
        assert "bad.toml: this is no TOML" in line


class TestSecrets:
    URL = "redis://svc:hunter2@db:6380/1?ssl_password=hunter2"

    def test_a_password_stays_out_of_texts_and_dumps(self) -> None:
        found = load(REDIS__URL=self.URL)

        assert found.redis.url == self.URL
        assert found.redis.safe_url == "redis://svc:***@db:6380/1?ssl_password=***"
        for text in (repr(found), str(found), repr(found.redis), str(found.model_dump()), found.model_dump_json()):
            assert "hunter2" not in text
            assert "db:6380" in text

    def test_a_password_of_the_broker_stays_out_too(self) -> None:
        found = load(CELERY__BROKER_URL="amqp://svc:hunter2@mq/vhost", CELERY__QUEUES__GPU="gpu-machines")

        assert found.celery.broker_url.endswith("hunter2@mq/vhost")
        assert found.celery.queues == {"gpu": "gpu-machines"}
        for text in (repr(found), repr(found.celery), str(found.model_dump()), found.model_dump_json()):
            assert "hunter2" not in text
            assert "amqp://svc:***@mq/vhost" in text
        assert "hunter2" not in "\n".join(refusal(CELERY__BROKER_URL="hunter2"))

    @pytest.mark.parametrize("url", ["redis://:hunter2@h:port", "http://:hunter2@h", "redis://:hunter2@/0", "hunter2"])
    def test_a_password_stays_out_of_errors(self, url: str) -> None:
        assert "hunter2" not in "\n".join(refusal(REDIS__URL=url))

    @pytest.mark.parametrize(
        ("url", "safe"),
        [
            ("embedded", "embedded"),
            ("redis://db", "redis://db"),
            ("rediss://db:1/2", "rediss://db:1/2"),
            ("redis://:hunter2@[::1]:1", "redis://:***@[::1]:1"),
            ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=***"),
        ],
    )
    def test_safe_urls(self, url: str, safe: str) -> None:
        assert load(REDIS__URL=url).redis.safe_url == safe

    def test_the_password_file_is_read_without_its_line_end(self, tmp_path: Path) -> None:
        file = write(tmp_path / "secret", "hunter 2\n")
        found = load(REDIS__URL="redis://db", REDIS__PASSWORD_FILE=str(file))
        assert found.read_redis_password() == "hunter 2"
        assert load().read_redis_password() is None

    @pytest.mark.parametrize(("text", "reason"), [("\n", "is empty"), (None, "cannot be read")])
    def test_a_password_file_without_a_password(self, tmp_path: Path, text: str | None, reason: str) -> None:
        if text is not None:
            write(tmp_path / "secret", text)
        found = load(REDIS__URL="redis://db", REDIS__PASSWORD_FILE=str(tmp_path / "secret"))
        with pytest.raises(SettingsError, match=reason):
            found.read_redis_password()


def test_policies_for_core() -> None:
    found = load(BACKOFF__BASE_MS="5", BACKOFF__MAX_MS="50", FAILURE_BUDGET__FAILURES="2")
    assert found.defaults().backoff == BackoffPolicy(5, 50, 2.0, jitter=True)
    assert found.defaults().budget == FailureBudget(2, None)
    assert load(FAILURE_BUDGET__COOL_OFF_MS="7").defaults().budget == FailureBudget(5, 7)


def test_variables_cannot_open_a_table_inside_a_name() -> None:
    assert refusal(CONCURRENCY__POOLS__A__B="1")[0].startswith("variable HEADWATER_CONCURRENCY__POOLS__A__B: ")
