"""A run that shares the work, as a process of its own, is killed in the middle of it: the others do the rest, each file once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import dagster as dg
import pytest
from executing import execute, metadata
from small_archive import Archive
from sqlalchemy import create_engine, text

from mmmeta_dagster import keys

pytestmark = pytest.mark.slow

PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    shards: 2
    checks: false
    jobs:
      put: {call: {function: "killed_actions:put"}, batch_size: 4}
"""

ACTIONS = """
import os
import pathlib
import signal
import subprocess
import sys
import time

from sqlalchemy import create_engine, text

HERE = pathlib.Path(__file__).parent
IMPORT = HERE / "import"
target = create_engine(f"sqlite:///{HERE}/target.db", connect_args={"timeout": 60})


def put(file):
    if IMPORT.exists() and IMPORT.read_text() == str(os.getpid()):
        IMPORT.unlink()
        have_one_help_and_kill_it()
    elif not IMPORT.exists() and (HERE / "helper").exists() and done_by_me() == 6:
        (HERE / "stuck").touch()
        time.sleep(3600)
    with target.begin() as connection:
        if file.claim.receipt(connection):
            connection.execute(text("INSERT INTO done VALUES (:name, :pid)"), {"name": file["_file_name"], "pid": os.getpid()})


def done_by_me():
    with target.begin() as connection:
        return connection.execute(text("SELECT count(*) FROM done WHERE pid = :pid"), {"pid": os.getpid()}).scalar()


def have_one_help_and_kill_it():
    (HERE / "helper").touch()
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "mmmeta_dagster.definitions", "-j", "archive_work"]
    with (HERE / "helped.txt").open("wb") as out:
        helper = subprocess.Popen(command, cwd=HERE, stdout=out, stderr=out)
        try:
            until = time.monotonic() + 240
            while not (HERE / "stuck").exists():
                assert helper.poll() is None, (HERE / "helped.txt").read_text()
                assert time.monotonic() < until, (HERE / "helped.txt").read_text()
                time.sleep(0.1)
        finally:
            helper.send_signal(signal.SIGKILL)
            helper.wait(60)
    (HERE / "helper").unlink()
"""
"""At its first file the import has a process help, which gets stuck after six files, two into a batch, and is killed."""


def test_a_killed_run_counts_with_what_it_did_and_the_import_does_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One materialization with the sum; the sensor tells Dagster that the run is over."""
    (tmp_path / "killed_actions.py").write_text(ACTIONS)
    target = create_engine(f"sqlite:///{tmp_path}/target.db")
    with target.begin() as connection:
        connection.execute(text("CREATE TABLE done (name TEXT, pid INTEGER)"))
    archive = Archive(tmp_path)
    archive.configure(PROJECT)
    for number in range(20):
        archive.write(f"letter{number:02}", "letter")
    archive.publish()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "killed_actions", raising=False)
    with dg.instance_for_test() as instance:
        (tmp_path / "import").write_text(str(os.getpid()))
        result = execute(archive, instance)
        assert result.success
        told = metadata(result, "put")
        (killed,) = instance.get_runs(dg.RunsFilter(job_name=keys.work_job("archive")))
        assert not killed.is_finished
        sensor = archive.definitions.get_repository_def().get_sensor_def("archive_remote_updated")
        with dg.build_sensor_context(instance=instance) as context:
            assert not sensor(context).run_requests
        (killed,) = instance.get_runs(dg.RunsFilter(job_name=keys.work_job("archive")))
    with target.begin() as connection:
        rows = connection.execute(text("SELECT name, count(*) FROM done GROUP BY name")).all()
        by_each = connection.execute(text("SELECT count(*) FROM done GROUP BY pid ORDER BY 1")).scalars().all()
    target.dispose()
    assert killed.status is dg.DagsterRunStatus.FAILURE
    assert len(rows) == 20
    assert {number for _, number in rows} == {1}
    assert by_each == [6, 14]
    assert (told["done"], told["done in all"], told["pending"]) == (20, 20, 0)
    put = archive.status.jobs["put"]
    assert (put.done, put.claimed, put.pending) == (20, 0, 0)
