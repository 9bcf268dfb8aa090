"""A meta.db that was restored, made anew, or replaced in place: announced, noticed, and no licence to delete."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from archives import Archive, copy_metadir

from mmmeta import Metadir
from mmmeta.errors import MassDeletionError


@pytest.fixture(autouse=True)
def by_meta_db(request: pytest.FixtureRequest) -> None:
    """These are about meta.db: no change log stands in for it."""
    if "archive" in request.fixturenames:
        request.getfixturevalue("archive").log = False


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


def _overwrite(source: Path, target: Path) -> None:
    """A copy in place, as ``cp`` and ``rsync --inplace`` make it: the file stays the same one."""
    before = target.stat().st_ino
    shutil.copy(source, target)
    assert target.stat().st_ino == before


def test_a_long_lived_client_sees_a_metadata_db_that_was_replaced_in_place(archive: Archive, tmp_path: Path) -> None:
    """Also one with the same revision and the same change counter in its header: nothing read before is believed."""
    archive.write("a")
    archive.publish()
    backup = tmp_path / "backup.db"
    shutil.copy(archive.server.layout.meta_db, backup)
    archive.write("b")
    archive.deliver()
    archive.server.close()
    shutil.copy(backup, archive.server.layout.meta_db)
    archive.remove("b")
    archive.write("c")
    archive.server.generate()
    theirs, ours = archive.server.layout.meta_db, archive.client.layout.meta_db
    assert theirs.read_bytes()[24:28] == ours.read_bytes()[24:28], "the fork has another change counter"
    assert not archive.client.is_outdated
    _overwrite(theirs, ours)
    assert archive.client.is_outdated
    report = archive.client.update()
    assert (report.how, report.added, report.deleted) == ("repair", 1, 1)
    assert archive.client_files().keys() == {"a", "c"}


def test_a_long_lived_server_writes_into_what_was_restored_in_place(archive: Archive, tmp_path: Path) -> None:
    """Its writing connection forgets what it knew of the file that was there."""
    archive.write("a")
    archive.server.generate()
    backup = tmp_path / "backup.db"
    shutil.copy(archive.server.layout.meta_db, backup)
    fork = tmp_path / "fork"
    shutil.copytree(archive.server_path, fork)
    archive.server.files.insert(content_hash="b")
    with Metadir(fork) as other:
        other.files.insert(content_hash="c")
    _overwrite(fork / "_mmmeta" / "meta.db", archive.server.layout.meta_db)
    archive.server.files.insert(content_hash="d")
    assert {file.unique_value for file in archive.server.files} == {"a", "c", "d"}
    assert archive.deliver().added == 3


def _gone_at_the_server(archive: Archive, names: list[str], **options: Any) -> None:
    for name in names:
        archive.remove(name)
    archive.server.generate(allow_mass_delete=True, **options)


def test_what_another_archive_was_told_once_lets_nobody_delete_this_ones_files(
    archive: Archive, tmp_path: Path
) -> None:
    """A metadir replaced by another one whose history has a told mass deletion is refused."""
    names = [f"f{number}" for number in range(30)]
    for name in names:
        archive.write(name)
    archive.deliver()
    other = Archive(tmp_path / "other")
    for number in range(50):
        other.write(f"g{number}")
    other.server.generate()
    _gone_at_the_server(other, [f"g{number}" for number in range(30)], ensure=True)
    copy_metadir(other.server_path, archive.client_path)
    other.close()
    with pytest.raises(MassDeletionError, match="30 of 30 files"):
        archive.client.update()
    assert len(archive.client_files()) == 30


def test_a_told_replacement_is_followed_also_when_it_was_replaced_again(archive: Archive) -> None:
    """The marks of what was replaced count for those who merged it, and for nobody who had merged them already."""
    names = [f"f{number}" for number in range(60)]
    for name in names:
        archive.write(name)
    archive.deliver()
    _gone_at_the_server(archive, names[:40], replace=True)
    archive.server.generate(replace=True)
    archive.sync()
    assert archive.client.update().deleted == 40
    # Told once is not told for ever: here the files are taken away in a copy of the metadata db.
    for name in names[:40]:
        archive.write(name)
    archive.deliver()
    _gone_at_the_server(archive, names[:40], ensure=True)
    with sqlite3.connect(archive.server.layout.meta_db) as connection:
        connection.execute("UPDATE revisions SET mass_delete = 0 WHERE rev = (SELECT max(rev) FROM revisions)")
    connection.close()
    archive.sync()
    with pytest.raises(MassDeletionError, match="40 of 60 files"):
        archive.client.update()
