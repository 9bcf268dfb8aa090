"""dagster-celery as docs/deploy.md has it: a worker that holds a step is killed, another one does it, each file once.

Redis and PostgreSQL are real, and so are the two workers: the files that the page shows, with shorter times.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import dagster as dg
import pytest
from databases import named
from docs_blocks import ROOT, blocks
from postgres import emptied_server
from small_archive import Archive
from sqlalchemy import create_engine, text

pytestmark = pytest.mark.services

PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    state: {state}
    checks: false
    jobs:
      put: {{call: {{function: "celery_actions:put"}}, batch_size: 4}}
      load_all: {{load: {{to: "sqlite:///loaded.db", table: documents}}}}
"""

ACTIONS = """
import os
import pathlib
import time

from sqlalchemy import create_engine, text

HERE = pathlib.Path(__file__).parent
target = create_engine(f"sqlite:///{HERE}/target.db", connect_args={"timeout": 60})
calls = 0


def put(file):
    global calls
    calls += 1
    if calls == 7 and not (HERE / "stuck2").exists():
        stuck = HERE / ("stuck2" if (HERE / "stuck1").exists() else "stuck1")
        (HERE / "new").write_text(str(os.getpid()))
        (HERE / "new").rename(stuck)
        time.sleep(3600)
    with target.begin() as connection:
        if file.claim.receipt(connection):
            connection.execute(text("INSERT INTO done VALUES (:name, :pid)"), {"name": file["_file_name"], "pid": os.getpid()})
"""
"""The first two processes that have done six files get stuck in the middle of a batch, and say so."""

PROGRAMS = Path(sys.executable).parent

QUICK = {
    "visibility_timeout: 7200": "visibility_timeout: 5",
    "unacked_restore_interval: 10": "unacked_restore_interval: 1",
}
"""Of the file in the docs, what would take a test hours."""


def block(name: str) -> str:
    """A file that docs/deploy.md shows."""
    (found,) = (
        one.text for one in blocks((ROOT / "docs" / "deploy.md").read_text()) if one.text.startswith(f"# {name}\n")
    )
    return found


def lay_out(root: Path) -> Archive:
    """A client with twenty files that are due, and what the docs have for Celery."""
    (root / "celery_actions.py").write_text(ACTIONS)
    (root / "ours.py").write_text(block("ours.py"))
    settings = block("celery.yaml").replace("redis://redis:6379/0", named("MMMETA_TEST_REDIS"))
    for said, quick in QUICK.items():
        assert said in settings
        settings = settings.replace(said, quick)
    (root / "celery.yaml").write_text(settings)
    (root / "dagster_home").mkdir()
    (root / "dagster_home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    # Two processes that both find no database make the same tables at the same time, and one of them breaks off.
    with dg.DagsterInstance.from_config(str(root / "dagster_home")) as instance:
        instance.get_runs(limit=1)
    target = create_engine(f"sqlite:///{root}/target.db")
    with target.begin() as connection:
        connection.execute(text("CREATE TABLE done (name TEXT, pid INTEGER)"))
    target.dispose()
    archive = Archive(root)
    archive.configure(PROJECT.format(state=emptied_server()))
    for number in range(20):
        archive.write(f"letter{number:02}", "letter")
    archive.publish()
    return archive


@contextmanager
def started(root: Path, log: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program of Dagster's in a group of processes of its own, which is killed at the end, whatever is left of it."""
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(root / "dagster_home"),
        "PYTHONPATH": os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PATH": os.pathsep.join([str(PROGRAMS), os.environ["PATH"]]),
    }
    with (root / log).open("wb") as out:
        process = subprocess.Popen(
            list(words),
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """As when its machine dies: all of its processes at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def until(condition: Callable[[], object], root: Path, seconds: float = 180) -> None:
    """Wait for something; what all programs wrote is in the failure."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail("\n".join(f"{log.name}:\n{log.read_text()[-4000:]}" for log in sorted(root.glob("*.log"))))
        time.sleep(0.1)


def test_celery_workers_are_killed_while_they_hold_a_step_and_another_one_does_it(tmp_path: Path) -> None:
    """First a worker's process, whose step goes back at once, then a whole worker, whose step is given to the other one.

    The Dagster job comes to its end; each file is done in the ledger, and once in the target.
    """
    archive = lay_out(tmp_path)
    with_app = ("-A", "dagster_celery.app", "-y", "celery.yaml", "--", "--concurrency=1")
    start = (str(PROGRAMS / "dagster-celery"), "worker", "start", *with_app)
    of_ours = ("-m", "ours", "-j", "archive_on_celery", "-c", "celery.yaml")
    run = (sys.executable, "-m", "dagster", "job", "execute", *of_ours)
    with ExitStack() as programs:
        workers = [programs.enter_context(started(tmp_path, f"worker{number}.log", *start)) for number in (1, 2)]
        job = programs.enter_context(started(tmp_path, "job.log", *run))

        def stuck(number: int) -> int:
            place = tmp_path / f"stuck{number}"
            until(lambda: place.exists() or job.poll() is not None, tmp_path)
            return int(place.read_text())

        os.kill(stuck(1), signal.SIGKILL)
        second = os.getpgid(stuck(2))
        kill(next(one for one in workers if one.pid == second))
        until(lambda: job.poll() is not None, tmp_path)
        assert job.returncode == 0, (tmp_path / "job.log").read_text()[-4000:]
    target = create_engine(f"sqlite:///{tmp_path}/target.db")
    with target.begin() as connection:
        rows = connection.execute(text("SELECT name, count(*) FROM done GROUP BY name")).all()
        by_each = connection.execute(text("SELECT count(*) FROM done GROUP BY pid ORDER BY 1")).scalars().all()
    target.dispose()
    assert len(rows) == 20
    assert {number for _, number in rows} == {1}
    assert by_each == [6, 6, 8]
    for name in ("put", "load_all"):
        told = archive.status.jobs[name]
        assert (told.done, told.claimed, told.pending) == (20, 0, 0)
