"""Putting a copy back where the state db cannot be read, but is not damaged: it is no reason to throw it away."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from archives import Archive

from mmmeta.errors import StateDbError
from mmmeta.state.backup import BEFORE, back_up, restore
from mmmeta.state.database import StateDatabase


@pytest.mark.parametrize("why", ["disk I/O error", "unable to open database file", "database or disk is full"])
def test_a_state_db_that_cannot_be_read_now_stays(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """A full disk, a limit, permissions: it was moved away, and the next try would have written over it there."""
    archive.write("a")
    archive.publish()
    archive.client.update()
    layout = archive.client.layout
    back_up(layout.state, tmp_path / "copy.db")
    archive.client.close()
    before = layout.state.read_bytes()

    def damage(database: StateDatabase) -> str | None:
        return why if database.path == layout.state else None

    with monkeypatch.context() as patched:
        patched.setattr(StateDatabase, "why_damaged", damage)
        with pytest.raises(StateDbError, match="Nothing was changed"):
            restore(tmp_path / "copy.db", layout)
    assert layout.state.read_bytes() == before
    assert not layout.state.with_name(layout.state.name + BEFORE).exists()


def test_a_damaged_one_stays_until_the_copy_is_whole(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong with the copy."""
    archive.write("a")
    archive.publish()
    archive.client.update()
    layout = archive.client.layout
    back_up(layout.state, tmp_path / "copy.db")
    archive.client.close()
    layout.state.write_bytes(b"damaged" * 1000)

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("mmmeta.state.backup.os.fsync", fails)
        with pytest.raises(StateDbError, match="No space left"):
            restore(tmp_path / "copy.db", layout)
    assert layout.state.read_bytes() == b"damaged" * 1000
    assert restore(tmp_path / "copy.db", layout).revision == 1
    assert layout.state.with_name(layout.state.name + BEFORE).read_bytes() == b"damaged" * 1000
    with sqlite3.connect(layout.state) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert archive.client.update().revision == 1


def test_what_killed_copies_leave_does_not_become_more(archive: Archive, tmp_path: Path) -> None:
    """Each takes over what the last one left, and plays no journal of it into its own."""
    archive.write("a")
    archive.publish()
    archive.client.update()
    (tmp_path / ".copy.db.tmp").write_bytes(b"half a copy" * 1000)
    (tmp_path / ".copy.db.tmp-journal").write_bytes(b"its journal" * 100)
    back_up(archive.client.layout.state, tmp_path / "copy.db")
    assert [path.name for path in tmp_path.glob("*copy*")] == ["copy.db"]
    with sqlite3.connect(tmp_path / "copy.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
