"""Who may write what, and the store's derived keys."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from archives import Archive, SettableClock

from mmmeta import Metadir, read_status
from mmmeta.errors import ReadOnlyMetadirError
from mmmeta.project import job_config


@pytest.fixture
def clocked(tmp_path: Path, clock: SettableClock) -> Iterator[Archive]:
    """An archive whose server obeys ``clock``."""
    made = Archive(tmp_path, server_clock=clock)
    yield made
    made.close()


def test_the_first_verb_decides_what_a_metadir_is(archive: Archive) -> None:
    """A server by generate or insert, a client by update; a server may be a client too."""
    archive.write("a")
    archive.deliver()
    assert (archive.server.is_server, archive.server.is_client) == (True, False)
    assert (archive.client.is_server, archive.client.is_client) == (False, True)
    archive.server.update()
    archive.server.generate()
    assert (archive.server.is_server, archive.server.is_client) == (True, True)


def test_a_clients_copy_refuses_to_be_written(archive: Archive) -> None:
    """Naming the way for those who mean it."""
    archive.write("a")
    archive.deliver()
    before = archive.client.layout.meta_db.read_bytes()
    for verb in (
        archive.client.generate,
        lambda: archive.client.files.insert(content_hash="x"),
        lambda: archive.client.files.delete(content_hash="a"),
    ):
        with pytest.raises(ReadOnlyMetadirError, match="server=True"):
            verb()
    assert archive.client.layout.meta_db.read_bytes() == before
    with Metadir(archive.client_path, server=True) as meant:
        meant.files.insert(content_hash="x")
        assert "x" in meant.files


def test_a_server_that_is_a_client_too_sees_its_own_inserts(archive: Archive) -> None:
    """The state row is written with the metadata."""
    archive.write("a")
    archive.server.generate()
    archive.server.update()
    archive.server.files.insert(content_hash="b")
    assert "b" in archive.server.files
    assert not archive.server.is_outdated


def test_on_the_first_day_the_manuals_comparison_is_right(archive: Archive) -> None:
    """Timestamps that were never set are ``datetime.min``."""
    store = archive.client.store
    assert store["remote_last_updated"] == store["local_last_updated"] == datetime.min
    archive.write("a")
    archive.publish()
    assert store["remote_last_updated"] > store["local_last_updated"]
    archive.client.update()
    assert store["remote_last_updated"] == store["local_last_updated"]
    assert (store["remote_revision"], store["local_revision"]) == (1, 1)


def test_only_a_change_moves_the_marks(clocked: Archive, clock: SettableClock) -> None:
    """A generate that changes nothing wakes nobody."""
    clocked.write("a")
    clocked.server.generate()
    before = dict(clocked.server.store.items())
    clock.forward(hours=1)
    clocked.server.generate()
    assert dict(clocked.server.store.items()) == before
    clocked.server.files.insert(content_hash="b")
    assert clocked.server.store["remote_last_updated"] > before["remote_last_updated"]
    assert clocked.server.store["remote_revision"] == 2


def test_remote_last_updated_grows_also_when_the_clock_goes_back(clocked: Archive, clock: SettableClock) -> None:
    """A client that follows it misses nothing."""
    clocked.write("a", n=0)
    clocked.deliver()
    for n in range(1, 4):
        clock.forward(days=-1)
        clocked.write("a", n=n)
        clocked.publish()
        store = clocked.client.store
        assert store["remote_last_updated"] > store["local_last_updated"]
        clocked.client.update()
        assert store["remote_last_updated"] == store["local_last_updated"]


@pytest.mark.parametrize("key", ["remote_last_updated", "meta_last_updated", "remote_revision"])
@pytest.mark.parametrize("damage", ["", "nonsense", None])
def test_derived_keys_of_the_server_are_repaired(archive: Archive, key: str, damage: str | None) -> None:
    """By a generate that changes nothing."""
    archive.write("a")
    archive.server.generate()
    path = archive.server.layout.store / key
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage)
    archive.server.generate()
    assert archive.server.store["remote_revision"] == 1
    assert isinstance(archive.server.store[key], int if key == "remote_revision" else datetime)
    assert archive.server.store[key] != datetime.min
    settled = dict(archive.server.store.items())
    archive.server.generate()
    assert dict(archive.server.store.items()) == settled


@pytest.mark.parametrize("name", ["store/local_last_updated", "store/local_revision", "status.json"])
@pytest.mark.parametrize("damage", ["", "nonsense", None])
def test_derived_files_of_the_client_are_repaired(archive: Archive, name: str, damage: str | None) -> None:
    """By an update that has nothing to merge."""
    archive.write("a")
    archive.deliver()
    path = archive.client.layout.local / name
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage)
    assert archive.client.update().how == "nothing new"
    store = archive.client.store
    assert (store["local_revision"], store["local_last_updated"]) == (1, store["remote_last_updated"])
    assert '"revision"' in archive.client.layout.status.read_text()


def test_a_users_own_touch_counts_as_seen_after_an_update(archive: Archive) -> None:
    """Although there is nothing to merge."""
    archive.write("a")
    archive.deliver()
    archive.server.touch("remote_last_updated")
    archive.sync()
    assert archive.client.store["remote_last_updated"] > archive.client.store["local_last_updated"]
    assert archive.client.update().how == "nothing new"
    assert archive.client.store["remote_last_updated"] == archive.client.store["local_last_updated"]


def test_a_store_that_came_before_its_metadata_db_is_not_counted_as_merged(archive: Archive) -> None:
    """A sync in alphabetical order brings ``_store`` first; the mark still differs until meta.db is there."""
    archive.log = False
    archive.write("a")
    archive.deliver()
    old = archive.client.layout.meta_db.read_bytes()
    archive.write("b")
    archive.publish()
    new = archive.client.layout.meta_db.read_bytes()
    archive.client.layout.meta_db.write_bytes(old)
    report = archive.client.update()
    assert report.how == "nothing new"
    assert "sync has not finished" in report.notes[0]
    assert archive.client.store["remote_last_updated"] > archive.client.store["local_last_updated"]
    assert archive.client.status().remote_last_updated != archive.client.store.raw("remote_last_updated")
    archive.client.layout.meta_db.write_bytes(new)
    assert archive.client.update().added == 1
    assert archive.client.store["remote_last_updated"] == archive.client.store["local_last_updated"]


def test_is_outdated_compares_contents_and_not_clocks(archive: Archive) -> None:
    """Id, revision and digest."""
    archive.write("a")
    archive.publish()
    assert archive.client.is_outdated
    archive.client.update()
    assert not archive.client.is_outdated
    archive.server.generate(replace=True)
    archive.sync()
    assert archive.client.is_outdated


def test_inspecting_an_empty_folder_creates_nothing(tmp_path: Path) -> None:
    """Opening neither."""
    with Metadir(tmp_path) as empty:
        assert empty.inspect().exists is False
        assert (empty.is_server, empty.is_client) == (False, False)
    assert list(tmp_path.iterdir()) == []


def test_a_selection_that_cannot_be_evaluated_stops_no_update(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    """It is in the log; the job's own run fails with it."""
    archive.write("a", kind="x")
    archive.publish()
    call = {"function": "os.path:basename"}
    jobs = {name: job_config(name, {key: "x"}, call=call) for name, key in (("wrong", "kimd"), ("right", "kind"))}
    with Metadir(archive.client_path, jobs=jobs) as client, caplog.at_level("INFO", "mmmeta"):
        assert client.update().added == 1
        assert client.status().jobs["right"].pending == 1
    assert "the selection of job wrong could not be evaluated" in caplog.text
    assert "'kimd'" in caplog.text


def test_two_state_dbs_of_one_metadir_know_each_for_itself_what_they_merged(tmp_path: Path) -> None:
    """Two users, or two entries of a project file: neither's status or `local_` keys are the other's."""
    base = tmp_path / "archive"
    with Metadir(tmp_path / "server") as server:
        server.files.insert(content_hash="a")
        shutil.copytree(tmp_path / "server" / "_mmmeta", base / "_mmmeta", ignore=shutil.ignore_patterns("local"))
        with Metadir(base, state=tmp_path / "one.db") as one, Metadir(base, state=tmp_path / "two.db") as two:
            one.update()
            server.files.insert_many([{"content_hash": "b"}])
            shutil.copytree(
                tmp_path / "server" / "_mmmeta",
                base / "_mmmeta",
                ignore=shutil.ignore_patterns("local"),
                dirs_exist_ok=True,
            )
            assert one.store["remote_last_updated"] > one.store["local_last_updated"]
            two.update()
            two.store["local_mine"] = 2
            assert two.store["remote_last_updated"] == two.store["local_last_updated"]
            # Unchanged by the other one.
            assert one.store["remote_last_updated"] > one.store["local_last_updated"]
            assert (one.store["local_revision"], two.store["local_revision"]) == (1, 2)
            assert "local_mine" not in one.store
    statuses = [read_status(tmp_path / f"{name}.db.status.json") for name in ("one", "two")]
    assert [status.revision for status in statuses if status] == [1, 2]
    assert (tmp_path / "two.db.store" / "local_mine").read_text() == "2"
    # And whoever names no state db is told that this is a copy.
    with Metadir(base) as client, pytest.raises(ReadOnlyMetadirError):
        client.files.insert(content_hash="c")
