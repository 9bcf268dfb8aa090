"""The sensor of a machine on which no run works: what the others have done stands in the PostgreSQL that they share."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from postgres import SCHEMA, connected, emptied_server, server, with_option
from postgres_proxy import Proxy
from small_archive import Archive
from watch import Watch

from mmmeta import Metadir
from mmmeta.clock import utcnow
from mmmeta.state.ledger.postgresql.signs import PostgresRunSign, PostgresSigns
from mmmeta.state.signs import Signs
from mmmeta_dagster import keys
from mmmeta_dagster.runs import helpers_of, runs_of
from mmmeta_dagster.schedules import build_schedules

pytestmark = pytest.mark.services

PROJECT = """
version: 1
metadirs:
  archive:
    path: ./client
    files_root: ./server
    state: "{{ env.SHARED_URL }}"
    sensor: {interval: 5, attempts: 3}
    schedules: {retry: "* * * * *"}
    jobs:
      look:
        call: {function: "dagster_test_actions:look"}
        attempts: 2
        backoff: 1m
"""

STEP = """
import sys
from mmmeta.layout import Layout
from mmmeta_dagster.heartbeat import beating

with beating(Layout.at(sys.argv[1], None, sys.argv[2]), sys.argv[3]):
    print("at work", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> str:
    made = emptied_server()
    monkeypatch.setenv("SHARED_URL", made)
    return made


@pytest.fixture
def there(empty_archive: Archive, url: str) -> Archive:
    """The machine that has the metadir, and runs what is asked for."""
    empty_archive.configure(PROJECT)
    for number in range(3):
        empty_archive.write(f"letter{number}", "letter")
    empty_archive.publish()
    return empty_archive


@pytest.fixture
def here(there: Archive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """The sensor of a machine that has the project file and the database, and nothing else."""
    made = Archive(tmp_path_factory.mktemp("here"))
    made.configure(PROJECT)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Watch(made, instance)


def opened(archive: Archive) -> Metadir:
    return Metadir.from_config(archive.config)


def signs(url: str, path: Path = Path("nothing here")) -> Signs:
    return PostgresSigns(url, path, utcnow())


def test_what_is_done_and_what_failed_there_is_seen_here(there: Archive, here: Watch) -> None:
    """Nothing before anybody has merged; then each end of work, a retry when it is due, and rest."""
    assert here.skips().startswith("No metadata yet")
    there.fail("letter1.txt")
    with opened(there) as m:
        m.update()
        m.job("look").evaluate()
        assert here.asks().tags[keys.TAG_REASON] == "look: 3 files are due."
        m.job("look").run()
    said = here.skips()
    assert "look: 2 done, 1 failed, next retry at" in said
    assert said.startswith("Nothing to do: revision 1 is merged")
    here.ahead = timedelta(minutes=3)
    assert here.asks().tags[keys.TAG_REASON].startswith("look: 1 failed file is due again since")
    there.fail()
    with opened(there) as m:
        m.job("look").retry()
    # A worker without files, on a third machine, tells of its work as well.
    config = there.config
    with Metadir(there.root / "third", state=config.state, worker=True) as worker:
        worker.job(config.jobs["look"]).run()
    assert "look: 3 done" in here.skips()
    assert not (here.archive.client / "_mmmeta").exists()
    assert not (there.root / "third").exists()


def test_a_job_that_is_new_or_changed_is_seen_here(there: Archive, here: Watch) -> None:
    """By the fingerprint that the ledger has."""
    with opened(there) as m:
        m.update()
        m.job("look").run()
    assert here.skips().startswith("Nothing to do")
    here.archive.configure(PROJECT.replace("attempts: 2", "attempts: 2\n        where: {document_type: letter}"))
    assert here.asks().tags[keys.TAG_REASON] == "look: the job was changed."


def retrying(archive: Archive, instance: dg.DagsterInstance, ahead: float = 0.0) -> dg.RunRequest | str:
    """What the schedule of the retries says: a run that it asks for, or why it does not."""
    later = timedelta(seconds=ahead)
    (schedule,) = build_schedules(metadir=archive.config, clock=lambda: utcnow() + later)
    with dg.build_schedule_context(instance=instance) as context:
        result = schedule.evaluate_tick(context)
    return next(iter(result.run_requests or ()), result.skip_message or "")


def test_a_schedule_of_retries_sees_the_same(there: Archive, here: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a machine without a metadir; of a server that is gone it says so."""
    there.fail("letter1.txt")
    with opened(there) as m:
        m.update()
        m.job("look").run()
    with dg.instance_for_test() as instance:
        said = retrying(here.archive, instance)
        assert isinstance(said, str)
        assert said.startswith("No failed file is due yet. look: 1 failed file is due at")
        assert isinstance(retrying(here.archive, instance, 180), dg.RunRequest)
        monkeypatch.setenv("SHARED_URL", "postgresql+psycopg://test@127.0.0.1:1/nothing")
        gone = retrying(here.archive, instance)
        assert isinstance(gone, str)
        assert gone.startswith("Waiting: PostgreSQL at 127.0.0.1:1/nothing, schema mmmeta, cannot be used: ")


def test_an_older_copy_does_not_speak_for_all(there: Archive, here: Watch, url: str) -> None:
    """A machine that was not synced lately updates last; what is merged stays the newest."""
    shutil.copytree(there.client, there.root / "old")
    there.write("letter7", "letter")
    there.publish()
    with opened(there) as m:
        m.update()
        m.job("look").run()
    with Metadir(there.root / "old", state=url) as old:
        old.update()
    status = signs(url).status()
    assert status is not None
    assert (status.revision, status.jobs["look"].done) == (2, 4)
    assert here.skips().startswith("Nothing to do: revision 2 is merged")


def test_a_copy_that_is_here_is_compared_with_what_all_have_merged(there: Archive, here: Watch) -> None:
    """News are asked for, wherever they are seen first; an older copy is said, and waits for its sync."""
    shutil.copytree(there.client, here.archive.client, ignore=shutil.ignore_patterns("local"))
    with opened(there) as m:
        m.update()
        m.job("look").run()
    assert here.skips().startswith("Nothing to do: revision 1 is merged")
    there.write("letter7", "letter")
    there.publish()
    with opened(there) as m:
        m.update()
        m.job("look").run()
    assert "is a stale copy: revision 1, merged already 2" in here.skips()
    there.write("letter8", "letter")
    there.publish()
    shutil.copytree(there.client, here.archive.client, ignore=shutil.ignore_patterns("local"), dirs_exist_ok=True)
    assert "was merged last" in here.asks().tags[keys.TAG_REASON]


def test_a_cache_that_was_deleted_is_no_news(there: Archive, here: Watch) -> None:
    """Nothing is lost with it, and another one does not wake the sensor."""
    with opened(there) as m:
        m.update()
        m.job("look").run()
    shutil.rmtree(there.client / "_mmmeta" / "local")
    watch = Watch(there, here.instance)
    assert watch.skips().startswith("Nothing to do")
    with opened(there) as m:
        m.update()
        m.job("look").run()
    assert watch.skips().startswith("Nothing to do")
    assert here.skips().startswith("Nothing to do")


def test_metadirs_in_one_database_do_not_mix(there: Archive, url: str, tmp_path: Path) -> None:
    """Neither what is merged, nor who works."""
    other = emptied_server(f"{SCHEMA}_other")
    try:
        with opened(there) as m:
            m.update()
            m.job("look").run()
        with Metadir(tmp_path / "client", state=other) as second:
            second.update()
            second.job("read").evaluate()
        sign = PostgresRunSign(other, "run")
        sign.begin()
        one, two = signs(url), signs(other)
        sign.end()
        first, last = one.status(), two.status()
        assert first is not None
        assert last is not None
        assert (list(first.jobs), list(last.jobs)) == (["look"], ["read"])
        assert (one.is_at_work("run"), two.is_at_work("run")) == (None, True)
        assert (one.last_beat("run"), two.last_beat("run") is None) == (None, False)
    finally:
        emptied_server(f"{SCHEMA}_other")


def test_a_server_that_is_gone_is_waited_for_in_words(
    there: Archive, here: Watch, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A skip that says what to do, and no password; the cursor stays, and the next tick goes on."""
    with opened(there) as m:
        m.update()
        m.job("look").evaluate()
    proxy = Proxy(server())
    proxy.come()
    monkeypatch.setenv("SHARED_URL", proxy.url.replace("test@", "test:hunter2@"))
    try:
        assert here.asks().tags[keys.TAG_REASON] == "look: 3 files are due."
        cursor = here.cursor
        proxy.go()
        said = here.skips()
        assert said.startswith("Waiting: PostgreSQL at 127.0.0.1:")
        assert "is it running, and is the address right?" in said
        assert "hunter2" not in said
        assert here.cursor == cursor
        proxy.come()
        assert "the run that was asked for never began" in here.skips()
    finally:
        proxy.go()


def test_an_idle_look_costs_little(there: Archive, url: str) -> None:
    """One connection, closed again; nothing is made where nothing is."""
    with opened(there) as m:
        m.update()
        m.job("look").run()
    signs(url)
    took = []
    for _ in range(10):
        began = time.perf_counter()
        signs(url)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.05
    empty = with_option(
        url.partition("?")[0] + "?" + url.partition("?")[2].replace(SCHEMA, "mmmeta_nothing"), "connect_timeout=5"
    )
    assert signs(empty).status() is None
    with connected() as connection:
        assert connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'mmmeta_nothing'").fetchone() is None


# --- runs ----------------------------------------------------------------------------------------------------------


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
    """It takes its lock again with its next beat."""
    sign = PostgresRunSign(url, "run")
    sign.begin()
    with connected() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'mmmeta'"
        )
    assert signs(url).is_at_work("run") is None
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
