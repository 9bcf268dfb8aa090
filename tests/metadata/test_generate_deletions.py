"""What ``generate`` and ``update`` mark deleted, and the deletions that are refused."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from archives import Archive
from snapshots import alive

from mmmeta.errors import MassDeletionError


def test_a_file_deleted_by_hand_returns_when_its_metadata_changes(archive: Archive) -> None:
    """Not merely because everything is read again."""
    archive.write("a", n=1)
    archive.write("b", n=1)
    archive.server.generate()
    archive.server.files.delete(content_hash="a")
    archive.server.layout.scan_db.unlink()
    assert archive.server.generate().returned == 0
    assert alive(archive) == {"b"}
    archive.write("a", n=2)
    assert archive.server.generate().returned == 1


def test_mass_deletion_is_refused_and_the_mark_lets_clients_follow(archive: Archive) -> None:
    """More than half, 20 at least; nothing changes unless told so."""
    for number in range(30):
        archive.write(f"f{number}")
    archive.deliver()
    for number in range(20):
        archive.remove(f"f{number}")
    with pytest.raises(MassDeletionError, match="20 of 30"):
        archive.server.generate(ensure=True)
    assert len(archive.server.files) == 30
    assert archive.publish(ensure=True, allow_mass_delete=True).deleted == 20
    assert archive.client.update().deleted == 20


def test_an_update_refuses_mass_deletion_that_no_publish_was_told(archive: Archive) -> None:
    """Two publishes that each deleted less than half are more than half together."""
    for number in range(60):
        archive.write(f"f{number}")
    archive.deliver()
    for number in range(25):
        archive.remove(f"f{number}")
    archive.publish(ensure=True)
    for number in range(25, 32):
        archive.remove(f"f{number}")
    archive.publish(ensure=True)
    with pytest.raises(MassDeletionError, match="32 of 60"):
        archive.client.update()
    assert len(archive.client_files()) == 60
    assert archive.client.update(allow_mass_delete=True).deleted == 32


@pytest.mark.parametrize("how", ["ensure", "ensure_files", "replace"])
@pytest.mark.parametrize("dry_run", [True, False], ids=["dry run", "for good"])
def test_an_empty_disk_deletes_nothing_however_small_the_archive(archive: Archive, how: str, dry_run: bool) -> None:
    """Nothing left looks as an unmounted disk does; what was allowed is marked, and clients follow it."""
    for number in range(15):
        document = archive.write(f"f{number}", _file_name=f"f{number}.pdf").with_suffix(".pdf")
        document.write_bytes(b"%PDF")
    archive.deliver()
    for path in archive.server_path.glob("*.pdf" if how == "ensure_files" else "*.*"):
        path.unlink()
    asked: dict[str, Any] = {how: True}
    nothing = "" if how == "ensure_files" else ".* Nothing was found where they come from"
    with pytest.raises(MassDeletionError, match=f"15 of 15 files .* none would be left{nothing}.*--allow-mass-delete"):
        archive.server.generate(**asked, dry_run=dry_run)
    assert len(archive.server.files) == 15
    archive.sync()
    assert archive.client.update().how == "nothing new"
    assert archive.publish(**asked, allow_mass_delete=True).deleted == 15
    assert archive.client.update().deleted == 15


def test_an_empty_disk_is_seen_although_other_files_are_left(archive: Archive) -> None:
    """Those that were inserted do not come from the disk that is gone."""
    for number in range(3):
        archive.write(f"f{number}")
    archive.server.generate()
    archive.server.files.insert(content_hash="inserted")
    for number in range(3):
        archive.remove(f"f{number}")
    with pytest.raises(MassDeletionError, match=r"3 of 4 files .*Nothing was found"):
        archive.server.generate(ensure=True)
    assert archive.server.generate(ensure=True, allow_mass_delete=True).deleted == 3


def test_an_empty_disk_is_said_also_where_nothing_is_deleted(archive: Archive) -> None:
    """By the report, for whoever looks at it."""
    archive.write("a")
    archive.server.generate()
    archive.remove("a")
    report = archive.server.generate()
    assert report.notes == (f"no metadata files below {archive.server_path}; the 1 that are known were kept",)


def test_the_last_file_may_be_deleted_by_name_and_clients_follow(archive: Archive) -> None:
    """Whoever names what is to go does not need to be asked again."""
    for number in range(3):
        archive.write(f"f{number}")
    archive.deliver()
    for number in range(3):
        archive.server.files.delete(content_hash=f"f{number}")
    archive.sync()
    assert archive.client.update().deleted == 3


def test_an_update_deletes_no_small_archive_that_an_empty_one_took_the_place_of(archive: Archive) -> None:
    """A server that began anew on an empty disk publishes a metadata db without files."""
    archive.write("a")
    archive.deliver()
    archive.server.close()
    shutil.rmtree(archive.server_path)
    archive.server_path.mkdir()
    archive.publish()
    for _ in range(2):
        with pytest.raises(MassDeletionError, match="1 of 1 files would be deleted, and none would be left"):
            archive.client.update()
    assert set(archive.client_files()) == {"a"}
    assert archive.client.update(allow_mass_delete=True).deleted == 1
