"""A client's copy follows what a remote publishes, whatever place that is."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import fsspec
import pytest
from sync_places import Site, files_of, head_of, publish, synced

from mmmeta import Metadir, mmmeta
from mmmeta.errors import LegacyMetadirError, ReadOnlyMetadirError, SyncError
from mmmeta.project import SyncConfig
from mmmeta.sync import pull, push


@pytest.mark.parametrize("place", ["path", "file", "http", "memory"])
def test_a_copy_is_what_the_remote_is(place: str, server: Path, client: Path, site: Site, memory: str) -> None:
    """From every kind of place; and what came does not come again."""
    remote = {"path": str(server), "file": server.as_uri(), "http": site.url, "memory": memory}[place]
    push(server, memory)
    report = pull(client, remote)
    assert (report.revision_before, report.revision, report.is_new) == (None, 3, True)
    assert synced(client) == synced(server)
    assert report.bytes == sum(map(len, synced(server).values()))
    assert report.files == len(synced(server))
    assert files_of(client) == files_of(server)
    again = pull(client, remote)
    assert (again.is_new, again.files, again.bytes, again.removed) == (False, 0, 0, 0)
    publish(server, "d")
    push(server, memory)
    third = pull(client, remote)
    assert (third.revision_before, third.revision, third.is_new) == (3, 4, True)
    assert third.files == 5  # segment, head.json, three keys of the store
    assert files_of(client) == files_of(server)


def test_head_json_is_asked_first_and_alone_where_nothing_is_new(client: Path, site: Site) -> None:
    """With the small files that no head.json names."""
    pull(client, site.url)
    site.asked.clear()
    pull(client, site.url)
    assert not any(name.startswith("_mmmeta/changes/") for name in site.asked)
    assert "_mmmeta/meta.db" not in site.asked
    assert site.asked["_mmmeta/head.json"] == 1


def test_local_is_neither_read_nor_written(server: Path, client: Path) -> None:
    """Neither the remote's, nor the copy's."""
    (server / "_mmmeta" / "local" / "secret").write_text("x")
    pull(client, str(server))
    assert not (client / "_mmmeta" / "local").exists()
    files_of(client)
    with Metadir(client) as m:
        file = m.files.find_one(content_hash="a")
        assert file is not None
        file["mine"] = 1
        file.save()
    before = {path: path.read_bytes() for path in (client / "_mmmeta" / "local").rglob("*") if path.is_file()}
    publish(server, "d")
    pull(client, str(server))
    assert {path: path.read_bytes() for path in (client / "_mmmeta" / "local").rglob("*") if path.is_file()} == before
    assert sorted(os.listdir(client / "_mmmeta")) == ["_store", "changes", "config.yml", "head.json", "local"]


def test_segments_that_were_merged_away_go(server: Path, client: Path) -> None:
    """Once head.json names them no more; other files stay."""
    pull(client, str(server))
    (client / "_mmmeta" / "changes" / "notes.txt").write_text("mine")
    for number in range(40):
        publish(server, f"more {number}")
    report = pull(client, str(server))
    named = {segment.name for segment in head_of(server).segments}
    assert set(os.listdir(client / "_mmmeta" / "changes")) == {*named, "notes.txt"}
    assert report.removed > 0
    assert files_of(client) == files_of(server)


def test_a_server_is_not_pulled_into(server: Path, tmp_path: Path) -> None:
    """What it has written would be gone."""
    other = tmp_path / "other"
    publish(other, "x")
    before = synced(server)
    with pytest.raises(ReadOnlyMetadirError, match="is a server's: metadata is written here"):
        pull(server, str(other))
    assert synced(server) == before


def test_a_copy_that_came_with_the_local_of_its_server_is_told_how_to_be_one(server: Path, client: Path) -> None:
    """Two servers of one metadir is what it would become."""
    shutil.copytree(server, client)
    publish(server, "x")
    with pytest.raises(
        ReadOnlyMetadirError, match=r"exclude local/ from that sync, and remove .*_mmmeta/local/server$"
    ):
        pull(client, str(server))
    (client / "_mmmeta" / "local" / "server").unlink()
    assert pull(client, str(server)).is_new
    assert files_of(client) == files_of(server)


def test_an_old_metadir_is_not_pulled_into(server: Path, client: Path) -> None:
    """It stays as it is."""
    (client / "_mmmeta" / "db").mkdir(parents=True)
    with pytest.raises(LegacyMetadirError, match="mmmeta migrate"):
        pull(client, str(server))
    assert os.listdir(client / "_mmmeta") == ["db"]


def test_an_archive_made_anew_takes_the_place_of_the_one_it_replaces(server: Path, client: Path) -> None:
    """Its head.json says so."""
    pull(client, str(server))
    files_of(client)
    with mmmeta(server) as m:
        m.generate(replace=True, allow_mass_delete=True)
    publish(server, "z")
    assert pull(client, str(server)).is_new
    assert files_of(client)["z"]


def test_what_no_server_has_published_gives_way(server: Path, client: Path) -> None:
    """``mmmeta migrate`` makes a client's metadata db of its own; the server's is of another id, and update compares both."""
    with mmmeta(client) as m:
        m.files.insert({"content_hash": "x"})
    for name in ("head.json", "changes", "local"):
        path = client / "_mmmeta" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert pull(client, str(server)).is_new
    assert head_of(client) == head_of(server)


def test_another_archive_is_refused(server: Path, client: Path, tmp_path: Path) -> None:
    """Both are named, and the copy stays."""
    pull(client, str(server))
    before = synced(client)
    other = tmp_path / "other"
    publish(other, "x")
    with pytest.raises(SyncError, match=r"another archive's\. Pull it into another folder") as caught:
        pull(client, str(other), accept_older=True)
    assert head_of(server).head.id in str(caught.value)
    assert head_of(other).head.id in str(caught.value)
    assert synced(client) == before


def test_what_another_server_made_of_the_same_metadir_is_refused(server: Path, client: Path, tmp_path: Path) -> None:
    """Also where it is further on: what is here would be lost without a word. Who means it says so."""
    other = tmp_path / "other"
    shutil.copytree(server, other)
    publish(server, "ours")
    pull(client, str(server))
    before = synced(client)
    publish(other, "theirs")
    publish(other, "theirs again")
    with pytest.raises(
        SyncError, match=r"does not contain revision 4 as the copy here has it: two servers .*--accept-older"
    ):
        pull(client, str(other))
    assert synced(client) == before
    assert pull(client, str(other), accept_older=True).revision == 5
    assert files_of(client) == files_of(other)


def test_a_head_that_tells_another_digest_is_refused(server: Path, client: Path) -> None:
    """The copy stays one that an update can merge, also where an older revision would be accepted."""
    pull(client, str(server))
    before = synced(client)
    publish(server, "d")
    head = server / "_mmmeta" / "head.json"
    said = json.loads(head.read_text())
    head.write_text(json.dumps(said | {"digest": "0" * 32}))
    for accept_older in (False, True):
        with pytest.raises(
            SyncError, match=r"head\.json tells another digest than its change log: run `mmmeta generate`"
        ):
            pull(client, str(server), accept_older=accept_older)
        assert synced(client) == before


def test_a_damaged_segment_is_mended_as_the_error_says(server: Path, client: Path, tmp_path: Path) -> None:
    """At a server, and where it is pushed to; its length tells nothing of it."""
    place = tmp_path / "place"
    push(server, str(place))
    for remote in (server, place):
        path = remote / "_mmmeta" / "changes" / head_of(remote).segments[-1].name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(
            SyncError, match=r"pull again\. If that does not help, .*remove it there, run `mmmeta generate`"
        ):
            pull(client, str(remote))
        if remote == server:
            with pytest.raises(SyncError, match=r"remove that file if it is there: `mmmeta generate` writes it anew"):
                push(server, str(tmp_path / "another"))
        path.unlink()
        with mmmeta(server) as m:
            m.generate()
        push(server, str(place))
        pull(client, str(remote))
        assert files_of(client) == files_of(server)
        shutil.rmtree(client)


def test_a_head_of_a_program_that_tells_another_digest_is_named(server: Path, client: Path) -> None:
    """By the pull that ran it, and not only by the update after it."""
    head = server / "_mmmeta" / "head.json"
    head.write_text(json.dumps(json.loads(head.read_text()) | {"digest": "0" * 32}))
    (server / "_mmmeta" / "meta.db").unlink()
    program = SyncConfig(command=["cp", "-r", str(server / "_mmmeta"), "{path}"])
    client.mkdir()
    with pytest.raises(SyncError, match=r"what it brought is not whole: its head\.json tells another digest"):
        pull(client, program)


def test_a_segment_that_no_server_writes_is_named_as_the_remote_has_it(server: Path, client: Path) -> None:
    """Its head.json says the same of it; and who mends that."""
    path, content = server / "_mmmeta/changes/3-3.jsonl.gz", gzip.compress(b"nonsense\n", mtime=0)
    path.write_bytes(content)
    head = server / "_mmmeta" / "head.json"
    said = json.loads(head.read_text())
    told = {"bytes": len(content), "size": 9, "sha256": hashlib.sha256(content).hexdigest()}
    said["segments"][-1].update(told)
    head.write_text(json.dumps(said))
    with pytest.raises(SyncError, match=r": changes/3-3\.jsonl\.gz holds .*move head\.json and changes/ away and run"):
        pull(client, str(server))
    assert synced(client) == {}
    (server / "_mmmeta" / "head.json").unlink()
    shutil.rmtree(server / "_mmmeta" / "changes")
    with mmmeta(server) as m:
        m.generate()
    pull(client, str(server))
    assert files_of(client) == files_of(server)


def test_an_older_revision_is_refused_unless_it_is_accepted(server: Path, client: Path, memory: str) -> None:
    """A server that was restored, or a place that nobody pushes to any more."""
    push(server, memory)
    publish(server, "d")
    pull(client, str(server))
    files_of(client)
    before = synced(client)
    with pytest.raises(SyncError, match=r"it is at revision 3, and the copy here at 4 already\..*--accept-older"):
        pull(client, memory)
    assert synced(client) == before
    report = pull(client, memory, accept_older=True)
    assert (report.revision_before, report.revision, report.is_new) == (4, 3, True)
    with Metadir(client) as m:
        assert m.update(accept_older=True).revision == 3


def test_two_servers_at_one_revision_are_refused(server: Path, client: Path, tmp_path: Path) -> None:
    """A copy of the server that went on by itself."""
    fork = tmp_path / "fork"
    shutil.copytree(server, fork)
    publish(server, "d")
    publish(fork, "e")
    pull(client, str(server))
    with pytest.raises(SyncError, match="so has the copy here, and they differ: two servers write this metadir"):
        pull(client, str(fork), accept_older=True)


def test_a_remote_without_a_change_log_is_read_by_meta_db(server: Path, client: Path, site: Site) -> None:
    """And only if its store speaks of something else than what is here."""
    os.remove(server / "_mmmeta" / "head.json")
    report = pull(client, site.url)
    assert (report.revision, report.is_new) == (3, True)
    assert (client / "_mmmeta" / "meta.db").read_bytes() == (server / "_mmmeta" / "meta.db").read_bytes()
    assert len(files_of(client)) == 3
    assert not pull(client, site.url).is_new
    assert site.asked["_mmmeta/meta.db"] == 1
    publish(server, "d")
    os.remove(server / "_mmmeta" / "head.json")
    assert pull(client, site.url).revision == 4
    assert len(files_of(client)) == 4


def test_an_old_metadir_is_not_pulled(client: Path, tmp_path: Path) -> None:
    """Who has it migrates it first."""
    old = tmp_path / "old" / "_mmmeta"
    old.mkdir(parents=True)
    with closing(sqlite3.connect(old / "meta.db")) as connection:
        connection.execute("CREATE TABLE files (id INTEGER PRIMARY KEY, content_hash TEXT)")
    with pytest.raises(SyncError, match=r"was written by mmmeta 0\.1-0\.4: `mmmeta migrate` at the server"):
        pull(client, str(tmp_path / "old"))
    assert not (client / "_mmmeta" / "meta.db").exists()
    with closing(sqlite3.connect(old / "meta.db")) as connection, connection:
        connection.execute("DROP TABLE files")
    (old / "meta.db").write_bytes(b"SQLite format 3\0 and no more")
    with pytest.raises(SyncError, match=r"its meta\.db is not whole, or was copied while it was written; pull again"):
        pull(client, str(tmp_path / "old"))
    assert list((client / "_mmmeta").rglob("meta.db")) == []


def test_a_store_of_more_than_anybody_has_is_not_read(
    server: Path, client: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too much is left out, and said."""
    monkeypatch.setattr("mmmeta.sync.pulling.MOST_BYTES", 2_000)
    (server / "_mmmeta/_store/aa").write_text("x" * 1_500)
    (server / "_mmmeta/_store/ab").write_text("x" * 1_500)
    notes = pull(client, str(server)).notes
    assert [note.partition(":")[0].rpartition("/")[2] for note in notes] == ["ab"]
    assert sorted(os.listdir(client / "_mmmeta/_store"))[0] == "aa"


@pytest.mark.parametrize("remote", ["nothing", "memory://synced/nothing"])
def test_where_no_metadir_is_it_is_said(remote: str, client: Path, tmp_path: Path) -> None:
    """And nothing is made."""
    place = str(tmp_path / remote) if "://" not in remote else remote
    with pytest.raises(SyncError, match=r"there is no metadir, neither _mmmeta/head\.json nor _mmmeta/meta\.db"):
        pull(client, place)


def test_the_store_comes_with_keys_of_the_servers_own(server: Path, client: Path, memory: str, site: Site) -> None:
    """Where they can be listed; a web server tells no names."""
    with mmmeta(server) as m:
        m.store["who"] = "me"
        m.store["local_secret"] = 1
    push(server, memory)
    pull(client, memory)
    with Metadir(client) as m:
        assert m.store["who"] == "me"
        assert m.store["local_secret"] is None
        m.store["mine"] = 2
    pull(client, memory)
    with Metadir(client) as m:
        assert m.store["mine"] == 2


def test_a_place_in_memory_holds_what_a_server_has(server: Path, memory: str) -> None:
    """But for local/ and meta.db."""
    push(server, memory)
    store = fsspec.filesystem("memory")
    found = {path.removeprefix("/synced/archive/_mmmeta/"): store.cat(path) for path in store.find("/synced")}
    assert found == synced(server)


def test_a_dry_run_counts_and_writes_nothing(server: Path, client: Path, memory: str) -> None:
    """Neither here nor there."""
    report = pull(client, str(server), dry_run=True)
    assert (report.revision, report.is_new, report.files, report.dry_run) == (3, True, 3, True)
    assert not client.exists()
    assert push(server, memory, dry_run=True).files == 3
    assert not fsspec.filesystem("memory").exists("/synced")
