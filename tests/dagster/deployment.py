"""A whole ``dagster dev``, webserver and daemon, on a free port of this machine; for the tests that need one."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import dagster as dg
import pytest
from small_archive import Archive

from mmmeta_dagster import keys

T = TypeVar("T")


@dataclass
class Deployment:
    """A running ``dagster dev``."""

    root: Path
    home: Path
    log: Path
    url: str
    pid: int

    def archive(self, name: str) -> Archive:
        """One of its archives."""
        return Archive(self.root / name)

    def runs(self, metadir: str, job: Callable[[str], str] = keys.import_job) -> list[dg.DagsterRun]:
        """The runs of ``<metadir>_import``, or of another Dagster job of the metadir, the first one first."""
        with dg.DagsterInstance.get() as instance:
            records = instance.get_run_records(dg.RunsFilter(job_name=job(metadir)))
        return [record.dagster_run for record in reversed(records)]

    def kill(self, run: dg.DagsterRun) -> None:
        """SIGKILL for the process of a run, as its log names it."""
        with dg.DagsterInstance.get() as instance:
            said = " ".join(entry.user_message or "" for entry in instance.all_logs(run.run_id))
        (pid,) = {int(number) for number in re.findall(r"in process \(pid: (\d+)\)", said)}
        assert pid in _working_for(self.home)
        os.kill(pid, signal.SIGKILL)

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


@contextmanager
def deployed(root: Path, settings: str = "", *, webserver: bool = True) -> Iterator[Deployment]:
    """Run it on the project file in a folder; stop it at the end, with all that it started.

    Args:
        settings: what stands in its dagster.yaml as well.
        webserver: without it, the daemon alone.
    """
    home = root / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text(f"telemetry:\n  enabled: false\n{settings}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = root / "log"
    with pytest.MonkeyPatch.context() as patch, log.open("wb") as out:
        patch.setenv("DAGSTER_HOME", str(home))
        patch.setenv("PYTHONPATH", str(root), prepend=os.pathsep)
        patch.delenv("MMMETA_PROJECT", raising=False)
        # Two processes that both find no database make the same tables at the same time, and one of them breaks off.
        with dg.DagsterInstance.get() as instance:
            instance.get_runs(limit=1)
        programs = Path(sys.executable).parent
        whole = [str(programs / "dagster"), "dev", "-h", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(
            [
                *(whole if webserver else [str(programs / "dagster-daemon"), "run"]),
                *("-m", "mmmeta_dagster.definitions"),
            ],
            cwd=root,
            stdout=out,
            stderr=subprocess.STDOUT,
            # A shell in the background leaves SIGINT ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
        )
        try:
            yield Deployment(root, home, log, f"http://127.0.0.1:{port}", process.pid)
        finally:
            _stop(process, home)


def _stop(process: subprocess.Popen[bytes], home: Path) -> None:
    """Interrupt it as a person does, and end what is left of it."""
    family = _family(process.pid)
    process.send_signal(signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
    for pid in {*family, *_working_for(home)}:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _family(pid: int) -> list[int]:
    """The processes below a process."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    below = [int(child) for child in children.read_text().split()] if children.exists() else []
    return below + [grandchild for child in below for grandchild in _family(child)]


def _working_for(home: Path) -> set[int]:
    """The processes of this instance, those of runs too, which no longer have the daemon among their ancestors."""
    wanted = f"DAGSTER_HOME={home}".encode()
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.add(int(folder.name))
    return found - {os.getpid()}
