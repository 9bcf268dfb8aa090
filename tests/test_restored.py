"""A meta.db that was restored, made anew, or replaced in place: announced, noticed, and no licence to delete."""

from __future__ import annotations

import shutil
from pathlib import Path

from archives import Archive


def test_a_restored_metadata_db_that_comes_to_the_same_revision_is_announced(archive: Archive, tmp_path: Path) -> None:
    """The number alone does not tell that the store speaks of something else; the mark still only grows."""
    archive.write("a")
    archive.publish()
    backup = tmp_path / "backup.db"
    shutil.copy(archive.server.layout.meta_db, backup)
    archive.write("b")
    archive.deliver()
    store = archive.client.store
    before = store["remote_last_updated"]
    archive.server.close()
    shutil.copy(backup, archive.server.layout.meta_db)
    archive.remove("b")
    archive.write("c")
    assert archive.publish().revision == archive.client.status().revision == 2
    assert store["remote_last_updated"] > max(before, store["local_last_updated"])
    archive.client.update()
    assert store["remote_last_updated"] == store["local_last_updated"]
    # And what is announced is left alone.
    announced = store["remote_last_updated"]
    archive.publish()
    assert store["remote_last_updated"] == announced


def test_a_metadata_db_made_anew_is_announced(archive: Archive) -> None:
    """Removed and generated again it begins at revision 1, where the store may be as well."""
    archive.write("a")
    archive.deliver()
    archive.server.close()
    archive.server.layout.meta_db.unlink()
    archive.write("b")
    archive.publish()
    assert archive.client.store["remote_last_updated"] > archive.client.store["local_last_updated"]


def test_an_announcement_that_was_not_written_down_is_made_again(archive: Archive) -> None:
    """A process killed before it, or an older version: one announcement too many loses nothing."""
    archive.write("a")
    archive.publish()
    before = archive.server.store["remote_last_updated"]
    archive.server.layout.announced.unlink()
    archive.server.generate()
    after = archive.server.store["remote_last_updated"]
    assert after > before
    archive.server.generate()
    assert archive.server.store["remote_last_updated"] == after
