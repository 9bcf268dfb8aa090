"""The change log as its server writes it: segments, head.json, what is merged away, what is repaired."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from archives import Archive, copy_metadir
from log_support import VALUES, WITHOUT_DB, log_of, record, rows_of, sync

from mmmeta import Metadir, mmmeta
from mmmeta.errors import MassDeletionError, MetadirNotFoundError, ReadOnlyMetadirError
from mmmeta.metadata.changelog import log as log_module
from mmmeta.metadata.changelog.head import Segment
from mmmeta.metadata.changelog.merging import FAN, keep

# What is written


def test_every_publication_is_one_segment_of_what_changed(archive: Archive) -> None:
    """generate, a bulk, and single inserts together; nothing for what changed nothing."""
    for number in range(30):
        archive.write(str(number))
    archive.server.generate()
    head = archive.server.layout.head
    assert [(segment.name, segment.rows) for segment in log_of(archive.server_path).segments] == [("1-1.jsonl.gz", 30)]
    before = head.stat()
    archive.server.generate()
    assert (head.stat().st_mtime_ns, head.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    with archive.server.bulk():
        archive.server.files.insert(record(1))
        archive.server.files.insert(record(2))
    for number in range(3, 7):
        archive.server.files.insert(record(number))
    archive.server.close()
    log = log_of(archive.server_path)
    assert [segment.rows for segment in log.segments] in ([30, 2, 4], [30, 2, 1, 3])
    assert log.head.revision == 6
    assert sorted(path.name for path in archive.server.layout.changes.iterdir()) == sorted(
        segment.name for segment in log.segments
    )
    for segment in log.segments:
        content = (archive.server.layout.changes / segment.name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (segment.bytes, segment.sha256)
        assert len(gzip.decompress(content)) == segment.size


def test_all_values_come_by_the_log(pair: tuple[Path, Path]) -> None:
    """Their types, keys that no file has any more, more keys than columns; by either way the same."""
    server, client = pair
    with mmmeta(server) as m:
        m.files.insert_many([record(1, **VALUES), record(2, gone=1), {f"key {n}": n for n in range(1_100)} | record(3)])
        m.files.delete(content_hash="00002")
    with mmmeta(server) as m:
        m.files.upsert(record(3, later="x"), ["content_hash"])
    other = client.with_name("other")
    copy_metadir(server, client, without=WITHOUT_DB)
    copy_metadir(server, other, without=("head.json", "changes"))
    with mmmeta(client) as m, mmmeta(other) as by_db:
        m.update()
        by_db.update()
        assert rows_of(m) == rows_of(by_db)
        found = m.files.find_one(content_hash="00001")
        assert found is not None
        assert repr(sorted(found.items())) == repr(sorted(record(1, **VALUES).items()))
        assert list(m.files.columns) == list(by_db.files.columns)
        assert m.files.find_one(content_hash="00001")["gone"] is None
        assert [file.unique_value for file in m.files] == [file.unique_value for file in by_db.files]
        assert not m.layout.meta_db.exists()
        assert not m.is_outdated
        inspection = m.inspect()
        assert inspection.problems == ()
        assert inspection.metadata_db is not None
        assert (inspection.metadata_db.files, inspection.metadata_db.deleted) == (2, 1)
        assert inspection.moments.published_at is not None


def test_a_client_without_meta_db_follows(archive: Archive) -> None:
    """Update after update, deletions and returns with them; what it has set stays."""
    without = WITHOUT_DB
    for number in range(40):
        archive.write(str(number), n=0)
    archive.server.generate()
    copy_metadir(archive.server_path, archive.client_path, without=without)
    assert archive.client.is_outdated
    assert archive.client.update().how == "everything"
    file = archive.client.files.find_one(content_hash="7")
    file["mine"] = 1
    file.save()
    archive.write("7", n=1)
    archive.remove("8")
    archive.write("new", n=1)
    archive.server.generate(ensure=True)
    copy_metadir(archive.server_path, archive.client_path, without=without)
    report = archive.client.update()
    assert (report.how, report.added, report.changed, report.deleted) == ("changes", 1, 1, 1)
    assert archive.client.files.find_one(content_hash="7")["mine"] == 1
    assert archive.client.update().how == "nothing new"
    assert not list(archive.client.layout.local.glob("*changes*"))
    assert not list(archive.client.layout.local.glob(".*"))


def test_the_log_tells_what_was_told(archive: Archive) -> None:
    """A deletion of most files is followed where the server was told to, and refused where not; also made anew."""
    for number in range(30):
        archive.write(str(number))
    archive.server.generate()
    copy_metadir(archive.server_path, archive.client_path, without=WITHOUT_DB)
    archive.client.update()
    for number in range(29):
        archive.remove(str(number))
    archive.server.generate(allow_mass_delete=True, replace=True)
    copy_metadir(archive.server_path, archive.client_path, without=WITHOUT_DB)
    assert archive.client.update().deleted == 29
    fresh = archive.root / "fresh"
    other = Archive(archive.root / "second")
    other.write("x")
    other.server.generate()
    copy_metadir(archive.server_path, fresh, without=WITHOUT_DB)
    with mmmeta(fresh) as m:
        m.update()
        copy_metadir(other.server_path, fresh, without=WITHOUT_DB)
        with pytest.raises(MassDeletionError):
            m.update()
    other.close()


def test_a_copy_of_the_log_is_not_written_to(archive: Archive) -> None:
    """Before the first update as well; reading it says what to do."""
    archive.write("a")
    archive.server.generate()
    copy_metadir(archive.server_path, archive.client_path, without=WITHOUT_DB)
    with pytest.raises(ReadOnlyMetadirError):
        archive.client.files.insert(record(1))
    with pytest.raises(MetadirNotFoundError, match="run `mmmeta update`"):
        list(archive.client.files)
    archive.client.update()
    assert len(archive.client.files) == 1


# What is repaired


class Killed(BaseException):
    """Stands for a process that ends here."""


@pytest.mark.parametrize("at", ["the log", "head.json", "the store"])
def test_a_kill_between_commit_and_log_is_made_good(archive: Archive, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """By the next verb, also one that changes nothing."""
    archive.write("a")
    archive.server.generate()
    archive.write("b")

    def kill(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if at == "the store":
            patch.setattr("mmmeta.store.store.Store.touch", kill)
        else:
            patch.setattr(log_module, "pack" if at == "the log" else "write_atomic", kill)
        with pytest.raises(Killed):
            archive.server.generate()
    archive.server.close()
    with Metadir(archive.server_path) as server:
        server.generate()
    copy_metadir(archive.server_path, archive.client_path, without=WITHOUT_DB)
    archive.client.update()
    assert set(archive.client_files()) == {"a", "b"}
    assert not [path for path in archive.server.layout.changes.iterdir() if path.name.startswith(".")]


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no head.json": lambda metadir: (metadir / "head.json").unlink(),
    "half of head.json": lambda metadir: os.truncate(metadir / "head.json", 100),
    "no segment": lambda metadir: (metadir / "changes" / "1-1.jsonl.gz").unlink(),
    "a short one": lambda metadir: os.truncate(metadir / "changes" / "2-2.jsonl.gz", 20),
    "no folder": lambda metadir: shutil.rmtree(metadir / "changes"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_gone_of_the_log_is_written_again(archive: Archive, damage: str) -> None:
    """By a generate without news; a client goes on."""
    for number in range(20):
        archive.write(str(number))
    archive.publish()
    archive.client.update()
    archive.write("x")
    archive.server.generate()
    DAMAGES[damage](archive.server.layout.metadir)
    archive.server.generate()
    for path in (archive.client_path, archive.root / "fresh"):
        copy_metadir(archive.server_path, path, without=WITHOUT_DB)
        with Metadir(path) as client:
            client.update()
            assert len(client.files) == 21


def test_a_restored_server_goes_on(archive: Archive) -> None:
    """The log follows meta.db, whatever it said before; clients are repaired."""
    for number in range(20):
        archive.write(str(number), n=0)
    archive.server.generate()
    backup = archive.server.layout.meta_db.read_bytes()
    archive.write("1", n=1)
    archive.write("lost")
    archive.server.generate()
    copy_metadir(archive.server_path, archive.client_path, without=WITHOUT_DB)
    archive.client.update()
    archive.server.close()
    archive.server.layout.meta_db.write_bytes(backup)
    (archive.server_path / "lost.json").unlink()
    archive.write("2", n=2)
    archive.server.generate()
    archive.write("3", n=3)
    archive.server.generate()
    copy_metadir(archive.server_path, archive.client_path, without=WITHOUT_DB)
    report = archive.client.update()
    assert report.how == "repair"
    assert {name: file["n"] for name, file in archive.client_files().items() if file["n"]} == {"1": 1, "2": 2, "3": 3}


# What is merged


def segments(*rows: int) -> list[Segment]:
    return [Segment(at, at, count, 1, count * 100, count * 1000, "0" * 64) for at, count in enumerate(rows, 1)]


def test_the_number_of_segments_is_logarithmic() -> None:
    """Whatever the sizes come in; and what comes is not written too often."""
    for seed in range(6):
        picked = random.Random(seed)
        sizes = [1] if seed == 0 else [1, 10, 100, 1_000] if seed < 3 else [1, 1, 1, 1, 999]
        log, written, published = segments(100_000), 0, 0
        for number in range(3_000):
            rows = picked.choice(sizes)
            kept = keep(log, rows, 10**9)
            merged = rows + sum(segment.rows for segment in log[kept:])
            written, published = written + merged, published + rows
            log = [*log[:kept], Segment(number, number, merged, 1, merged * 100, merged * 1000, "0" * 64)]
            assert len(log) <= 2 * FAN * 6
        assert written <= published * 6


def test_many_publications_stay_small(pair: tuple[Path, Path]) -> None:
    """Few segments, together smaller than meta.db, whole for whoever begins and whoever is far behind."""
    server, client = pair
    with mmmeta(server) as m:
        m.files.insert_many(record(number, text="x" * 200) for number in range(300))
        sync(pair)
        with mmmeta(client) as late:
            late.update()
        for number in range(150):
            with m.bulk():
                m.files.upsert(record(number * 7 % 300, text=f"{number}" * 50), ["content_hash"])
                m.files.insert(record(1_000 + number))
        wanted = rows_of(m)
        size = m.layout.meta_db.stat().st_size
    log = log_of(server)
    assert len(log.segments) <= 2 * FAN
    assert sum(segment.bytes for segment in log.segments) < size
    files = list((server / "_mmmeta" / "changes").iterdir())
    assert len(files) <= len(log.segments) + log_module.KEPT
    sync(pair)
    copy_metadir(server, client.with_name("new"), without=WITHOUT_DB)
    for path in (client, client.with_name("new")):
        with mmmeta(path) as m:
            m.update()
            assert rows_of(m) == wanted


def test_what_was_merged_away_stays_for_a_while(pair: tuple[Path, Path]) -> None:
    """For a sync that follows an older head.json; after an hour it goes, with the next merge."""
    server, _ = pair
    changes = server / "_mmmeta" / "changes"
    with mmmeta(server) as m:
        m.files.insert_many(record(number) for number in range(500))
        for number in range(FAN - 1):
            with m.bulk():
                m.files.insert(record(1_000 + number))
        old = log_of(server)
        with m.bulk():
            m.files.insert(record(2_000))
        now = log_of(server)
        assert len(now.segments) < len(old.segments)
        assert all((changes / segment.name).exists() for segment in old.segments)
        for path in changes.iterdir():
            os.utime(path, (time.time() - 7_200,) * 2)
        for number in range(FAN):
            with m.bulk():
                m.files.insert(record(3_000 + number))
        kept = {path.name for path in changes.iterdir()}
    assert not kept & {segment.name for segment in old.segments[1:]}
    assert {segment.name for segment in log_of(server).segments} <= kept


def test_publishing_is_done_by_one_at_a_time(pair: tuple[Path, Path]) -> None:
    """A slow process does not put its older head.json over another's."""
    server, _ = pair
    with mmmeta(server) as first, mmmeta(server) as second:
        first.files.insert_many([record(1)])
        for number in range(10):
            (first if number % 2 else second).files.upsert_many([record(number)], ["content_hash"])
        assert log_of(server).head.revision == 10
    with closing(sqlite3.connect(server / "_mmmeta" / "meta.db")) as connection:
        assert connection.execute("SELECT value FROM info WHERE name = 'revision'").fetchone() == (10,)


def test_an_archive_begun_anew_without_files(pair: tuple[Path, Path]) -> None:
    """A remote that was lost, or whose disk is not mounted: its log says so, beside meta.db and without it."""
    server, client = pair
    (server / "a.json").write_text(json.dumps(record(1)))
    for without in ((), WITHOUT_DB):
        with mmmeta(server) as m:
            m.generate()
        sync(pair, without)
        with mmmeta(client) as m:
            m.update(allow_mass_delete=True)
            assert len(list(m.files)) == 1
        shutil.rmtree(server / "_mmmeta")
        (server / "a.json").rename(server / "a.away")
        with mmmeta(server) as m:
            m.generate()
        log = log_of(server)
        assert (log.head.revision, log.segments, log.published) == (0, (), "")
        sync(pair, without)
        with mmmeta(client) as m:
            with pytest.raises(MassDeletionError):
                m.update()
            assert m.update(allow_mass_delete=True).deleted == 1
            assert m.inspect().moments.published_at is None
        (server / "a.away").rename(server / "a.json")
        shutil.rmtree(server / "_mmmeta")
