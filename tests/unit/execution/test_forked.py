"""What workers are forked from, started by a service that runs in another folder than its code is in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = """
import os, sys
sys.path.insert(0, {root!r})
from actors.execution.forked import start_forking
from actors.execution.worker_process import set_up_worker

TELL = '''
import os, sys
print('actors.execution.job_process' in sys.modules)
set_up(path)
print(os.environ.get('PYTHONPATH'))
'''

if __name__ == "__main__":
    start_forking("actors.execution.job_process")
    context = start_forking("actors.execution.job_process")
    print(os.environ.get("PYTHONPATH"), flush=True)
    names = {{"set_up": set_up_worker, "path": os.environ.get("PYTHONPATH")}}
    process = context.Process(target=exec, args=(TELL, names))
    process.start()
    process.join()
"""


@pytest.mark.parametrize("python_path", [None, "/somewhere/else"])
def test_workers_have_what_they_need_and_the_environment_of_the_service(
    tmp_path: Path, python_path: str | None
) -> None:
    (tmp_path / "main.py").write_text(SCRIPT.format(root=str(ROOT)))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if python_path is not None:
        environment["PYTHONPATH"] = python_path
    done = subprocess.run(
        [sys.executable, "main.py"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # a worker's output goes there
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == [str(python_path), "True", str(python_path)]
