"""SIGHUP: settings, jobs and definitions are read again."""

from __future__ import annotations

import signal

from actors.catalog.store import RunStatus
from tests.integration.service.driver import Service, eventually, most_at_once
from tests.integration.service.workflows import produce, workflow

KEYS = {"type": "static", "keys": ["a", "b", "c"]}


def reload(service: Service) -> None:
    before = len(service.logged("service.reloaded"))
    service.send(signal.SIGHUP)
    eventually(lambda: len(service.logged("service.reloaded")) > before, "the settings are read again")


def test_a_new_limit_takes_effect(service: Service) -> None:
    service.configure(concurrency={"max_runs": 1})
    service.write(workflow("part", produce("part", None, partitioning=KEYS)))
    service.start()
    service.hold("part")
    for key in KEYS["keys"]:
        service.trigger("part", key)
    service.wait_begun("part")
    service.configure(concurrency={"max_runs": 2})
    reload(service)
    service.wait_begun("part", 2)
    service.release("part")
    service.wait_runs("part", RunStatus.SUCCEEDED, 3)
    assert most_at_once(service.calls) == 2


def test_more_runs_than_at_the_start_run_at_once_after_the_limit_was_raised(service: Service) -> None:
    service.configure(concurrency={"max_runs": 1}, workers={"processes": 3})
    service.write(workflow("part", produce("part", None, partitioning=KEYS)))
    service.start()
    service.hold("part")
    for key in KEYS["keys"]:
        service.trigger("part", key)
    service.wait_begun("part")
    service.configure(concurrency={"max_runs": 3}, workers={"processes": 3})
    reload(service)
    service.wait_begun("part", 3)
    service.release("part")
    service.wait_runs("part", RunStatus.SUCCEEDED, 3)


def test_a_changed_job_module_is_used_by_later_runs(service: Service) -> None:
    service.write(workflow("made"))
    service.start()
    service.trigger("made")
    service.wait_runs("made", RunStatus.SUCCEEDED)
    module = service.jobs_dir / "service_jobs.py"
    module.write_text(module.read_text().replace('MAKER = "first"', 'MAKER = "second one"'))
    reload(service)
    service.trigger("made")
    service.wait_runs("made", RunStatus.SUCCEEDED, 2)
    assert [entry.payload for entry in service.store.history("made")] == [{"maker": "second one"}, {"maker": "first"}]


def test_settings_that_cannot_be_used_are_refused_and_the_old_ones_stay(service: Service) -> None:
    service.write(workflow("made"))
    service.start()
    service.configure(concurrency={"max_runs": "many"})
    service.send(signal.SIGHUP)
    eventually(lambda: service.logged("settings.refused"), "the settings are refused")
    service.trigger("made")
    service.wait_runs("made", RunStatus.SUCCEEDED)


def test_folders_that_are_gone_for_the_moment_do_not_end_the_service(service: Service) -> None:
    service.write(workflow("made"))
    service.start()
    away = service.folder / "away"
    service.workflows_dir.rename(away)
    service.send(signal.SIGHUP)
    eventually(lambda: service.logged("settings.refused"), "the reload is refused")
    away.rename(service.workflows_dir)
    reload(service)
    service.trigger("made")
    service.wait_runs("made", RunStatus.SUCCEEDED)


def test_new_default_policies_take_effect(service: Service) -> None:
    service.configure(backoff={"base_ms": 600_000, "max_ms": 600_000})
    service.write(workflow("later", consumes=["raw"]))
    service.start()
    service.fail("later", times=1)
    service.emit("raw")
    service.wait_state("later", "backoff")
    service.configure(backoff={"base_ms": 20, "max_ms": 20})
    reload(service)
    service.wait_runs("later", RunStatus.SUCCEEDED)
