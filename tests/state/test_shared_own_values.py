"""What clients set, where the ledger is in PostgreSQL: shared by all, brought before an evaluation, kept when a cache goes."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from archives import Archive, SettableClock, copy_metadir, deliver, nothing
from postgres import connected, emptied_server, query

from mmmeta import Metadir
from mmmeta.errors import StateDbError
from mmmeta.files.file import File

pytestmark = pytest.mark.services

ODD: dict[str, Any] = {
    "zero": -0.0,
    "yes": True,
    "one": 1,
    "none": None,
    "big": 2**70,
    "nul": "a\0b",
    "list": [1.0, True, []],
}


@pytest.fixture
def url() -> str:
    return emptied_server()


@pytest.fixture
def archive(url: str, tmp_path: Path, clock: SettableClock) -> Iterator[Archive]:
    made = Archive(tmp_path, client_clock=clock, state=url)
    yield made
    made.close()


@pytest.fixture
def other(archive: Archive, url: str, tmp_path: Path, clock: SettableClock) -> Iterator[Metadir]:
    """A second client; its copy is to be brought by ``sync``."""
    with Metadir(tmp_path / "other", state=url, clock=clock) as made:
        yield made


def sync(archive: Archive, other: Metadir) -> None:
    """Bring the second client what the first one has, and merge it."""
    shutil.copytree(archive.client_path, other.layout.base, ignore=shutil.ignore_patterns("local"), dirs_exist_ok=True)
    other.update()


def put(client: Metadir, name: str, **values: Any) -> None:
    file = client.files.get(name)
    assert file is not None
    file.update(values)
    file.save()


def own(client: Metadir, name: str) -> dict[str, Any]:
    file = client.files.get(name)
    assert file is not None
    return dict(file.local)


def brought(client: Metadir) -> None:
    client._backend.state.current()


def test_what_one_sets_the_other_has_before_it_evaluates(archive: Archive, other: Metadir) -> None:
    """Value for value; what is taken back is taken back there, too."""
    deliver(archive, "a", "b", title="x")
    sync(archive, other)
    put(archive.client, "a", **ODD)
    assert own(other, "a") == {}
    brought(other)
    assert json.dumps(own(other, "a"), sort_keys=True) == json.dumps(ODD, sort_keys=True)
    assert own(other, "b") == {}
    file = other.files.get("a")
    assert file is not None
    del file["one"]
    file["yes"] = False
    file.save()
    brought(archive.client)
    assert json.dumps(own(archive.client, "a"), sort_keys=True) == json.dumps(own(other, "a"), sort_keys=True)
    assert "one" not in own(archive.client, "a")


def test_a_job_that_selects_by_what_another_has_set(archive: Archive, other: Metadir) -> None:
    """Who evaluates next knows of it, an update as well."""
    deliver(archive, "a", "b")
    sync(archive, other)
    assert other.job("job", where={"reviewed": True}).due() == 0
    put(archive.client, "a", reviewed=True)
    assert other.job("job", where={"reviewed": True}).due() == 1


def test_the_cache_may_be_deleted(archive: Archive) -> None:
    """What was set comes back with the next update, and no job is at work anew for it."""
    deliver(archive, "a", "b")
    job = archive.client.job("job", where={"skip": False}, rerun_on=["skip", "note"])
    put(archive.client, "a", skip=False, note="x")
    assert job.run(nothing).done == 2
    archive.client.close()
    shutil.rmtree(archive.client.layout.local)
    archive.client.update()
    assert own(archive.client, "a") == {"skip": False, "note": "x"}
    assert job.run(nothing).attempted == 0
    archive.client.close()
    shutil.rmtree(archive.client.layout.local)
    assert job.run(nothing).attempted == 0  # it merges by itself
    assert own(archive.client, "a") == {"skip": False, "note": "x"}


def test_what_a_worker_sets_is_seen_by_all(archive: Archive, url: str, tmp_path: Path, clock: SettableClock) -> None:
    """By the next worker at once, by who evaluates before that."""
    deliver(archive, "a", title="x")
    for name in ("first", "second"):
        archive.client.job(name).evaluate()
    archive.client.job("third", where={"pages": {">": 1}}).evaluate()

    def count(file: File) -> None:
        file["pages"] = 3
        file.save()

    seen: list[Any] = []
    with Metadir(tmp_path / "worker", state=url, worker=True, clock=clock) as worker:
        assert worker.job("first").run(count).done == 1
        assert worker.job("second").run(lambda file: seen.append((file["pages"], dict(file.meta)))).done == 1
        assert worker.job("third", where={"pages": {">": 1}}).run(nothing).done == 0
        archive.client.job("third", where={"pages": {">": 1}}).evaluate()
        assert worker.job("third", where={"pages": {">": 1}}).run(nothing).done == 1
    assert seen == [(3, {"content_hash": "a", "title": "x"})]
    assert own(archive.client, "a") == {"pages": 3}


def test_values_of_files_that_are_not_here_yet_wait_for_them(archive: Archive, other: Metadir) -> None:
    """A copy that is older does not lose them."""
    deliver(archive, "a")
    sync(archive, other)
    deliver(archive, "b")
    put(archive.client, "b", note="early")
    put(archive.client, "a", note="both")
    brought(other)
    assert own(other, "a") == {"note": "both"}
    brought(other)
    sync(archive, other)
    brought(other)
    assert own(other, "b") == {"note": "early"}


def test_what_was_set_before_it_was_shared_is_shared(archive: Archive, other: Metadir, url: str) -> None:
    """By a client whose state was in a file; what others have set since is the one that counts."""
    with Metadir(archive.client_path) as alone:
        archive.write("a")
        archive.write("b")
        archive.publish()
        alone.update()
        put(alone, "a", note="old", kept=1)
        put(alone, "b", note="old")
    sync(archive, other)
    put(other, "a", note="new")
    archive.client.update()
    archive.client.job("job").evaluate()
    assert own(archive.client, "a") == {"note": "new", "kept": 1}
    brought(other)
    assert own(other, "a") == {"note": "new", "kept": 1}
    assert own(other, "b") == {"note": "old"}


def test_another_ledger_is_told_what_is_here(archive: Archive, url: str) -> None:
    """A database that was lost, or another one: nothing that a client has is lost with it."""
    deliver(archive, "a")
    put(archive.client, "a", note="x")
    brought(archive.client)
    archive.client.close()
    emptied_server()
    with Metadir(archive.client_path, state=url) as again:
        brought(again)
        assert query(again, "SELECT file, key, value::text FROM own_values") == [("a", "note", '"x"')]
        assert own(again, "a") == {"note": "x"}


def test_a_server_that_was_restored_is_told_again_what_is_newer_here(archive: Archive, other: Metadir) -> None:
    """It has fewer changes than a client remembers; what was set since the backup comes back by that client, to all others."""
    deliver(archive, "a", "b")
    sync(archive, other)
    put(archive.client, "a", note="old", kept=1)
    brought(archive.client)
    brought(other)
    backup = query(archive.client, "SELECT file, key, value::text, revision FROM own_values")
    ((revision,),) = query(archive.client, "SELECT value FROM mmmeta_info WHERE name = 'own_revision'")
    put(archive.client, "a", note="new")
    put(archive.client, "b", note="set since")
    brought(archive.client)
    with connected() as connection:
        connection.execute("DELETE FROM own_values")
        connection.cursor().executemany("INSERT INTO own_values VALUES (%s, %s, %s, %s)", backup)
        connection.execute("UPDATE mmmeta_info SET value = %s WHERE name = 'own_revision'", (revision,))
    put(other, "b", of_other=True)
    for client in (archive.client, other, archive.client):
        brought(client)
    for client in (archive.client, other):
        assert own(client, "a") == {"note": "new", "kept": 1}
        assert own(client, "b") == {"note": "set since", "of_other": True}


def test_older_own_values_change_nothing(archive: Archive, other: Metadir) -> None:
    """Of two that evaluate at once the one who knows less is not listened to."""
    deliver(archive, "a")
    sync(archive, other)
    put(archive.client, "a", note="old")
    rules: dict[str, Any] = {"rerun_on": ["note"]}
    archive.client.job("job", **rules).run(nothing)
    bench = other.job("job", **rules)._bench
    brought(other)
    merged = other._backend.state.require()
    put(archive.client, "a", note="new")
    archive.client.job("job", **rules).evaluate()
    before = query(archive.client, "SELECT wanted, status FROM ledger")
    with bench.changing() as ledger:  # what it has brought is older by now
        bench.evaluate(ledger, other._backend.state.catalog(), merged.state_revision)
    assert query(archive.client, "SELECT wanted, status FROM ledger") == before
    assert other.job("job", **rules).run(nothing).done == 1
    assert archive.client.job("job", **rules).run(nothing).attempted == 0


def test_many_who_set_at_once_lose_nothing(archive: Archive, other: Metadir) -> None:
    """Each change is seen by all in the end."""
    deliver(archive, "a", "b")
    sync(archive, other)

    def set_many(client: Metadir, word: str) -> None:
        for number in range(15):
            put(client, "ab"[number % 2], **{f"{word}{number}": number})
            brought(client)

    threads = [
        threading.Thread(target=set_many, args=(client, word))
        for client, word in ((archive.client, "here"), (other, "there"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in (archive.client, other):
        brought(client)
    assert own(archive.client, "a") == own(other, "a")
    assert own(archive.client, "b") == own(other, "b")
    assert len(own(other, "a")) + len(own(other, "b")) == 30


def test_a_save_that_cannot_be_shared_is_not_kept_here(archive: Archive) -> None:
    """Neither where the server is gone, nor where it does not take the file's name."""
    archive.write("odd", content_hash="n\0l")
    deliver(archive, "a")
    with connected() as connection:
        connection.execute("ALTER TABLE own_values RENAME TO gone")
        with pytest.raises(StateDbError):
            put(archive.client, "a", note="x")
        connection.execute("ALTER TABLE gone RENAME TO own_values")
    assert own(archive.client, "a") == {}
    with pytest.raises(StateDbError, match="cannot keep what is set for the file"):
        put(archive.client, "n\0l", note="x")
    assert own(archive.client, "n\0l") == {}
    put(archive.client, "a", note="x")
    assert own(archive.client, "a") == {"note": "x"}


def test_a_file_and_a_key_that_do_not_fit_together(
    url: str, tmp_path: Path, clock: SettableClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each does alone. What was set before the state was shared stays here, is named, and stands in nobody's way."""
    name, key = os.urandom(995).hex(), os.urandom(450).hex()
    with closing(Archive(tmp_path, client_clock=clock)) as alone:
        alone.write("odd", content_hash=name)
        deliver(alone, "a")
        put(alone.client, name, **{key: 1, "note": "x"})
        put(alone.client, "a", **{key: 2})
        with Metadir(alone.client_path, state=url, clock=clock) as client:
            client.update()
            assert client.job("job").run(nothing).done == 2
            with pytest.raises(StateDbError, match="bytes together"):
                put(client, name, **{key: 3})
            put(client, name, note="y")
            assert own(client, name) == {key: 1, "note": "y"}
        (record,) = [one for one in caplog.records if "not shared" in one.getMessage()]
        assert all(text[:80] in record.getMessage() for text in (key, name))
        copy_metadir(alone.client_path, tmp_path / "other", without=["local"])
        with Metadir(tmp_path / "other", state=url, clock=clock) as other:
            other.update()
            assert (own(other, name), own(other, "a")) == ({"note": "y"}, {key: 2})


def test_what_is_here_already_takes_no_state_revision(archive: Archive) -> None:
    """Nobody has a second look at what he has set himself."""
    deliver(archive, "a")
    put(archive.client, "a", note="x")
    brought(archive.client)
    before = archive.client.status().state_revision
    brought(archive.client)
    assert archive.client.status().state_revision == before
