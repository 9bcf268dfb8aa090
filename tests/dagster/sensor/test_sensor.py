"""The sensor against real files and a real Dagster instance; the decision itself is tested in test_decision."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from archives import drop_log
from small_archive import Archive
from watch import Watch

from mmmeta import Metadir, mmmeta
from mmmeta.clock import utcnow
from mmmeta_dagster import keys


def test_it_asks_for_what_was_published_and_then_rests(watch: Watch) -> None:
    """publish → run → nothing to do → publish → run."""
    request = watch.asks()
    assert "nothing was merged yet" in request.tags[keys.TAG_REASON]
    assert keys.TAG_ATTEMPT not in request.tags
    assert watch.run(request).success
    assert watch.skips() == (
        "Nothing to do: revision 1 is merged; download_contracts: 3 done; load_all: 5 done; look: 2 done."
    )
    watch.archive.write("contract3", "contract")
    watch.archive.publish()
    second = watch.asks()
    assert second.run_key != request.run_key
    assert watch.run(second).success
    assert watch.skips().startswith("Nothing to do: revision 2 is merged; download_contracts: 4 done;")


def test_news_of_the_metadata_db_are_reported_once_each(watch: Watch) -> None:
    """A runless materialization with the publication as data version; real changes only, and only what is whole."""
    first = watch.tick()
    (event,) = first.asset_events
    assert isinstance(event, dg.AssetMaterialization)
    assert event.asset_key == keys.asset_key("archive", "metadata_db")
    assert event.tags is not None
    with watch.archive.open() as m:
        assert event.tags["dagster/data_version"] == m.store.raw("remote_last_updated")
        published = m.store.moment("remote_last_updated")
    # A moment that the UI shows in the reader's own time zone, and numbers with their unit.
    assert published is not None
    assert str(event.metadata["summary"].value).startswith("the remote has published revision 1 (")
    assert {name: value for name, value in event.metadata.items() if name != "summary"} == {
        "published": dg.MetadataValue.timestamp(published),
        "revision": dg.MetadataValue.int(1),
        "size (bytes)": dg.MetadataValue.int((watch.archive.client / "_mmmeta" / "meta.db").stat().st_size),
    }
    assert not watch.tick().asset_events
    watch.run(first.run_requests[0])
    assert not watch.tick().asset_events
    watch.archive.write("contract3", "contract")
    watch.archive.publish()
    drop_log(watch.archive.client / "_mmmeta")
    meta_db = watch.archive.client / "_mmmeta" / "meta.db"
    meta_db.rename(meta_db.with_suffix(".away"))
    assert not watch.tick().asset_events
    meta_db.with_suffix(".away").rename(meta_db)
    assert watch.tick().asset_events
    assert not watch.tick().asset_events


def test_a_touch_by_hand_counts_as_published_once(watch: Watch) -> None:
    """`m.touch("remote_last_updated")`: a run, and not one after another for ever."""
    watch.run(watch.asks())
    with watch.archive.open() as m:
        m.touch("remote_last_updated")
    watch.run(watch.asks())
    assert watch.skips().startswith("Nothing to do")


def test_what_is_newer_in_the_store_only_because_a_clock_was_set_back_counts(watch: Watch) -> None:
    """Different is enough."""
    watch.run(watch.asks())
    with watch.archive.open() as m:
        m.store["remote_last_updated"] = m.store["remote_last_updated"].replace(year=2001)
    watch.run(watch.asks())
    assert watch.skips().startswith("Nothing to do")


def test_it_says_what_is_missing_before_the_first_sync(empty_archive: Archive, instance: dg.DagsterInstance) -> None:
    """No red tick."""
    metadir = empty_archive.client / "_mmmeta"
    watch = Watch(empty_archive, instance)
    assert watch.skips() == f"No metadata yet: {metadir} is not there yet; run what makes it, or sync it."
    metadir.mkdir(parents=True)
    assert watch.skips() == f"No metadata yet: {metadir / 'meta.db'} is not there yet."


@pytest.mark.parametrize("gone", ["archive", "metadir", "meta.db"])
@pytest.mark.parametrize("state", ["within", "elsewhere"])
def test_what_was_there_and_is_gone_is_waited_for(watch: Watch, gone: str, state: str, tmp_path: Path) -> None:
    """An unmounted disk is nothing to be content with, also where it took the state db along."""
    if state == "elsewhere":
        project = watch.archive.project
        project.write_text(project.read_text().replace("sensor:", f"state: {tmp_path / 'elsewhere.db'}\n    sensor:"))
    watch.run(watch.asks())
    assert watch.skips().startswith("Nothing to do")
    paths = {
        "archive": watch.archive.client,
        "metadir": watch.archive.client / "_mmmeta",
        "meta.db": watch.archive.client / "_mmmeta" / "meta.db",
    }
    drop_log(paths["metadir"])
    away = tmp_path / "away"
    paths[gone].rename(away)
    for _ in range(3):
        said = watch.skips()
        assert said.startswith("Waiting: ")
        assert str(paths["metadir" if gone == "archive" else gone]) in said or "is gone" in said
        assert "Nothing to do" not in said
        assert "make demo" not in said
    away.rename(paths[gone])
    assert watch.skips().startswith("Nothing to do")


def test_a_sync_that_goes_one_folder_too_deep_is_named(watch: Watch) -> None:
    """Before anything was merged, and after it, when everything seems to be done."""
    metadir = watch.archive.client / "_mmmeta"
    inner = metadir / "_mmmeta"
    metadir.rename(watch.archive.root / "away")
    metadir.mkdir()
    (watch.archive.root / "away").rename(inner)
    assert "one folder too deep" in watch.skips()
    inner.rename(watch.archive.root / "away")
    metadir.rmdir()
    (watch.archive.root / "away").rename(metadir)
    watch.run(watch.asks())
    shutil.copytree(metadir, watch.archive.root / "copy")
    (watch.archive.root / "copy").rename(inner)
    said = watch.skips()
    assert said.startswith("Nothing to do")
    assert "one folder too deep" in said


def test_a_wiped_state_db_is_said_where_runs_are_remembered(watch: Watch) -> None:
    """`rsync --delete` without the exclude takes `local/` away, and status.json with it."""
    watch.run(watch.asks())
    assert watch.skips().startswith("Nothing to do")
    shutil.rmtree(watch.archive.client / "_mmmeta" / "local")
    assert "did a sync delete local/?" in watch.asks().tags[keys.TAG_REASON]


def test_a_store_that_arrives_before_the_metadata_db_is_waited_for(watch: Watch) -> None:
    """In alphabetical order `_store` comes first; no attempt is spent."""
    drop_log(watch.archive.client / "_mmmeta")
    meta_db = watch.archive.client / "_mmmeta" / "meta.db"
    whole = meta_db.read_bytes()
    meta_db.unlink()
    assert "meta.db is not there yet" in watch.skips()
    meta_db.write_bytes(whole[: len(whole) // 2])
    assert "a sync may be under way" in watch.skips()
    meta_db.write_bytes(b"")
    assert "is empty or cut off" in watch.skips()
    meta_db.write_bytes(b"<html>" * 100)
    assert "is not a SQLite database" in watch.skips()
    meta_db.write_bytes(whole)
    assert keys.TAG_ATTEMPT not in watch.asks().tags


def test_what_only_a_run_can_see_is_waited_for_until_it_changes(watch: Watch) -> None:
    """A metadata db of another time than its digest: the run says so, and no further one is asked for."""
    watch.run(watch.asks())
    old = (watch.archive.client / "_mmmeta" / "meta.db").read_bytes()
    watch.archive.write("contract3", "contract")
    watch.archive.publish()
    watch.run(watch.asks())
    watch.archive.write("contract4", "contract")
    watch.archive.publish()
    meta_db = watch.archive.client / "_mmmeta" / "meta.db"
    new = meta_db.read_bytes()
    drop_log(watch.archive.client / "_mmmeta")
    meta_db.write_bytes(old)
    assert not watch.run(watch.asks()).success
    for _ in range(5):
        assert watch.skips().startswith("Waiting for the metadir to change")
    meta_db.write_bytes(new)
    request = watch.asks()
    assert keys.TAG_ATTEMPT not in request.tags
    assert watch.run(request).success


def test_a_copy_that_is_older_than_what_was_merged_is_a_skip_that_says_so(watch: Watch) -> None:
    """A snapshot was restored: no run could merge it, so none is spent on it; the next sync ends it."""
    metadir, older = watch.archive.client / "_mmmeta", watch.archive.root / "older"
    watch.run(watch.asks())
    shutil.copytree(metadir, older, ignore=shutil.ignore_patterns("local"))
    watch.archive.write("contract3", "contract")
    watch.archive.publish()
    watch.run(watch.asks())
    shutil.copytree(older, metadir, dirs_exist_ok=True)
    for _ in range(2):
        tick = watch.tick()
        assert not tick.run_requests
        assert not tick.asset_events
    said = watch.skips()
    assert said.startswith(
        f"Waiting: {metadir / 'meta.db'} is a stale copy: revision 1, merged already 2. Sync again; "
    )
    assert f"run mmmeta --project {watch.archive.project} --metadir archive update --accept-older. To do: " in said
    watch.archive.sync()
    assert watch.skips().startswith("Nothing to do: revision 2 is merged")


def test_a_metadata_db_made_anew_is_no_older_copy(watch: Watch) -> None:
    """It begins at revision 1, and its id tells."""
    watch.run(watch.asks())
    watch.archive.write("contract3", "contract")
    watch.archive.publish()
    watch.run(watch.asks())
    shutil.rmtree(watch.archive.server / "_mmmeta")
    watch.archive.publish()
    assert watch.run(watch.asks()).success
    assert watch.skips().startswith("Nothing to do: revision 1 is merged")


def test_a_store_that_comes_before_the_new_metadata_db_costs_no_run(watch: Watch) -> None:
    """A sync brings `_store` first; the old meta.db stays, whole, until the new one is renamed in."""
    watch.run(watch.asks())
    here, there = watch.archive.client / "_mmmeta", watch.archive.server / "_mmmeta"
    watch.archive.write("contract3", "contract")
    with mmmeta(watch.archive.server) as m:
        m.generate()
    shutil.copytree(there / "_store", here / "_store", dirs_exist_ok=True)
    waiting = "Waiting: the store announces revision 2, meta.db is still at 1; a sync may be under way."
    for days in range(5):
        watch.ahead = timedelta(days=days)
        assert watch.skips() == waiting
        assert not watch.tick().asset_events
    # Something touched the file: a run looks, finds the old one, and leaves it at that.
    (here / "meta.db").touch()
    assert watch.run(watch.asks()).success
    assert watch.skips() == waiting
    watch.archive.sync()
    request = watch.asks()
    assert keys.TAG_ATTEMPT not in request.tags
    assert watch.run(request).success
    assert watch.skips().startswith("Nothing to do: revision 2 is merged")


def test_work_that_is_due_goes_on_while_the_announced_metadata_is_on_its_way(watch: Watch) -> None:
    """It needs nothing of what is still to come."""
    watch.archive.configure(watch.archive.project.read_text().replace("backoff: 1s", "backoff: 1m"))
    watch.archive.fail("letter0.txt")
    watch.run(watch.asks())
    with watch.archive.open() as m:
        m.store["remote_revision"] = 2
        m.touch("remote_last_updated")
    assert watch.skips().startswith("Waiting: the store announces revision 2")
    watch.ahead = timedelta(minutes=5)
    assert watch.asks().tags[keys.TAG_REASON].startswith("look: 1 failed file is due again")


@pytest.mark.parametrize("text", ["", "2026-0", "hello", "\x00", "{"])
def test_a_half_written_store_is_a_skip_that_says_so(watch: Watch, text: str) -> None:
    """No red tick, and no run either."""
    watch.run(watch.asks())
    (watch.archive.client / "_mmmeta" / "_store" / "remote_last_updated").write_text(text)
    assert "which is no moment (yet)" in watch.skips()


def test_a_store_that_cannot_be_read_is_a_skip_that_says_so(watch: Watch) -> None:
    """A folder in the place of a file stands for all of it; root can read everything else."""
    key = watch.archive.client / "_mmmeta" / "_store" / "remote_last_updated"
    watch.run(watch.asks())
    key.unlink()
    assert "no remote_last_updated any more" in watch.skips()
    key.mkdir()
    assert "no remote_last_updated any more" in watch.skips()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', "\x00"])
def test_a_status_that_cannot_be_read_is_asked_for_and_repaired(watch: Watch, text: str) -> None:
    """It is derived: a run writes it anew."""
    watch.run(watch.asks())
    watch.skips()
    (watch.archive.client / "_mmmeta" / "local" / "status.json").write_text(text)
    watch.run(watch.asks())
    assert watch.skips().startswith("Nothing to do")


def test_a_state_db_that_was_removed_is_made_anew(watch: Watch) -> None:
    """Although status.json, which a person forgot, still says that all is merged and done."""
    watch.run(watch.asks())
    local = watch.archive.client / "_mmmeta" / "local"
    for path in local.glob("state.db*"):
        path.unlink()
    assert watch.asks().tags[keys.TAG_REASON] == f"The state db {local / 'state.db'} is gone."
    watch.cursor = None
    assert watch.run(watch.asks()).success
    assert watch.skips().startswith("Nothing to do")


def test_a_state_db_that_was_restored_from_a_backup_is_brought_up_to_date(watch: Watch) -> None:
    """It knows less than status.json says."""
    watch.run(watch.asks())
    local = watch.archive.client / "_mmmeta" / "local"
    shutil.copy2(local / "state.db", local / "backup.db")
    watch.archive.write("letter2", "letter")
    watch.archive.publish()
    watch.run(watch.asks())
    assert watch.skips().startswith("Nothing to do")
    (local / "backup.db").rename(local / "state.db")
    assert "is another file than before" in watch.asks().tags[keys.TAG_REASON]
    watch.cursor = None
    assert watch.run(watch.asks()).success
    assert "look: 3 done" in watch.skips()


def test_work_that_is_due_is_asked_for_although_nothing_was_published(watch: Watch) -> None:
    """A failed file: after its pause, and after a `retry` that a person typed."""
    text = watch.archive.project.read_text()
    watch.archive.configure(text.replace("backoff: 1s", "backoff: 1h"))
    watch.archive.fail("letter1.txt")
    watch.run(watch.asks())
    assert "look: 1 done, 1 failed, next retry at" in watch.skips()
    watch.ahead = timedelta(hours=2)
    assert "look: 1 failed file is due again since" in watch.asks().tags[keys.TAG_REASON]
    watch.ahead = timedelta()
    watch.archive.fail()
    with watch.archive.open() as m:
        m.job(watch.archive.config.jobs["look"]).retry()
    watch.run(watch.asks())
    assert "look: 2 done" in watch.skips()


def test_the_rest_of_a_limit_is_asked_for_until_nothing_is_left(watch: Watch) -> None:
    """Two files a run: three runs for five files, without a pause between them."""
    text = watch.archive.project.read_text()
    watch.archive.configure(text.replace("table: documents}", "table: documents}\n        limit: {files: 2}"))
    reasons = []
    for _ in range(3):
        request = watch.asks()
        assert keys.TAG_ATTEMPT not in request.tags
        reasons.append(request.tags[keys.TAG_REASON])
        watch.run(request)
    assert reasons[1:] == ["load_all: 3 files are due.", "load_all: 1 file is due."]
    assert watch.skips().startswith("Nothing to do")


def test_a_job_that_is_added_or_changed_is_asked_for(watch: Watch) -> None:
    """The project file is the client's own; nothing at the remote moves."""
    watch.run(watch.asks())
    text = watch.archive.project.read_text()
    watch.archive.configure(text.replace("document_type: letter", "document_type: contract"))
    assert watch.asks().tags[keys.TAG_REASON] == "look: the job was changed."
    watch.archive.configure(f"{text}      more:\n        call: {{function: 'dagster_test_actions:look'}}\n")
    watch.cursor = None
    assert "more: the job is new" in watch.asks().tags[keys.TAG_REASON]


def test_a_selection_that_grows_with_time_is_looked_at_although_another_job_runs_all_the_time(watch: Watch) -> None:
    """Whoever runs one job with a script of one's own writes status.json, and evaluates no other selection."""
    text = watch.archive.project.read_text()
    watch.archive.configure(text.replace("{document_type: letter}", '{retrieved_at: {"<": {ago: 7d}}}'))
    for number in range(2):
        watch.archive.write(f"letter{number}", "letter", retrieved_at="2026-05-04")
    watch.archive.publish()
    watch.run(watch.asks())
    assert watch.skips().startswith("Nothing to do")
    look = watch.archive.status.jobs["look"]
    assert look.evaluated_at is not None
    hour = look.evaluated_at + timedelta(hours=1, seconds=1)
    with Metadir(watch.archive.client, clock=lambda: hour) as m:
        m.job("mine", where={"document_type": "contract"}).run(lambda file: None)
    assert watch.archive.status.written_at == hour
    assert watch.archive.status.jobs["look"].evaluated_at == look.evaluated_at
    watch.ahead = hour - utcnow()
    assert watch.asks().tags[keys.TAG_REASON] == "look: files may have entered the selection as time passed."


def test_how_a_job_is_shown_asks_for_nothing(watch: Watch) -> None:
    """Owners and tags are no change of the work."""
    watch.run(watch.asks())
    text = watch.archive.project.read_text()
    watch.archive.configure(
        text.replace("attempts: 3\n        backoff", "owners: ['team:x']\n        attempts: 3\n        backoff")
    )
    assert watch.skips().startswith("Nothing to do")
