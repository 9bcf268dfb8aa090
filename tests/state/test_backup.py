"""Copies of a state db: whole, also while others write; put back only where nobody works, and nothing is lost by it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from archives import Archive

from mmmeta.errors import MmmetaError, StateDbError
from mmmeta.state import backup
from mmmeta.state.backup import BEFORE, back_up, restore
from mmmeta.state.liveness import Worker


@pytest.fixture
def archive(archive: Archive) -> Archive:
    """With one file that has a mark of the client's."""
    archive.write("a")
    archive.deliver()
    mark(archive, 1)
    return archive


def mark(archive: Archive, value: int) -> None:
    file = archive.client.files.get("a")
    assert file is not None
    file["mark"] = value
    file.save()


def marked(archive: Archive) -> object:
    return archive.client_files()["a"]["mark"]


def test_a_copy_has_what_the_log_holds(archive: Archive, tmp_path: Path) -> None:
    """One file in no need of another, taken while the state db is open and being written."""
    copy = tmp_path / "copy.db"
    with archive.client._backend.state.database.atomic() as connection:
        connection.execute("UPDATE info SET value = 99 WHERE name = 'token_base'")  # not committed yet
        back_up(archive.client.layout.state, copy)
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db"]
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT value FROM info WHERE name = 'token_base'").fetchone() == (0,)
    mark(archive, 2)
    restore(copy, archive.client.layout)
    assert marked(archive) == 1
    before = archive.client.layout.state.with_name("state.db" + BEFORE)
    restore(before, archive.client.layout)
    assert marked(archive) == 2


def test_a_copy_replaces_only_an_older_copy(archive: Archive, tmp_path: Path) -> None:
    """Anything else of that name is left alone."""
    copy = tmp_path / "copy.db"
    back_up(archive.client.layout.state, copy)
    mark(archive, 2)
    back_up(archive.client.layout.state, copy)
    mark(archive, 3)
    restore(copy, archive.client.layout)
    assert marked(archive) == 2
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("mine")
    for target in (thesis, tmp_path, tmp_path / "nowhere" / "copy.db", archive.client.layout.state):
        with pytest.raises(StateDbError):
            back_up(archive.client.layout.state, target)
    assert thesis.read_text() == "mine"
    with pytest.raises(StateDbError, match="nothing to copy"):
        back_up(tmp_path / "none.db", copy)


def test_nothing_is_put_back_under_a_worker(archive: Archive, tmp_path: Path) -> None:
    """What it does would be forgotten."""
    copy = tmp_path / "copy.db"
    back_up(archive.client.layout.state, copy)
    mark(archive, 2)
    worker = Worker(archive.client.layout.workers)
    worker.start()
    with pytest.raises(StateDbError, match="1 worker is at work"):
        restore(copy, archive.client.layout)
    worker.stop()
    assert marked(archive) == 2
    restore(copy, archive.client.layout)
    assert marked(archive) == 1


def test_what_is_no_copy_is_refused(archive: Archive, tmp_path: Path) -> None:
    """Missing, another program's, a metadata db, damaged, the state db itself: nothing is changed."""
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE mine (id)")
        connection.commit()
    damaged = tmp_path / "damaged.db"
    back_up(archive.client.layout.state, damaged)
    content = bytearray(damaged.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    damaged.write_bytes(content)
    layout = archive.client.layout
    for source in (tmp_path / "none.db", other, archive.server.layout.meta_db, damaged, layout.state):
        with pytest.raises(MmmetaError):
            restore(source, layout)
    assert marked(archive) == 1
    assert not layout.state.with_name("state.db" + BEFORE).exists()


def test_a_damaged_state_db_is_what_it_is_for(archive: Archive, tmp_path: Path) -> None:
    """What cannot be read is moved aside."""
    copy = tmp_path / "copy.db"
    layout = archive.client.layout
    back_up(layout.state, copy)
    archive.client.close()
    layout.state.write_bytes(b"no database any more" * 1000)
    restore(copy, layout)
    assert marked(archive) == 1
    assert layout.state.with_name("state.db" + BEFORE).read_bytes().startswith(b"no database any more")


def test_a_copy_is_put_back_where_there_is_none(archive: Archive, tmp_path: Path) -> None:
    """As after `rsync --delete` has wiped the folder."""
    copy = tmp_path / "copy.db"
    layout = archive.client.layout
    back_up(layout.state, copy)
    archive.client.close()
    for path in layout.local.glob("state.db*"):
        path.unlink()
    restore(copy, layout)
    assert marked(archive) == 1


def test_what_cannot_be_written_is_named(archive: Archive, tmp_path: Path) -> None:
    """The copy's place, and not the state db, which is sound."""
    for target in (Path("/proc/copy.db"), Path("/dev/null/copy.db")):
        with pytest.raises(StateDbError) as caught:
            back_up(archive.client.layout.state, target)
        assert str(caught.value).startswith(str(target))
    text = tmp_path / "project.yaml"
    text.write_text("version: 1\n" * 100)
    with pytest.raises(StateDbError, match="is no SQLite database"):
        restore(text, archive.client.layout)


def test_progress_and_a_writer_beside_it(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy in steps is of one moment, and does not begin again when somebody writes."""
    monkeypatch.setattr(backup, "_PAGES", 1)
    told: list[tuple[str, int, int | None]] = []

    def progress(what: str, done: int, total: int | None) -> None:
        told.append((what, done, total))
        mark(archive, 100 + len(told))

    back_up(archive.client.layout.state, tmp_path / "copy.db", progress=progress)
    done = [one[1] for one in told]
    assert done == sorted(set(done))
    assert told[-1][1] == told[-1][2]
    restore(tmp_path / "copy.db", archive.client.layout)
    assert marked(archive) == 1
