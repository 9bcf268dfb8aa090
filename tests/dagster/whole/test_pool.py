"""A pool of one slot in a whole ``dagster dev``: what a killed run holds is free again, and the import goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from deployment import Deployment, deployed
from small_archive import Archive

from mmmeta_dagster import keys

pytestmark = pytest.mark.daemon

PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    sensor: {interval: 2}
    jobs:
      look: {call: {function: "pool_actions:get_stuck_the_first_time"}}
"""

ACTIONS = """
import os, pathlib, time

HERE = pathlib.Path(__file__).parent


def get_stuck_the_first_time(file):
    pid = HERE / "pid"
    if not pid.exists():
        pid.with_suffix(".new").write_text(str(os.getpid()))
        pid.with_suffix(".new").rename(pid)
        time.sleep(3600)
"""

MONITORED = "run_monitoring:\n  enabled: true\n  free_slots_after_run_end_seconds: 5\n  poll_interval_seconds: 2\n"
"""What docs/dagster.md recommends beside the pool, with shorter times."""


def test_the_slot_of_a_killed_run_is_freed_and_the_next_run_gets_it(tmp_path: Path) -> None:
    """SIGKILL in the middle of a step, which holds the only slot."""
    (tmp_path / "mmmeta.yaml").write_text(PROJECT)
    (tmp_path / "pool_actions.py").write_text(ACTIONS)
    archive = Archive(tmp_path)
    archive.write("letter0", "letter")
    archive.publish()
    with deployed(tmp_path, MONITORED) as deployment:
        _concurrency("set", keys.pool("archive"), "1")
        _until_stuck(deployment)
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        killed, second = deployment.until(lambda: _done(deployment.runs("archive"), 2), seconds=150)
    assert killed.status is dg.DagsterRunStatus.FAILURE
    assert second.status is dg.DagsterRunStatus.SUCCESS
    assert archive.status.jobs["look"].done == 1


def _until_stuck(deployment: Deployment) -> None:
    deployment.until((deployment.root / "pid").exists)


def _concurrency(*words: str) -> str:
    command = [str(Path(sys.executable).parent / "dagster"), "instance", "concurrency", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def _done(runs: list[dg.DagsterRun], number: int) -> list[dg.DagsterRun]:
    """The runs, once there are so many and all have ended."""
    return runs if len(runs) >= number and all(run.is_finished for run in runs) else []
