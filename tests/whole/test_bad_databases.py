"""Databases, paths and first writes that are not what they should be: one clear error, and nothing written."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import Archive, everything

from mmmeta import Metadir
from mmmeta.errors import (
    DigestMismatchError,
    FormatError,
    HotJournalError,
    LegacyMetadirError,
    MetadataDbError,
    MmmetaError,
    StoreKeyError,
)


@pytest.fixture(autouse=True)
def by_meta_db(request: pytest.FixtureRequest) -> None:
    """These are about meta.db: no change log stands in for it."""
    if "archive" in request.fixturenames:
        request.getfixturevalue("archive").log = False


# The metadata db


def publish_two(archive: Archive) -> None:
    """Two publishes, the first merged, the second synced."""
    for number in range(40):
        archive.write(f"f{number}", text="x" * 500, n=0)
    archive.deliver()
    for number in range(40):
        archive.write(f"f{number}", text="y" * 500, n=1)
    archive.publish()


def torn(archive: Archive) -> bytes:
    """Every second page of the new metadata db, the others of the old."""
    publish_two(archive)
    new = archive.server.layout.meta_db.read_bytes()
    archive.write("f1", text="z" * 500, n=2)
    archive.server.generate()
    newer = archive.server.layout.meta_db.read_bytes()
    pages = range(0, len(newer), 4096)
    return b"".join((newer if page // 4096 % 2 == 0 else new)[page : page + 4096] for page in pages)


def with_format(archive: Archive, version: object) -> bytes:
    """The server's metadata db with another format number."""
    copy = archive.root / "format.db"
    shutil.copy(archive.server.layout.meta_db, copy)
    connection = sqlite3.connect(copy)
    connection.execute("UPDATE info SET value = ? WHERE name = 'format'", (version,))
    connection.commit()
    connection.close()
    return copy.read_bytes()


def foreign(archive: Archive, *tables: str) -> bytes:
    """An SQLite file with these tables."""
    path = archive.root / "foreign.db"
    connection = sqlite3.connect(path)
    for table in tables:
        connection.execute(f"CREATE TABLE {table} (x)")
    connection.commit()
    connection.close()
    return path.read_bytes()


CASES: dict[str, tuple[Callable[[Archive], bytes], type[MmmetaError], str]] = {
    "not SQLite": (lambda archive: b"<html>404 Not Found</html>" * 90, MetadataDbError, "is not an SQLite database"),
    "short text": (lambda archive: b"oops", MetadataDbError, "is not an SQLite database"),
    "empty": (lambda archive: b"", MetadataDbError, "is empty"),
    "header only": (lambda archive: archive.server.layout.meta_db.read_bytes()[:70], MetadataDbError, "is cut short"),
    "truncated": (lambda archive: archive.server.layout.meta_db.read_bytes()[:-5_000], MetadataDbError, "is cut short"),
    "truncated in a page": (
        lambda archive: archive.server.layout.meta_db.read_bytes()[:-1],
        MetadataDbError,
        "is cut short",
    ),
    "newer format": (lambda archive: with_format(archive, 2), FormatError, "upgrade mmmeta"),
    "no format": (lambda archive: with_format(archive, "x"), FormatError, "upgrade mmmeta"),
    "no tables": (lambda archive: foreign(archive, "x") and foreign_empty(archive), MetadataDbError, "has no tables"),
    "foreign": (lambda archive: foreign(archive, "users"), LegacyMetadirError, "another program"),
    "legacy": (lambda archive: foreign(archive, "files", "meta"), LegacyMetadirError, "0.1-0.4"),
    "foreign info": (lambda archive: foreign(archive, "info"), MetadataDbError, "table info is not one"),
    "a state db": (lambda archive: state_db(archive), FormatError, "not a metadata db"),
}


def foreign_empty(archive: Archive) -> bytes:
    """A valid SQLite file without any table."""
    path = archive.root / "blank.db"
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE x (y); DROP TABLE x;")
    connection.close()
    return path.read_bytes()


def state_db(archive: Archive) -> bytes:
    """A state db where the metadata db should be."""
    archive.client.close()
    return archive.client.layout.state.read_bytes()


@pytest.mark.parametrize("first", [True, False], ids=["first update", "later update"])
@pytest.mark.parametrize("case", CASES)
def test_a_bad_metadata_db_is_one_clear_error(archive: Archive, case: str, first: bool) -> None:
    """Reading and updating say the same; nothing is written, the state stays, a good sync mends it."""
    publish_two(archive)
    make, kind, message = CASES[case]
    bad = make(archive)
    metadir = archive.client.layout.metadir
    if first:
        archive.client.close()
        shutil.rmtree(archive.client.layout.local)
    archive.client.layout.meta_db.write_bytes(bad)
    before = everything(metadir)
    with Metadir(archive.client_path) as client:
        with pytest.raises(kind, match=message) as caught:
            client.update()
        assert "\n" not in str(caught.value)
        assert str(client.layout.meta_db) in str(caught.value)
        assert client.inspect().problems
        if first:
            with pytest.raises(kind, match=message):
                list(client.files)
            assert everything(metadir) == before
        else:
            assert {file["n"] for file in archive.client_files().values()} == {0}
        assert client.layout.meta_db.read_bytes() == bad
        archive.sync()
        client.update()
        assert {file["n"] for file in archive.client_files().values()} == {1}


@pytest.mark.parametrize("case", [case for case in CASES if case not in ("empty", "no tables")])
def test_generate_leaves_a_bad_metadata_db_alone(archive: Archive, case: str) -> None:
    """It may be all that is left of something."""
    publish_two(archive)
    make, kind, message = CASES[case]
    bad = make(archive)
    archive.server.close()
    archive.server.layout.meta_db.write_bytes(bad)
    for verb in (archive.server.generate, lambda: archive.server.files.insert(content_hash="x")):
        with pytest.raises(kind, match=message):
            verb()
        archive.server.close()
        assert archive.server.layout.meta_db.read_bytes() == bad


def test_a_torn_copy_is_refused_and_the_state_stays(archive: Archive) -> None:
    """Half old pages, half new ones."""
    archive.client_path.mkdir(exist_ok=True)
    bad = torn(archive)
    archive.client.layout.meta_db.write_bytes(bad)
    before = archive.client_files()
    with pytest.raises((DigestMismatchError, MetadataDbError), match=r"meta\.db"):
        archive.client.update()
    assert archive.client_files() == before
    archive.sync()
    archive.client.update()
    assert archive.client_files()["f1"]["n"] == 2


def kill_in_the_middle_of_a_write(archive: Archive) -> None:
    """Leave a hot journal at the server: a writer whose pages have reached the file dies before it commits."""
    code = textwrap.dedent(
        """
        import sys, time
        from mmmeta import Metadir
        server = Metadir(sys.argv[1])
        with server._backend.server.database.atomic() as connection:
            connection.execute("PRAGMA cache_size=1")
            connection.execute("UPDATE files SET __source = 'half written', n = n + 1")
            connection.execute("CREATE TABLE more AS SELECT * FROM files")
            print("now", flush=True)
            time.sleep(60)
        """
    )
    with subprocess.Popen([sys.executable, "-c", code, str(archive.server_path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"now\n"
        writer.send_signal(signal.SIGKILL)
    journal = archive.server.layout.metadir / "meta.db-journal"
    assert journal.stat().st_size > 0


def test_a_synced_hot_journal_is_named_and_touched_by_nobody(archive: Archive) -> None:
    """A client cannot roll it back; the state stays."""
    publish_two(archive)
    kill_in_the_middle_of_a_write(archive)
    archive.sync()
    before = everything(archive.client.layout.metadir)
    with pytest.raises(HotJournalError, match="sync the metadir again"):
        archive.client.update()
    after = everything(archive.client.layout.metadir)
    assert {name: after[name] for name in ("meta.db", "meta.db-journal")} == {
        name: before[name] for name in ("meta.db", "meta.db-journal")
    }
    assert {file["n"] for file in archive.client_files().values()} == {0}


@pytest.mark.parametrize("verb", ["generate", "insert", "read", "update"])
def test_a_server_recovers_its_own_hot_journal(archive: Archive, verb: str) -> None:
    """Whatever is called next goes on from the last commit."""
    publish_two(archive)
    kill_in_the_middle_of_a_write(archive)
    if verb == "generate":
        assert archive.server.generate().unchanged == 40
    elif verb == "insert":
        archive.server.files.insert(content_hash="x")
    elif verb == "update":
        assert archive.server.update().added == 40
    files = [file for file in archive.server.files if file.unique_value != "x"]
    assert {(file["n"], file.source) for file in files} == {(1, f"f{number}.json") for number in range(40)}
    archive.publish()
    archive.client.update()
    assert len(archive.client.files) == 40 + (verb == "insert")


def test_a_metadir_of_an_old_mmmeta_is_refused_untouched(tmp_path: Path) -> None:
    """By every verb."""
    metadir = tmp_path / "_mmmeta"
    (metadir / "db").mkdir(parents=True)
    (metadir / "db" / "x.csv").write_text("content_hash\nx\n")
    (metadir / "state.db").write_bytes(b"")
    before = everything(tmp_path)
    with Metadir(tmp_path) as old:
        for verb in (old.generate, old.update, lambda: old.files.insert(content_hash="x"), lambda: list(old.files)):
            with pytest.raises(LegacyMetadirError, match="untouched"):
                verb()
    assert everything(tmp_path) == before


def test_a_state_db_of_another_program_is_left_alone(archive: Archive) -> None:
    """The error names it and the way out."""
    archive.write("a")
    archive.publish()
    state = archive.root / "users.db"
    connection = sqlite3.connect(state)
    connection.execute("CREATE TABLE users (name)")
    connection.commit()
    connection.close()
    with Metadir(archive.client_path, state=state) as client, pytest.raises(MmmetaError, match="MMMETA_STATE"):
        client.update()
    state.write_bytes(b"not a database, in more bytes than one page has" * 100)
    with Metadir(archive.client_path, state=state) as client, pytest.raises(MmmetaError, match=r"users\.db"):
        client.update()


def test_a_refused_first_write_leaves_nothing_behind(archive: Archive) -> None:
    """A mistyped path or a bad row makes no server; a write that is not refused does."""
    for verb in (lambda: archive.server.files.insert(title="no unique"), archive.client.update):
        with pytest.raises(MmmetaError):
            verb()
    assert everything(archive.root) == {}
    assert not archive.server.layout.metadir.exists()
    archive.server.files.insert(content_hash="x")
    assert archive.server.is_server
    with pytest.raises(MmmetaError):
        archive.server.files.insert(title="no unique")
    assert [file.unique_value for file in archive.server.files] == ["x"]


def test_a_first_write_beside_one_that_is_refused_is_kept(archive: Archive) -> None:
    """Several processes at once, on a metadir that is not there yet: what is taken away was nobody's."""
    code = "import sys; from mmmeta import Metadir; Metadir(sys.argv[1]).files.insert({sys.argv[2]: sys.argv[3]})"
    for number in range(3):
        path = archive.server_path / str(number)
        writers = [
            subprocess.Popen([sys.executable, "-c", code, str(path), key, value], stderr=subprocess.PIPE, text=True)
            for key, value in [("x", "1"), ("content_hash", "a"), ("y", "1"), ("content_hash", "b")]
        ]
        ends = [(writer.communicate()[1], writer.returncode) for writer in writers]
        expected = {value for value, (_, code) in zip("?a?b", ends, strict=True) if code == 0}
        if expected:  # on a busy machine both may be told to try again
            with Metadir(path) as server:
                assert {file.unique_value for file in server.files} == expected
        for error, code_of in ends:
            assert code_of == 0 or "UniqueValueError" in error or "try again" in error, error


def test_a_server_whose_first_write_was_killed_is_told_to_write_again(archive: Archive) -> None:
    """Before or after it was marked as a server; and the next write goes on."""
    archive.write("a")
    for marked in (False, True):
        archive.server.layout.local.mkdir(parents=True, exist_ok=True)
        archive.server.layout.meta_db.write_bytes(b"")
        if marked:
            archive.server.layout.server_mark.write_text("metadata is written here\n")
        with pytest.raises(MetadataDbError, match="at the server run `mmmeta generate`") as raised:
            list(archive.server.files)
        assert "restore" not in str(raised.value)
    assert archive.server.generate().added == 1


def test_folders_where_databases_should_be_are_named(archive: Archive) -> None:
    """For both databases."""
    archive.write("a")
    archive.publish()
    with Metadir(archive.client_path, state=archive.root) as client, pytest.raises(MmmetaError, match="is a folder"):
        client.update()
    archive.client.layout.meta_db.unlink()
    archive.client.layout.meta_db.mkdir()
    with pytest.raises(MetadataDbError, match="is a folder"):
        archive.client.update()


@pytest.mark.parametrize("key", ["a/b", "..", "\0", "", "x" * 300, ".hidden", "\udcff"])
def test_store_keys_that_cannot_be_file_names_are_refused(archive: Archive, key: str) -> None:
    """Reading and writing; nothing is created."""
    for use in (lambda: archive.server.store[key], lambda: archive.server.touch(key)):
        with pytest.raises(StoreKeyError):
            use()
    assert not archive.server.layout.metadir.exists()


def test_paths_with_characters_that_urls_know_are_ordinary(tmp_path: Path) -> None:
    """SQLite takes its path as a URL."""
    archive = Archive(tmp_path / "a?b#c%41 ü&mode=rw")
    archive.write("a")
    assert archive.deliver().added == 1
    archive.close()
    name = os.fsdecode(b"\xff\xfe")
    archive = Archive(tmp_path / name)
    archive.write("a")
    assert archive.deliver().added == 1
    assert set(archive.client_files()) == {"a"}
    archive.close()


def test_a_writer_at_work_does_not_stop_readers_for_long(archive: Archive) -> None:
    """A reader waits for the commit, and then reads."""
    publish_two(archive)
    began = time.monotonic()
    with archive.server._backend.server.database.atomic() as connection, Metadir(archive.server_path) as reader:
        connection.execute("UPDATE files SET n = 5")
        assert {file["n"] for file in reader.files} == {1}
    assert time.monotonic() - began < 10
