"""``generate`` after another config.yml, or beside another program: other keys, another unique, other journals."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from archives import Archive
from snapshots import snapshot

from mmmeta import Metadir
from mmmeta.errors import MassDeletionError, MetadirNotFoundError, MmmetaError


@pytest.mark.parametrize("kept", [True, False], ids=["the new key was kept", "it was excluded"])
def test_a_replacement_by_another_unique_key_finds_its_files_again(archive: Archive, kept: bool) -> None:
    """Their metadata files are not gone; those whose are count as deleted."""
    config = archive.server.layout.config
    config.parent.mkdir()
    config.write_text("metadata: {}\n" if kept else "metadata: {exclude: [id]}\n")
    for number in range(50):
        archive.write(f"f{number}", id=number)
    archive.server.generate()
    for number in range(45, 50):
        archive.remove(f"f{number}")
    config.write_text("metadata: {unique: id}\n")
    report = archive.server.generate(replace=True)
    assert (report.added, report.deleted) == (45, 5)
    assert {file.unique_value for file in archive.server.files} == {str(number) for number in range(45)}


def test_a_replacement_that_loses_what_was_inserted_is_refused(archive: Archive) -> None:
    """What has no metadata file is known again by the new key only."""
    archive.server.files.insert_many({"content_hash": f"f{number}", "id": number} for number in range(30))
    archive.server.layout.config.write_text("metadata: {unique: id}\n")
    archive.write("f0", id=0)
    with pytest.raises(MassDeletionError, match="29 of 30 files"):
        archive.server.generate(replace=True)


@pytest.mark.parametrize("config", ["unique: foreign_id", "required: [foreign_id]"])
def test_a_replacement_that_sets_everything_aside_says_why(archive: Archive, config: str) -> None:
    """The metadata files are not gone, a key is missing in them."""
    for number in range(3):
        archive.write(f"f{number}")
    archive.server.generate()
    archive.server.layout.config.write_text(f"metadata: {{{config}}}\n")
    with pytest.raises(
        MassDeletionError, match=r"3 metadata files were set aside, the first is f0\.json: .*foreign_id"
    ):
        archive.server.generate(replace=True)
    assert len(archive.server.files) == 3


def test_include_and_exclude_decide_what_is_kept(archive: Archive) -> None:
    """A changed config reads everything again."""
    archive.write("a", title="T", headers={"date": "x", "etag": "y"}, noise=1)
    archive.server.generate()
    archive.server.layout.config.write_text("metadata: {exclude: [noise, 'headers:date']}\n")
    assert archive.server.generate().changed == 1
    assert [dict(file) for file in archive.server.files] == [{"content_hash": "a", "title": "T", "headers:etag": "y"}]


def test_required_keys_are_kept_whatever_is_included(archive: Archive) -> None:
    """A file that has them is not set aside, by generate and by insert; a required object is kept with all below it."""
    archive.write("a", title="T", publisher={"id": 1}, lang="de", noise=1)
    archive.write("b", title="T")
    archive.server.layout.config.parent.mkdir()
    archive.server.layout.config.write_text("metadata: {required: [title, publisher], include: [lang]}\n")
    report = archive.server.generate()
    assert [(problem.source, "'publisher' is missing" in problem.reason) for problem in report.problems] == [
        ("b.json", True)
    ]
    archive.server.files.insert({"content_hash": "c", "title": "C", "publisher": {"id": 2}, "noise": 1})
    assert [dict(file) for file in archive.server.files] == [
        {"content_hash": "a", "title": "T", "publisher:id": 1, "lang": "de"},
        {"content_hash": "c", "title": "C", "publisher:id": 2},
    ]


def test_a_mistyped_path_does_not_become_an_archive(tmp_path: Path) -> None:
    """Nothing is created."""
    with pytest.raises(MetadirNotFoundError, match="not a folder"):
        Metadir(tmp_path / "typo").generate()
    assert list(tmp_path.iterdir()) == []


def test_an_invalid_config_leaves_nothing_behind(archive: Archive) -> None:
    """Not even the mark of a server."""
    archive.write("a")
    archive.server.layout.config.parent.mkdir()
    archive.server.layout.config.write_text("metadata: {uniqe: x}\n")
    before = snapshot(archive.server_path)
    for verb in (archive.server.generate, lambda: archive.server.files.insert(content_hash="x")):
        with pytest.raises(MmmetaError, match="uniqe"):
            verb()
    assert snapshot(archive.server_path) == before


def test_a_metadata_db_that_another_program_put_into_wal_mode_still_reads(archive: Archive) -> None:
    """The client creates nothing beside it; the next generate puts it back."""
    archive.log = False
    archive.write("a")
    archive.server.generate()
    connection = sqlite3.connect(archive.server.layout.meta_db)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    archive.server.close()
    archive.sync()
    assert archive.client.update().added == 1
    assert {path.name for path in archive.client.layout.metadir.iterdir()} == {"_store", "local", "meta.db"}
    archive.write("b")
    archive.publish()
    assert archive.server.layout.meta_db.read_bytes()[18:20] == b"\x01\x01"
    assert archive.client.update().added == 1
