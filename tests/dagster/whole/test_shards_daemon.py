"""Runs that share the work, as real processes of a real daemon with its queue: one is killed, and all is done once."""

from __future__ import annotations

import time
from pathlib import Path

import dagster as dg
import pytest
from deployment import Deployment, deployed
from postgres import emptied_server
from small_archive import Archive
from sqlalchemy import create_engine, text

from mmmeta_dagster import keys

pytestmark = pytest.mark.daemon

SHARDS = 2

FILES = 1_200
"""Two minutes of work for three runs. Once the dead one is replaced there is nothing to wait for, and files take no time."""

PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    state: "{{ env.SHARDS_STATE | default('state.db') }}"
    shards: 2
    sensor: {interval: 2}
    checks: false
    jobs:
      put: {call: {function: "shard_actions:put"}, batch_size: 5}
"""

ACTIONS = """
import pathlib
import time

from sqlalchemy import create_engine, text

HERE = pathlib.Path(__file__).parent
target = create_engine(f"sqlite:///{HERE}/target.db", connect_args={"timeout": 60})


def put(file):
    if not (HERE / "hurry").exists():
        time.sleep(0.25)
    with target.begin() as connection:
        if file.claim.receipt(connection):
            connection.execute(text("INSERT INTO done VALUES (:name)"), {"name": file["_file_name"]})
"""

LIMITED = """concurrency:
  runs:
    max_concurrent_runs: 10
    tag_concurrency_limits:
      - key: mmmeta/shard
        value: {applyLimitPerUniqueValue: true}
        limit: 1
"""
"""What docs/deploy.md recommends."""


@pytest.mark.parametrize("state", ["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def test_one_of_those_that_share_the_work_is_killed_and_each_file_is_done_once(
    tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never more than there are shards; the dead one is replaced within a minute; one materialization tells of all."""
    (tmp_path / "mmmeta.yaml").write_text(PROJECT)
    (tmp_path / "shard_actions.py").write_text(ACTIONS)
    target = create_engine(f"sqlite:///{tmp_path}/target.db")
    with target.begin() as connection:
        connection.execute(text("CREATE TABLE done (name TEXT)"))
    if state == "postgresql":
        monkeypatch.setenv("SHARDS_STATE", emptied_server())
    archive = Archive(tmp_path)
    for number in range(FILES):
        archive.write(f"letter{number}", "letter")
    archive.publish()
    with deployed(tmp_path, LIMITED, webserver=False) as deployment:
        deployment.until(lambda: len(_helpers(deployment)) == SHARDS, seconds=200)
        killed, *_ = deployment.until(lambda: _busy(deployment), seconds=200)
        deployment.kill(killed)
        died = time.monotonic()
        number = killed.tags[keys.TAG_SHARD]
        deployment.until(lambda: [run for run in _unfinished(deployment, killed) if run.tags[keys.TAG_SHARD] == number])
        assert time.monotonic() - died < 60
        (tmp_path / "hurry").touch()
        (imported,) = deployment.until(lambda: _ended(deployment.runs("archive")), seconds=400)
        helpers = deployment.until(lambda: _ended(_helpers(deployment)), seconds=100)
        time.sleep(6)  # nothing more is asked for
        assert len(deployment.runs("archive")) == 1
        assert len(_helpers(deployment)) == len(helpers)
        with dg.DagsterInstance.get() as instance:
            told = instance.fetch_materializations(dg.AssetKey(["archive", "put"]), limit=10).records
            parts = instance.fetch_observations(dg.AssetKey(["archive", "put"]), limit=100).records
    with target.begin() as connection:
        rows, names = connection.execute(text("SELECT count(*), count(DISTINCT name) FROM done")).one()
    target.dispose()
    assert (rows, names) == (FILES, FILES)
    assert imported.status is dg.DagsterRunStatus.SUCCESS
    assert dg.DagsterRunStatus.SUCCESS in {run.status for run in helpers}
    assert [run.status for run in helpers if run.run_id == killed.run_id] == [dg.DagsterRunStatus.FAILURE]
    (event,) = [record.asset_materialization for record in told]
    assert event is not None
    assert (event.metadata["done"].value, event.metadata["done in all"].value) == (FILES, FILES)
    assert parts


def _helpers(deployment: Deployment) -> list[dg.DagsterRun]:
    runs = deployment.runs("archive", keys.work_job)
    assert len([run for run in runs if not run.is_finished]) <= SHARDS
    return runs


def _unfinished(deployment: Deployment, but: dg.DagsterRun) -> list[dg.DagsterRun]:
    return [run for run in _helpers(deployment) if not run.is_finished and run.run_id != but.run_id]


def _busy(deployment: Deployment) -> list[dg.DagsterRun]:
    """Those that have begun with files."""
    found = [run for run in _helpers(deployment) if run.status is dg.DagsterRunStatus.STARTED]
    with dg.DagsterInstance.get() as instance:
        return [run for run in found if instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START)]


def _ended(runs: list[dg.DagsterRun]) -> list[dg.DagsterRun]:
    """The runs, once all have ended."""
    return runs if runs and all(run.is_finished for run in runs) else []
