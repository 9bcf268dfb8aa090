"""Change log and meta.db side by side: which one an update reads."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from archives import Archive, copy_metadir, everything
from log_support import LAST, WITHOUT_DB, record, rows_of, sync

from mmmeta import mmmeta
from mmmeta.errors import ChangeLogError, MassDeletionError, MmmetaError


def test_the_one_that_is_whole_is_taken(published: tuple[Path, Path]) -> None:
    """In alphabetical order a sync brings the segments, head.json, and then meta.db; in any other as well."""
    server, client = published
    metadir = client / "_mmmeta"
    shutil.copy(server / "_mmmeta" / "meta.db", metadir / "meta.db")
    (metadir / "changes" / LAST).unlink()
    with mmmeta(client) as m:
        report = m.update()
        assert (report.how, report.revision) == ("changes", 3)
        assert any(LAST in note for note in report.notes)


def test_a_torn_meta_db_beside_a_whole_log(published: tuple[Path, Path]) -> None:
    """A client that begins, and one that follows."""
    server, client = published
    whole = (server / "_mmmeta" / "meta.db").read_bytes()
    copy_metadir(client, client.with_name("fresh"))
    for path in (client, client.with_name("fresh")):
        (path / "_mmmeta" / "meta.db").write_bytes(whole[:-4096])
        with mmmeta(path) as m, mmmeta(server) as source:
            report = m.update()
            assert report.revision == 3
            assert any("meta.db" in note for note in report.notes)
            assert rows_of(m) == rows_of(source)


def test_a_head_that_stayed_behind(published: tuple[Path, Path]) -> None:
    """Of a sync that began to leave the log out, or to leave meta.db out: the newer one counts."""
    server, client = published
    with mmmeta(client) as m, mmmeta(server) as source:
        m.update()
        with source.bulk():
            source.files.insert(record(900))
        copy_metadir(server, client, without=())
        for name in ("head.json", "meta.db"):
            old = (client / "_mmmeta" / name).read_bytes()
            with source.bulk():
                source.files.insert({"content_hash": name})
            copy_metadir(server, client)
            (client / "_mmmeta" / name).write_bytes(old)
            assert m.update().added >= 1
            assert rows_of(m) == rows_of(source)


def test_two_archives_in_one_folder_are_named(published: tuple[Path, Path], tmp_path: Path) -> None:
    """head.json of another metadir, beside meta.db; by itself it is another archive, refused as that."""
    server, client = published
    other = tmp_path / "other"
    with mmmeta(other) as m:
        m.files.insert_many([{"content_hash": f"other {number}"} for number in range(80)])
    copy_metadir(server, client)
    copy_metadir(other, client, without=("meta.db",))
    shutil.copy(server / "_mmmeta" / "meta.db", client / "_mmmeta" / "meta.db")
    with mmmeta(client) as m:
        with pytest.raises(ChangeLogError, match="another archive's"):
            m.update()
        (client / "_mmmeta" / "meta.db").unlink()
        with pytest.raises(MassDeletionError):
            m.update()
        copy_metadir(server, client)
        assert m.update().changed == 4


def test_two_servers_from_one_copy(published: tuple[Path, Path], tmp_path: Path) -> None:
    """Each goes on by itself: mixed they are named; a client that changes over is repaired."""
    server, client = published
    second = tmp_path / "second"
    shutil.copytree(server, second)
    for number, path in enumerate((server, second)):
        with mmmeta(path) as m:
            m.files.upsert(record(50, by=number), ["content_hash"])
    sync(published)
    with mmmeta(client) as m:
        m.update()
        shutil.copy(second / "_mmmeta" / "head.json", client / "_mmmeta" / "head.json")
        with pytest.raises(ChangeLogError, match=r"4-4\.jsonl\.gz"):
            m.update()
        copy_metadir(second, client, without=WITHOUT_DB)
        report = m.update()
        assert report.how == "repair"
        assert m.files.find_one(content_hash="00050")["by"] == 1
        shutil.copy(server / "_mmmeta" / "meta.db", client / "_mmmeta" / "meta.db")
        with pytest.raises(ChangeLogError, match="two servers"):
            m.update()


def test_an_older_log_is_stale(published: tuple[Path, Path]) -> None:
    """Refused, and followed when asked."""
    server, client = published
    old = client.with_name("old")
    copy_metadir(client, old)
    with mmmeta(client) as m:
        m.update()
        with mmmeta(server) as source:
            source.files.upsert(record(1, version=9), ["content_hash"])
        sync(published)
        m.update()
        copy_metadir(old, client)
        with pytest.raises(MmmetaError, match="stale copy"):
            m.update()
        assert m.update(accept_older=True).how == "repair"
        assert m.files.find_one(content_hash="00001")["version"] == 1


def test_a_metadir_from_before_the_log(archive: Archive) -> None:
    """A client that has merged by meta.db goes on by the log, once there is one."""
    archive.log = False
    for number in range(20):
        archive.write(str(number))
    archive.deliver()
    for name in ("head.json", "changes"):
        path = archive.server.layout.metadir / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    archive.write("x")
    archive.server.generate()
    archive.client.layout.meta_db.unlink()
    copy_metadir(archive.server_path, archive.client_path, without=WITHOUT_DB)
    assert archive.client.update().how == "changes"


def test_a_read_only_copy_with_the_state_elsewhere(published: tuple[Path, Path], tmp_path: Path) -> None:
    """Nothing is written beside the log; a dry run writes nothing at all."""
    _, client = published
    fresh = tmp_path / "fresh"
    copy_metadir(client, fresh)
    before = everything(fresh)
    with mmmeta(fresh, state=tmp_path / "mine" / "state.db") as m:
        assert m.update(dry_run=True).added == 60
        assert not (tmp_path / "mine").exists()
        assert m.update().added == 60
    assert {name: content for name, content in everything(fresh).items() if "local" not in name} == before
