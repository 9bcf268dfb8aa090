"""Whether runs and workers of other machines live, as the PostgreSQL that they share tells the sensor."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import dagster as dg
import pytest
from postgres import connected
from shared_machines import opened, signs
from small_archive import Archive
from watch import Watch

from mmmeta.clock import utcnow
from mmmeta.state.ledger.postgresql.signs import PostgresRunSign
from mmmeta_dagster import keys
from mmmeta_dagster.runs import helpers_of, runs_of

pytestmark = pytest.mark.services


STEP = """
import sys
from mmmeta.layout import Layout
from mmmeta_dagster.heartbeat import beating

with beating(Layout.at(sys.argv[1], None, sys.argv[2]), sys.argv[3]):
    print("at work", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def step(archive: Archive, url: str, run_id: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is at a step of a run, on the other machine."""
    command = [sys.executable, "-c", STEP, str(archive.client), url, run_id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "at work\n"
            yield process
        finally:
            process.kill()


def age(seconds: float) -> None:
    """As if signs of life were so much older."""
    with connected() as connection:
        connection.execute("UPDATE runs SET beat = beat - %s", (seconds,))


def test_a_run_elsewhere_lives_by_its_lock_and_is_gone_without_it(there: Archive, here: Watch, url: str) -> None:
    """Whatever the clock says; what was killed is noticed here, replaced, and Dagster told."""
    with opened(there) as m:
        m.update()
        m.job("look").evaluate()
    job = there.definitions.resolve_job_def("archive_import")
    with dg.instance_for_test() as instance:
        watch = Watch(here.archive, instance)
        tags = {**job.tags, keys.TAG_PATH: str(here.archive.config.path)}
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
        with step(there, url, run.run_id) as process:
            assert signs(url).is_at_work(run.run_id) is True
            age(3600)
            assert f"Run {run.run_id[:8]} is started." in watch.skips()
            process.kill()
            process.wait()
        until = time.monotonic() + 10
        while signs(url).is_at_work(run.run_id) is True and time.monotonic() < until:
            time.sleep(0.1)
        age(3600)
        with connected() as connection:
            (booted,) = connection.execute(
                "SELECT extract(epoch FROM now() - pg_postmaster_start_time())"
            ).fetchone() or (0,)
        # A server that was started just now has forgotten all locks.
        assert signs(url).is_at_work(run.run_id) is (False if booted > 15 else None)
        time.sleep(max(0.0, 15.5 - float(booted)))
        assert f"the process of run {run.run_id[:8]} is gone" in watch.asks().tags[keys.TAG_REASON]
        found = instance.get_run_by_id(run.run_id)
        assert found is not None
        assert found.status is dg.DagsterRunStatus.FAILURE


def test_a_step_whose_connection_was_cut_is_not_gone(there: Archive, url: str) -> None:
    """It takes its lock again at once, at the latest with its next beat."""
    sign = PostgresRunSign(url, "run")
    sign.begin()
    with connected() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'mmmeta' "
            "AND datname = current_database()"
        )
    assert signs(url).is_at_work("run") is not False
    sign.beat()
    assert signs(url).is_at_work("run") is True
    sign.end()
    seen = signs(url)
    assert seen.is_at_work("run") is None
    beat = seen.last_beat("run")
    assert beat is not None
    assert abs(utcnow() - beat) < timedelta(seconds=5)
    assert seen.latest_beat("run") is None
    assert seen.latest_beat() == beat


def test_two_steps_of_a_run_and_the_next_one(there: Archive, url: str) -> None:
    """As long as one is at work the run is; what has ended is swept away."""
    one, two = PostgresRunSign(url, "run"), PostgresRunSign(url, "run")
    one.begin()
    two.begin()
    one.end()
    assert signs(url).is_at_work("run") is True
    two.end()
    assert signs(url).is_at_work("run") is None
    age(3600)
    later = PostgresRunSign(url, "later")
    later.begin()
    later.end()
    with connected() as connection:
        assert connection.execute("SELECT run_id FROM runs").fetchall() == [("later",)]


def test_a_sign_that_cannot_be_given_stops_nothing(there: Archive) -> None:
    """The step says itself what is wrong with the server."""
    sign = PostgresRunSign("postgresql+psycopg://test@127.0.0.1:1/nothing", "run")
    assert sign.begin()
    sign.beat()
    sign.end()


def test_a_worker_without_dagster_is_seen_until_it_ends(there: Archive, here: Watch, url: str) -> None:
    """`mmmeta work` somewhere: its files are in its hands as long as it lives, whatever its clock says."""
    with opened(there) as m:
        m.update()
        job = m.job("look")
        job.evaluate()
        assert len(job.claim(3)) == 3
        assert signs(url).somebody_works()
        with connected() as connection:
            connection.execute("UPDATE jobs SET heartbeat = '2001-01-01T00:00:00+00:00'")
        assert "look: 0 done, 3 claimed" in here.skips()
        job.release_all()
        assert not signs(url).somebody_works()
    assert "look: 3 files are due" in here.asks().tags[keys.TAG_REASON]


def test_what_dagster_watches_by_itself_it_is_believed(there: Archive, here: Watch, url: str) -> None:
    """Containers and pods: between two steps, minutes may pass until the next one is started."""
    settings = {"run_monitoring": {"enabled": True}, "run_launcher": {"module": "not_installed_here", "class": "Pods"}}
    with dg.instance_for_test(overrides=settings) as instance:
        job = there.definitions.resolve_job_def("archive_import")
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=job.tags)
        sign = PostgresRunSign(url, run.run_id)
        sign.begin()
        sign.end()
        (view,) = runs_of(instance, "archive_import", there.config)
        assert view.is_alive(utcnow() + timedelta(hours=1))
        assert helpers_of(instance, there.config) == []
