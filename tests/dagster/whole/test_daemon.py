"""The whole of it: ``dagster dev`` with its daemon, archives side by side, runs that fail, are killed, are terminated."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import dagster as dg
import pytest
from deployment import Deployment, deployed
from small_archive import Archive

from mmmeta_dagster import keys

pytestmark = pytest.mark.daemon

PROJECT = """
version: 1
metadirs:
  quick:
    path: ./quick/client
    files_root: ./quick/server
    sensor: {interval: 2}
    jobs:
      look: {call: {function: "daemon_actions:look"}}
  broken:
    path: ./broken/client
    sensor: {interval: 2, attempts: 2}
    jobs:
      look: {call: {function: "daemon_actions:not_there"}}
  killed:
    path: ./killed/client
    sensor: {interval: 2}
    jobs:
      look: {call: {function: "daemon_actions:get_stuck_the_first_time"}}
  terminated:
    path: ./terminated/client
    sensor: {interval: 2}
    jobs:
      look: {call: {function: "daemon_actions:get_stuck"}}
"""

ACTIONS = """
import os, pathlib, time

HERE = pathlib.Path(__file__).parent


def look(file):
    pass


def get_stuck(file):
    (HERE / "stuck").touch()
    time.sleep(3600)


def get_stuck_the_first_time(file):
    pid = HERE / "pid"
    if not pid.exists():
        pid.with_suffix(".new").write_text(str(os.getpid()))
        pid.with_suffix(".new").rename(pid)
        time.sleep(3600)
"""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """``dagster dev`` on a free port of this machine; stopped at the end, with all that it started."""
    root = tmp_path_factory.mktemp("daemon")
    (root / "mmmeta.yaml").write_text(PROJECT)
    (root / "daemon_actions.py").write_text(ACTIONS)
    for name in ("quick", "broken", "killed", "terminated"):
        (root / name).mkdir()
        archive = Archive(root / name)
        archive.write("letter0", "letter")
        archive.publish()
    with deployed(root) as deployment:
        yield deployment


def test_what_is_published_is_imported_within_the_interval(deployment: Deployment) -> None:
    """publish → tick → run → imported; and nothing more until the next publish."""
    archive = deployment.archive("quick")
    first = deployment.until(lambda: _done(deployment.runs("quick"), 1))
    assert first[0].status is dg.DagsterRunStatus.SUCCESS
    assert "nothing was merged yet" in first[0].tags[keys.TAG_REASON]
    archive.write("letter1", "letter")
    archive.publish()
    published = time.monotonic()
    second = deployment.until(lambda: _done(deployment.runs("quick"), 2))
    # Two intervals of the daemon's own loop (5 s), and the run.
    assert time.monotonic() - published < 30
    assert second[1].status is dg.DagsterRunStatus.SUCCESS
    assert archive.status.jobs["look"].done == 2
    deployment.until(lambda: "Nothing to do: revision 2 is merged; look: 2 done." in deployment.skips("quick")[:1])
    assert len(deployment.runs("quick")) == 2


def test_a_run_that_fails_is_asked_for_again_and_then_given_up(deployment: Deployment) -> None:
    """The first run merged; after it there are two attempts."""
    runs = deployment.until(lambda: _done(deployment.runs("broken"), 3))
    assert [run.tags.get(keys.TAG_ATTEMPT) for run in runs] == [None, None, "2 of 2"]
    assert {run.status for run in runs} == {dg.DagsterRunStatus.FAILURE}
    deployment.until(lambda: deployment.skips("broken")[0].startswith("Gave up after 2 attempts"))
    assert len(deployment.runs("broken")) == 3


def test_a_run_that_is_killed_is_followed_by_another(deployment: Deployment) -> None:
    """SIGKILL. The server that launched it usually sees that; where it does not, the sign of life is missed."""
    pid = deployment.until(lambda: (deployment.root / "pid").exists() and (deployment.root / "pid").read_text())
    os.kill(int(pid), signal.SIGKILL)
    killed, second = deployment.until(lambda: _done(deployment.runs("killed"), 2), seconds=90)
    assert killed.status is dg.DagsterRunStatus.FAILURE
    assert second.status is dg.DagsterRunStatus.SUCCESS
    assert deployment.archive("killed").status.jobs["look"].done == 1


def test_a_run_that_is_terminated_gives_its_files_back_and_is_not_followed_at_once(deployment: Deployment) -> None:
    """The button of the UI: no attempt is counted for the file that it was at."""
    deployment.until((deployment.root / "stuck").exists)
    (run,) = deployment.runs("terminated")
    deployment.terminate(run)
    (run,) = deployment.until(lambda: _done(deployment.runs("terminated"), 1))
    assert run.status is dg.DagsterRunStatus.CANCELED
    archive = deployment.archive("terminated")
    look = archive.status.jobs["look"]
    assert (look.claimed, look.pending, look.failed) == (0, 1, 0)
    deployment.until(lambda: deployment.skips("terminated")[0].startswith(f"Run {run.run_id[:8]} was terminated."))
    assert len(deployment.runs("terminated")) == 1


def _done(runs: list[dg.DagsterRun], number: int) -> list[dg.DagsterRun]:
    """The runs, once there are so many and all have ended."""
    return runs if len(runs) >= number and all(run.is_finished for run in runs) else []
