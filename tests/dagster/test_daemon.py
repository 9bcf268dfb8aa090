"""The whole of it: ``dagster dev`` with its daemon, archives side by side, runs that fail, are killed, are terminated."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import dagster as dg
import pytest
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

T = TypeVar("T")


@dataclass
class Deployment:
    """A running ``dagster dev``."""

    root: Path
    home: Path
    log: Path
    url: str

    def archive(self, name: str) -> Archive:
        """One of its archives."""
        return Archive(self.root / name)

    def runs(self, metadir: str) -> list[dg.DagsterRun]:
        """The runs of ``<metadir>_import``, the first one first."""
        with dg.DagsterInstance.get() as instance:
            records = instance.get_run_records(dg.RunsFilter(job_name=keys.import_job(metadir)))
        return [record.dagster_run for record in reversed(records)]

    def skips(self, metadir: str) -> list[str]:
        """What the sensor said at the ticks that asked for nothing, the last one first."""
        name = keys.remote_sensor(metadir)
        with dg.DagsterInstance.get() as instance:
            states = [state for state in instance.all_instigator_state() if state.instigator_name == name]
            ticks = [
                tick for state in states for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id)
            ]
        assert not [tick for tick in ticks if tick.is_failure]
        return [tick.skip_reason for tick in ticks if tick.skip_reason]

    def terminate(self, run: dg.DagsterRun) -> None:
        """Press the button of the UI."""
        mutation = "mutation ($id: String!) { terminateRun(runId: $id) { __typename } }"
        body = json.dumps({"query": mutation, "variables": {"id": run.run_id}}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert "TerminateRunSuccess" in answer.read().decode()

    def until(self, condition: Callable[[], T], seconds: float = 60) -> T:
        """Wait for something; what the server wrote is in the failure."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < end, self.log.read_text()[-4000:]
            time.sleep(0.3)
        return value


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """``dagster dev`` on a free port of this machine; stopped at the end, with all that it started."""
    root = tmp_path_factory.mktemp("daemon")
    home = root / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    (root / "mmmeta.yaml").write_text(PROJECT)
    (root / "daemon_actions.py").write_text(ACTIONS)
    for name in ("quick", "broken", "killed", "terminated"):
        (root / name).mkdir()
        archive = Archive(root / name)
        archive.write("letter0", "letter")
        archive.publish()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = root / "log"
    with pytest.MonkeyPatch.context() as patch, log.open("wb") as out:
        patch.setenv("DAGSTER_HOME", str(home))
        patch.setenv("PYTHONPATH", str(root))
        patch.delenv("MMMETA_PROJECT", raising=False)
        process = subprocess.Popen(
            [
                *(str(Path(sys.executable).parent / "dagster"), "dev", "-m", "mmmeta_dagster.definitions"),
                *("-h", "127.0.0.1", "-p", str(port)),
            ],
            cwd=root,
            stdout=out,
            stderr=subprocess.STDOUT,
            # A shell in the background leaves SIGINT ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
        )
        try:
            yield Deployment(root, home, log, f"http://127.0.0.1:{port}")
        finally:
            _stop(process)


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


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Interrupt it as a person does, and end what is left of it."""
    family = _family(process.pid)
    process.send_signal(signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
    for pid in family:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _family(pid: int) -> list[int]:
    """The processes below a process."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    below = [int(child) for child in children.read_text().split()] if children.exists() else []
    return below + [grandchild for child in below for grandchild in _family(child)]
