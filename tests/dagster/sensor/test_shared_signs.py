"""The sensor of a machine on which no run works: what the others have done stands in the PostgreSQL that they share."""

from __future__ import annotations

import shutil
import time
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from postgres import SCHEMA, connected, emptied_server, server, with_option
from postgres_proxy import Proxy
from shared_machines import PROJECT, opened, signs
from small_archive import Archive
from watch import Watch

from mmmeta import Metadir
from mmmeta.clock import utcnow
from mmmeta.state.ledger.postgresql.signs import PostgresRunSign
from mmmeta_dagster import keys
from mmmeta_dagster.schedules import build_schedules

pytestmark = pytest.mark.services


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
        began = time.process_time()
        signs(url)
        took.append(time.process_time() - began)
    assert min(took) < 0.02, took
    empty = with_option(
        url.partition("?")[0] + "?" + url.partition("?")[2].replace(SCHEMA, "mmmeta_nothing"), "connect_timeout=5"
    )
    assert signs(empty).status() is None
    with connected() as connection:
        assert connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'mmmeta_nothing'").fetchone() is None
