"""``update``: the metadata db merged into the state db, and nothing of the client's touched."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from archives import Archive, copy_metadir

from mmmeta import Metadir
from mmmeta.errors import (
    DigestMismatchError,
    MassDeletionError,
    MetadataDbError,
    MetadirNotFoundError,
    MmmetaError,
    StaleMetadataError,
)


@pytest.fixture(autouse=True)
def by_meta_db(request: pytest.FixtureRequest) -> None:
    """These are about meta.db: no change log stands in for it."""
    if "archive" in request.fixturenames:
        request.getfixturevalue("archive").log = False


def set_local(archive: Archive, name: str, **values: object) -> None:
    """Set and save fields of a file at the client."""
    found = archive.client.files.get(name)
    assert found is not None
    found.update(values)
    found.save()


def test_only_changes_are_merged(archive: Archive) -> None:
    """Everything at first, then what is above the last revision, then nothing."""
    archive.write("a", n=1)
    archive.write("b", n=1)
    report = archive.deliver()
    assert (report.how, report.added, report.revision_before, report.revision) == ("everything", 2, None, 1)
    archive.write("b", n=2)
    archive.write("c", n=1)
    report = archive.deliver()
    assert (report.how, report.added, report.changed, report.unchanged) == ("changes", 1, 1, 1)
    report = archive.client.update()
    assert (report.how, report.unchanged) == ("nothing new", 3)


def test_new_files_come_in_the_order_they_were_published(archive: Archive) -> None:
    """Also within one update that is not the first."""
    archive.write("m")
    archive.deliver()
    for name in ("z", "b", "y", "a"):
        archive.server.files.insert(content_hash=name)
    archive.sync()
    archive.client.update()
    assert [file.unique_value for file in archive.client.files] == ["m", "z", "b", "y", "a"]


def test_local_state_survives_what_the_remote_does(archive: Archive) -> None:
    """Removed keys, changed types, soft deletion and return, a new metadata db, a rebuilt remote part."""
    archive.write("a", n=1, gone="x")
    archive.deliver()
    set_local(archive, "a", imported=True, n="mine")
    expected = {"imported": True, "n": "mine"}
    for step in (
        lambda: archive.write("a", n=[1]),
        lambda: archive.server.files.delete(content_hash="a"),
        lambda: archive.write("a", n=2, imported="remote"),
        lambda: archive.server.generate(replace=True),
    ):
        step()
        archive.deliver()
        archive.client.update(replace=True)
        found = archive.client.files.get("a")
        assert found is not None
        assert dict(found.local) == expected
    assert (found["n"], found.meta["n"], found["imported"], found.meta["imported"]) == ("mine", 2, True, "remote")
    assert archive.client.inspect().shadowed == ("imported", "n")


def test_a_file_that_vanished_stays_as_deleted_with_its_local_state(archive: Archive) -> None:
    """And is alive again when it returns."""
    archive.write("a")
    archive.write("b")
    archive.deliver()
    set_local(archive, "b", imported=True)
    archive.remove("b")
    archive.publish(replace=True)
    report = archive.client.update()
    assert (report.how, report.deleted) == ("repair", 1)
    found = archive.client.files.get("b")
    assert found is not None
    assert (found.deleted, found["imported"]) == (True, True)
    archive.write("b")
    assert archive.deliver().returned == 1
    assert archive.client_files()["b"]["imported"] is True


def test_a_stale_copy_is_refused_and_can_be_accepted(archive: Archive) -> None:
    """Also when the remote part is to be rebuilt."""
    archive.write("a", n=1)
    archive.publish()
    shutil.copy(archive.server.layout.meta_db, archive.root / "old.db")
    archive.write("a", n=2)
    archive.deliver()
    shutil.copy(archive.root / "old.db", archive.client.layout.meta_db)
    for replace in (False, True):
        with pytest.raises(StaleMetadataError, match="revision 1, merged already 2"):
            archive.client.update(replace=replace)
    assert archive.client_files()["a"]["n"] == 2
    report = archive.client.update(accept_older=True)
    assert (report.how, report.revision_before, report.revision) == ("repair", 2, 1)
    assert archive.client_files()["a"]["n"] == 1


def test_two_servers_that_diverged_are_repaired(archive: Archive, tmp_path: Path) -> None:
    """Same id, other history: the client ends up with exactly what the one it follows has."""
    archive.write("a", n=1)
    archive.write("b", n=1)
    archive.publish()
    twin_path = tmp_path / "twin"
    shutil.copytree(archive.server_path, twin_path)
    archive.client.update()
    archive.write("a", n="first")
    archive.server.files.insert(content_hash="only here")
    archive.deliver()
    with Metadir(twin_path) as twin:
        (twin_path / "b.json").write_text('{"content_hash": "b", "n": "second"}')
        twin.generate()
        twin.files.insert(content_hash="only there")
        twin.files.insert(content_hash="only there too")
        copy_metadir(twin_path, archive.client_path)
        report = archive.client.update()
        assert report.how == "repair"
        assert report.notes
        assert archive.client_files() == {file.unique_value: dict(file) for file in twin.files}


def test_a_restored_backup_that_went_on_is_repaired(archive: Archive) -> None:
    """The revision is the same or higher, the history is not."""
    archive.write("a", n=1)
    archive.publish()
    backup = archive.server.layout.meta_db.read_bytes()
    archive.write("a", n=2)
    archive.deliver()
    archive.server.close()
    archive.server.layout.meta_db.write_bytes(backup)
    archive.write("a", n=3)
    archive.write("c")
    assert archive.deliver().how == "repair"
    assert {name: file.get("n") for name, file in archive.client_files().items()} == {"a": 3, "c": None}


def test_a_restored_backup_does_not_make_generate_blind(archive: Archive) -> None:
    """scan.db knows more than the metadata db then, and is thrown away."""
    archive.write("a", n=1)
    archive.publish()
    backup = archive.server.layout.meta_db.read_bytes()
    archive.write("a", n=2)
    archive.server.generate()
    archive.server.close()
    archive.server.layout.meta_db.write_bytes(backup)
    assert archive.server.generate().changed == 1


def test_a_repair_after_changes_that_bring_new_keys(archive: Archive) -> None:
    """The columns that were made for the new keys are taken back with the rest, and made again."""
    archive.write("a", title="A")
    archive.write("b", title="B")
    archive.deliver()
    set_local(archive, "a", mine=1)
    archive.client.close()
    connection = sqlite3.connect(archive.client.layout.state)
    with connection:  # a row that is not what the digest says shows when it changes
        connection.execute("UPDATE files SET __fingerprint = zeroblob(16) WHERE content_hash = 'b'")
    connection.close()
    archive.write("b", title="B", added=[1], **{"another:key": True})
    report = archive.deliver()
    assert report.how == "repair"
    files = archive.client_files()
    assert files["b"] == {"content_hash": "b", "title": "B", "added": [1], "another:key": True}
    assert files["a"]["mine"] == 1
    archive.write("c", added="text", third=1)
    assert archive.deliver().how == "changes"
    assert archive.client_files()["c"] == {"content_hash": "c", "added": "text", "third": 1}


def test_a_damaged_copy_is_refused_and_the_state_is_not_blamed(archive: Archive) -> None:
    """Pages of files overwritten, the head intact: the error names meta.db, and the state stays as it was."""
    for number in range(300):
        archive.write(f"f{number}", text="x" * 200)
    archive.publish()
    archive.client.update()
    for number in range(300):
        archive.write(f"f{number}", text="y" * 200)
    archive.publish()
    copy = archive.client.layout.meta_db
    data = bytearray(copy.read_bytes())
    third = len(data) // 3 // 4096 * 4096
    data[third : third + 4096 * 8] = b"\xa5" * (4096 * 8)
    copy.write_bytes(data)
    with pytest.raises(MmmetaError) as caught:
        archive.client.update()
    assert isinstance(caught.value, (MetadataDbError, DigestMismatchError))
    assert "meta.db" in str(caught.value)
    assert {file["text"] for file in archive.client_files().values()} == {"x" * 200}
    archive.sync()
    assert archive.client.update().changed == 300


@pytest.mark.parametrize("verb", ["update", "files", "is_outdated", "inspect", "save"])
def test_a_state_db_that_was_killed_while_it_was_made_is_made_again(archive: Archive, verb: str) -> None:
    """Its journal is rolled back by whoever comes first, a verb that only reads included."""
    archive.write("a")
    archive.publish()
    state = archive.client.layout.state
    journal = state.with_name("state.db-journal")
    state.parent.mkdir(exist_ok=True)
    connection = sqlite3.connect(state, isolation_level=None)
    connection.execute("PRAGMA cache_size=1")
    connection.execute("BEGIN")
    connection.execute("CREATE TABLE half (x)")
    connection.executemany("INSERT INTO half VALUES (?)", [("x" * 1_000,)] * 200)
    killed = state.read_bytes(), journal.read_bytes()
    assert all(killed)
    connection.execute("ROLLBACK")
    connection.close()
    state.write_bytes(killed[0])
    journal.write_bytes(killed[1])
    if verb == "files":
        assert len(list(archive.client.files)) == 1
    elif verb == "is_outdated":
        assert archive.client.is_outdated
    elif verb == "inspect":
        assert archive.client.inspect().problems == ()
    elif verb == "save":
        set_local(archive, "a", mine=1)
    assert archive.client.update().revision == 1
    assert not journal.exists()
    assert archive.client.check().problems == 0


def test_an_update_dry_run_writes_nothing(archive: Archive) -> None:
    """At the first update and at a later one."""
    archive.write("a")
    archive.publish()
    assert archive.client.update(dry_run=True).added == 1
    assert not archive.client.layout.local.exists()
    archive.client.update()
    archive.write("b")
    archive.publish()
    assert archive.client.update(dry_run=True).added == 1
    assert set(archive.client_files()) == {"a"}
    assert archive.client.update().added == 1


def test_without_a_metadir_there_is_one_clear_error(tmp_path: Path) -> None:
    """And nothing is created."""
    with Metadir(tmp_path / "nowhere") as client, pytest.raises(MetadirNotFoundError, match="sync the metadir first"):
        client.update()
    assert list(tmp_path.iterdir()) == []


def test_save_before_the_first_update_merges_first(archive: Archive) -> None:
    """The manual's first example needs no other call."""
    archive.write("a")
    archive.publish()
    found = next(iter(archive.client.files))
    found["imported"] = True
    found.save()
    assert archive.client_files() == {"a": {"content_hash": "a", "imported": True}}


def test_a_save_after_an_update_that_was_killed_says_what_is_merged(archive: Archive) -> None:
    """In status.json and in the store, as an update would have; the first save of a process looks."""
    archive.write("a")
    archive.deliver()
    store, layout = archive.client.store, archive.client.layout
    updated = store["local_last_updated"]
    layout.status.unlink()
    del store["local_revision"]
    del store["local_last_updated"]
    archive.client.close()
    with Metadir(archive.client_path) as client:
        for value in (1, 2):
            file = client.files.get("a")
            assert file is not None
            file["mine"] = value
            file.save()
    assert layout.status.exists()
    assert (store["local_revision"], store["local_last_updated"]) == (1, updated)


def test_a_save_writes_only_what_was_set(archive: Archive) -> None:
    """Two stale objects of one file do not undo each other."""
    archive.write("a")
    archive.deliver()
    one, two = archive.client.files.get("a"), archive.client.files.get("a")
    assert one is not None
    assert two is not None
    one["x"] = 1
    one.save()
    two["y"] = True
    two.save()
    assert archive.client_files()["a"] == {"content_hash": "a", "x": 1, "y": True}


def test_the_tables_of_a_state_db_pass_sqlites_own_check(archive: Archive) -> None:
    """After additions, changes, translation and local columns."""
    archive.write("a", n=1)
    archive.deliver()
    set_local(archive, "a", x=[1])
    archive.write("a", n="x", m={"k": 2**80})
    archive.server.generate(replace=True)
    archive.deliver()
    archive.close()
    for path in (archive.client.layout.state, archive.server.layout.meta_db):
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()


def test_another_archives_copy_in_this_place_deletes_nothing(archive: Archive) -> None:
    """However small both are: it has none of the files that were merged, and files of its own."""
    for name in ("a", "b", "c"):
        archive.write(name)
    archive.deliver()
    archive.server.close()
    shutil.rmtree(archive.server_path)
    archive.server_path.mkdir()
    archive.write("other")
    archive.publish()
    for _ in range(2):
        with pytest.raises(MassDeletionError, match=r"3 of 3 files would be deleted; .*--allow-mass-delete"):
            archive.client.update()
    assert set(archive.client_files()) == {"a", "b", "c"}
    report = archive.client.update(allow_mass_delete=True)
    assert (report.added, report.deleted) == (1, 3)
