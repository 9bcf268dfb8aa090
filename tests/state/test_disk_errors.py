"""What SQLite says after a disk gave an error, and what a person is told of it; each was found by ``make test-faults``."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import Archive

from mmmeta.errors import MetadataDbError, StateDbError
from mmmeta.layout import Layout
from mmmeta.metadata.database import MetadataDatabase
from mmmeta.sqlite.damage import why_not_whole
from mmmeta.sqlite.remedies import may_use
from mmmeta.state.database import StateDatabase


@pytest.fixture
def database(archive: Archive) -> Iterator[StateDatabase]:
    """That of a client which has merged a file."""
    archive.write("a")
    archive.deliver()
    made = StateDatabase(archive.client.layout.state)
    yield made
    made.close()


@pytest.mark.parametrize("writing", [False, True])
def test_what_sqlite_took_for_damage_is_looked_at_again(database: StateDatabase, writing: bool) -> None:
    """Nobody is to move a sound file away because a page could not be read once."""
    with (
        pytest.raises(StateDbError, match="is sound now") as caught,
        database.atomic() if writing else database.reading(),
    ):
        raise sqlite3.DatabaseError("database disk image is malformed")
    assert "move it away" not in str(caught.value)
    assert "try again" in str(caught.value)


def test_a_file_that_has_only_begun_is_not_damaged(tmp_path: Path) -> None:
    """There is nothing in it yet, whatever SQLite says of what it could not read."""
    layout = Layout.at(tmp_path)
    layout.meta_db.parent.mkdir()
    layout.meta_db.touch()
    database = MetadataDatabase(layout.meta_db, server_mark=tmp_path)
    with pytest.raises(MetadataDbError, match="try again") as caught, database.atomic():
        raise sqlite3.DatabaseError("database disk image is malformed")
    database.close()
    assert not re.search("damaged|restore|move it away", str(caught.value))


def test_what_the_disk_does_not_give_at_the_second_look_either_is_not_damaged(
    database: StateDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "why_damaged", lambda: f"{database.path} cannot be opened: {os.strerror(errno.EIO)}")
    with pytest.raises(StateDbError, match="cannot be read") as caught, database.atomic():
        raise sqlite3.DatabaseError("database disk image is malformed")
    assert not re.search("damaged|restore|move it away", str(caught.value))


def test_damage_that_is_seen_once_is_none(database: StateDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first page that was not read is forgotten with its connection."""
    found = iter(["database disk image is malformed"])
    monkeypatch.setattr("mmmeta.sqlite.database.why_not_whole", lambda connection: next(found, None))
    assert database.why_damaged() is None


@pytest.mark.parametrize(("code", "damage"), [(266, False), (522, False), (11, True)])
def test_a_page_that_the_disk_did_not_give_is_no_damage(code: int, damage: bool) -> None:
    """What the check says of it has SQLite's number for the reason."""

    class Checking(sqlite3.Connection):
        def execute(self, *_: object) -> sqlite3.Cursor:
            return super().execute("SELECT ?", (f"Tree 3 page 9: unable to get the page. error code={code}",))

    connection = sqlite3.connect(":memory:", factory=Checking)
    try:
        if damage:
            assert "unable to get the page" in str(why_not_whole(connection))
        else:
            with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
                why_not_whole(connection)
    finally:
        connection.close()


def test_a_connection_that_fell_back_to_reading_is_opened_anew(database: StateDatabase) -> None:
    """SQLite stays with reading where it could once not open its files to write."""
    with database.atomic() as first:
        pass
    with pytest.raises(StateDbError, match="could not be opened for writing"), database.atomic():
        raise sqlite3.OperationalError("attempt to write a readonly database")
    with database.atomic() as second:
        assert second is not first
        second.execute("UPDATE info SET value = value WHERE name = 'revision'")


def test_a_connection_that_met_an_error_reads_no_more(database: StateDatabase) -> None:
    """What SQLite remembers of an error may last."""
    with database.reading() as first:
        pass
    with database.reading() as again:
        assert again is first
    with pytest.raises(StateDbError, match="disk I/O"), database.reading():
        raise sqlite3.OperationalError("disk I/O error")
    with database.reading() as second:
        assert second is not first


def test_a_file_that_is_not_there_yet_may_be_made(tmp_path: Path) -> None:
    """What is missing has no permissions; it is the folder's that count."""
    assert may_use(tmp_path / "state.db", write=True)
    assert not may_use(tmp_path / "state.db", write=False)
    assert not may_use(tmp_path / "nowhere" / "state.db", write=True)
