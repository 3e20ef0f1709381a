"""What the local launcher promises beyond the contract: its worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.catalog.store import RunStatus, Store
from actors.execution.jobs import JobRegistry
from actors.execution.local import LocalLauncher
from tests.integration.execution.workflows import (
    JOBS_DIR,
    ended,
    eventually,
    is_gone,
    pids_of,
    run,
    step,
    step_of,
    submit,
    workflow,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def launcher(store: Store, jobs: JobRegistry) -> Iterator[LocalLauncher]:
    """With one worker process, so that one job meets what the one before has left."""
    launcher = LocalLauncher(store, jobs, max_runs=2, processes=1)
    launcher.start()
    yield launcher
    launcher.stop(0)


def whereabouts(launcher: LocalLauncher, store: Store) -> dict[str, Any]:
    record = run(launcher, store, step("tell", "whereabouts"))
    told = step_of(record, "tell")
    assert told.stdout_tail == "whereabouts told\n", record.error
    assert isinstance(told.result, dict)
    return dict(told.result)


class TestWorkers:
    def test_a_job_cannot_spoil_the_process_for_the_next(self, launcher: LocalLauncher, store: Store) -> None:
        first = whereabouts(launcher, store)
        second = whereabouts(launcher, store)
        assert first["pid"] == second["pid"]
        for seen in (first, second):
            assert (seen["greeting"], seen["spoiled"]) == ("hello", False)
            assert Path(seen["cwd"]) == Path.cwd()

    def test_workers_are_apart_from_the_terminal(self, launcher: LocalLauncher, store: Store) -> None:
        seen = whereabouts(launcher, store)
        assert seen["session"] == seen["pid"]
        assert seen["interrupt"]

    def test_workers_are_replaced_after_so_many_jobs(self, store: Store, jobs: JobRegistry) -> None:
        launcher = LocalLauncher(store, jobs, processes=1, max_tasks_per_process=1)
        launcher.start()
        try:
            assert len({whereabouts(launcher, store)["pid"] for _ in range(3)}) == 3
        finally:
            launcher.stop(0)

    def test_an_idle_worker_that_is_killed_is_replaced(self, launcher: LocalLauncher, store: Store) -> None:
        """pebble gives the whole pool up then."""
        for _ in range(2):
            pid = whereabouts(launcher, store)["pid"]
            os.kill(pid, signal.SIGKILL)
            eventually(lambda pid=pid: is_gone(pid), "the worker is dead")  # type: ignore[misc]
            assert whereabouts(launcher, store)["pid"] != pid

    @pytest.mark.parametrize("ending", ["timeout", "cancel"])
    def test_a_job_that_holds_the_gil_is_killed(
        self, launcher: LocalLauncher, store: Store, tmp_path: Path, ending: str
    ) -> None:
        parameters = {"folder": str(tmp_path), "hog": True, "child": True}
        order = submit(
            store,
            workflow(step("hog", "hold", timeoutMs=1_000 if ending == "timeout" else None, parameters=parameters)),
        )
        launcher.launch(order)
        pids = pids_of(tmp_path, "hog")
        if ending == "cancel":
            assert launcher.cancel(order.run_id)
        assert ended(store, order).status is {"timeout": RunStatus.FAILED, "cancel": RunStatus.CANCELED}[ending]
        assert all(is_gone(pid) for pid in pids)

    def test_no_output_is_left_behind(self, store: Store, jobs: JobRegistry, tmp_path: Path) -> None:
        launcher = LocalLauncher(store, jobs, processes=1, work_dir=tmp_path)
        launcher.start()
        try:
            run(launcher, store, step("talk", "chatter", parameters={"kilobytes": 1}))
            run(launcher, store, step("die", "die", parameters={"how": "kill"}))
            (folder,) = tmp_path.iterdir()
            eventually(lambda: not list(folder.iterdir()), "the output of the steps is gone")
        finally:
            launcher.stop(0)
        assert list(tmp_path.iterdir()) == []


class TestReload:
    def test_later_runs_use_the_new_code(self, store: Store, tmp_path: Path) -> None:
        def write(answer: int) -> JobRegistry:
            (tmp_path / "reloaded.py").write_text(f"def run(job):\n    return {{'answer': {answer}}}\n")
            (tmp_path / "jobs.toml").write_text(f'[jobs.j{answer}]\npython = "reloaded:run"')
            return JobRegistry.load(tmp_path)

        launcher = LocalLauncher(store, write(1), processes=1)
        launcher.start()
        try:
            assert step_of(run(launcher, store, step("ask", "j1")), "ask").result == {"answer": 1}
            launcher.replace_jobs(write(22))
            assert step_of(run(launcher, store, step("ask", "j22")), "ask").result == {"answer": 22}
        finally:
            launcher.stop(0)

    def test_a_step_that_waits_for_a_process_gets_a_new_one(self, store: Store, tmp_path: Path) -> None:
        def write(answer: int) -> JobRegistry:
            (tmp_path / "waited.py").write_text(
                "import pathlib, time\n"
                f"folder = pathlib.Path({str(tmp_path)!r})\n"
                "def wait(job):\n"
                "    (folder / 'begun').touch()\n"
                "    while not (folder / 'go').exists(): time.sleep(0.01)\n"
                f"def run(job):\n    return {{'a new answer'[:{answer}]: {answer}}}\n"
            )
            (tmp_path / "j.toml").write_text('[jobs.wait]\npython = "waited:wait"\n[jobs.ask]\npython = "waited:run"')
            return JobRegistry.load(tmp_path)

        launcher = LocalLauncher(store, write(1), max_runs=2, processes=1)
        launcher.start()
        try:
            holding = submit(store, workflow(step("hold", "wait"), slug="holding"))
            launcher.launch(holding)
            eventually((tmp_path / "begun").exists, "the only process is taken")
            asking = submit(store, workflow(step("ask", "ask"), slug="asking"))
            launcher.launch(asking)
            eventually(lambda: bool((r := store.run(asking.run_id)) and r.steps), "the other step waits for it")
            launcher.replace_jobs(write(12))
            (tmp_path / "go").touch()
            assert step_of(ended(store, asking), "ask").result == {"a new answer": 12}
        finally:
            launcher.stop(0)

    def test_a_running_run_ends_as_it_began(
        self, launcher: LocalLauncher, store: Store, jobs: JobRegistry, tmp_path: Path
    ) -> None:
        order = submit(
            store,
            workflow(
                step("wait", "hold", parameters={"folder": str(tmp_path)}),
                step("after", "echo", dependsOn=["wait"]),
            ),
        )
        launcher.launch(order)
        pids_of(tmp_path, "wait")
        launcher.replace_jobs(JobRegistry(JOBS_DIR))
        (tmp_path / "go").touch()
        assert ended(store, order).status is RunStatus.SUCCEEDED


class TestService:
    @pytest.mark.parametrize("job", ["function", "command", "hog"])
    def test_nothing_goes_on_when_the_service_is_killed(
        self, store: Store, server_url: str, prefix: str, tmp_path: Path, job: str
    ) -> None:
        order = submit(
            store,
            workflow(
                step(
                    "wait",
                    "command" if job == "command" else "hold",
                    parameters={"how": "hold", "folder": str(tmp_path), "child": True, "hog": job == "hog"},
                )
            ),
        )
        with started(server_url, prefix, order.run_id) as service:
            pids = pids_of(tmp_path, "wait")
            assert len(pids) == 2
            service.kill()
            service.wait(10)
        eventually(lambda: all(is_gone(pid) for pid in pids), "the job and its child are dead")

    def test_jobs_never_write_to_the_stdout_of_the_service(
        self, store: Store, server_url: str, prefix: str, tmp_path: Path
    ) -> None:
        lingering = workflow(step("stay", "linger", parameters={"folder": str(tmp_path)}), slug="stay")
        orders = [
            submit(store, lingering),
            submit(store, workflow(step("talk", "chatter", parameters={"kilobytes": 1}), slug="talk")),
            submit(store, workflow(step("run", "command", parameters={"how": "echo"}), slug="run")),
        ]
        with started(server_url, prefix, *(order.run_id for order in orders)) as service:
            statuses = [ended(store, order).status for order in orders]
            (tmp_path / "go").touch()
            eventually((tmp_path / "wrote").exists, "the thread that stayed has written")
            service.terminate()
            stdout, _ = service.communicate(timeout=20)
        assert statuses == [RunStatus.SUCCEEDED] * 3
        assert stdout == b""

    def test_ctrl_c_reaches_no_job(self, store: Store, server_url: str, prefix: str, tmp_path: Path) -> None:
        """The terminal signals the whole foreground group; here the service has one of its own, and ignores it."""
        order = submit(store, workflow(step("wait", "hold", parameters={"folder": str(tmp_path), "child": True})))
        with started(server_url, prefix, order.run_id) as service:
            pids = pids_of(tmp_path, "wait")
            assert all(os.getpgid(pid) != service.pid for pid in pids)
            (tmp_path / "go").touch()
            assert ended(store, order).status is RunStatus.SUCCEEDED
            service.kill()


class started:  # noqa: N801 - used as a function
    """A service process in a group of its own; whatever is left of it is killed at the end."""

    def __init__(self, url: str, prefix: str, *run_ids: str) -> None:
        script = Path(__file__).with_name("service.py")
        self._process = subprocess.Popen(
            [sys.executable, script, url, prefix, *run_ids],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self._process

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


def test_stop_does_not_wait_for_runs_that_have_not_begun(launcher: LocalLauncher, store: Store, tmp_path: Path) -> None:
    orders = [
        submit(store, workflow(step("wait", "hold", parameters={"folder": str(tmp_path)}), slug=f"w{n}"))
        for n in range(4)
    ]
    for order in orders:
        launcher.launch(order)
    eventually(lambda: list(tmp_path.glob("*.begun")), "a run has begun")
    stopping = threading.Thread(target=launcher.stop, args=(60,))
    stopping.start()
    assert ended(store, orders[3]).status is RunStatus.LOST
    assert stopping.is_alive()
    (tmp_path / "go").touch()
    stopping.join(30)
    assert [ended(store, order).status for order in orders[:2]] == [RunStatus.SUCCEEDED] * 2
