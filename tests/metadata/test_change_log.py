"""The change log as its server writes it and a client reads it: segments, head.json, what is merged away, what is repaired."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import shutil
import sqlite3
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from archives import Archive, copy_metadir, everything

from mmmeta import Metadir, mmmeta
from mmmeta.errors import ChangeLogError, MassDeletionError, MetadirNotFoundError, MmmetaError, ReadOnlyMetadirError
from mmmeta.metadata.changelog import log as log_module
from mmmeta.metadata.changelog.head import LogHead, Segment, read_log
from mmmeta.metadata.changelog.merging import FAN, keep

WITHOUT_DB = ("meta.db",)

VALUES: dict[str, Any] = {
    "text": "ä\u2028\n\x00",
    "digits": "00123",
    "big": 2**200,
    "half": 1.5,
    "minus": -0.0,
    "large": 1e16,
    "yes": True,
    "none": None,
    "list": [1, {"a": [None, True]}],
    "empty": {},
    "like a list": "[1]",
}


def record(number: int, **keys: Any) -> dict[str, Any]:
    return {"content_hash": f"{number:05d}", "title": f"title {number}", **keys}


def log_of(path: Path) -> LogHead:
    found = read_log(Metadir(path).layout)
    assert found is not None
    return found


def rows_of(metadir: Metadir) -> dict[str, str]:
    """All files, deleted ones too, with the types of their values."""
    metadir.ignore_news()
    found = metadir.files.find(deleted=None)
    return {file.unique_value: repr((sorted(file.meta.items()), file.deleted)) for file in found}


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Base paths of a server and a client; nothing is there yet."""
    (tmp_path / "server").mkdir()
    return tmp_path / "server", tmp_path / "client"


def sync(pair: tuple[Path, Path], without: tuple[str, ...] = WITHOUT_DB) -> None:
    copy_metadir(*pair, without=without)


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


# What a sync may leave, and what somebody may make of it


def rewrite(metadir: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change head.json."""
    path = metadir / "head.json"
    entries = json.loads(path.read_text())
    change(entries)
    path.write_text(json.dumps(entries))


def forge(metadir: Path, number: int, content: bytes, size: int | None = None) -> None:
    """Put another file in a segment's place, of which head.json knows."""

    def change(entries: dict[str, Any]) -> None:
        segment = entries["segments"][number]
        (metadir / "changes" / f"{segment['first']}-{segment['last']}.jsonl.gz").write_bytes(content)
        unpacked = size if size is not None else len(gzip.decompress(content))
        segment.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), size=unpacked)

    rewrite(metadir, change)


def with_lines(metadir: Path, number: int, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the lines of a segment."""
    segment = log_of(metadir.parent).segments[number]
    lines = gzip.decompress((metadir / "changes" / segment.name).read_bytes()).split(b"\n")[:-1]
    forge(metadir, number, gzip.compress(b"\n".join([*change(lines), b""])))


def with_row(metadir: Path, **entries: Any) -> None:
    """Change the last row of the last segment."""

    def change(lines: list[bytes]) -> list[bytes]:
        row = json.loads(lines[-1])
        row.update(entries)
        return [*lines[:-1], json.dumps(row).encode()]

    with_lines(metadir, -1, change)


def swap(metadir: Path) -> None:
    first, second = metadir / "changes" / "2-2.jsonl.gz", metadir / "changes" / "3-3.jsonl.gz"
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def bomb(metadir: Path) -> None:
    packing = zlib.compressobj(9, zlib.DEFLATED, 31)
    chunk = b"\0" * (1 << 24)
    forge(metadir, 1, b"".join([*(packing.compress(chunk) for _ in range(40)), packing.flush()]), 40 << 24)


LAST = "3-3.jsonl.gz"
HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda m: (m / "changes" / LAST).unlink(), f"{LAST} is not there"),
    "no folder": (lambda m: shutil.rmtree(m / "changes"), "is not there"),
    "short": (lambda m: os.truncate(m / "changes" / LAST, 50), "has 50 of"),
    "longer": (lambda m: (m / "changes" / LAST).write_bytes((m / "changes" / LAST).read_bytes() + b"x"), LAST),
    "empty": (lambda m: os.truncate(m / "changes" / LAST, 0), "has 0 of"),
    "a flipped bit": (lambda m: flip(m / "changes" / LAST), LAST),
    "swapped": (swap, ".jsonl.gz"),
    "a link": (lambda m: ((m / "changes" / LAST).unlink(), (m / "changes" / LAST).symlink_to("/etc/passwd")), LAST),
    "a folder": (lambda m: ((m / "changes" / LAST).unlink(), (m / "changes" / LAST).mkdir()), LAST),
    "half a head": (lambda m: os.truncate(m / "head.json", 300), "head.json is not whole"),
    "an empty head": (lambda m: (m / "head.json").write_text(""), "head.json is not whole"),
    "no object": (lambda m: (m / "head.json").write_text("[" * 100_000), "head.json is not whole"),
    "a huge head": (lambda m: os.truncate(m / "head.json", 1 << 33), "head.json cannot be read"),
    "a newer format": (lambda m: rewrite(m, lambda h: h.update(format=2)), "upgrade mmmeta"),
    "a path as a number": (lambda m: rewrite(m, lambda h: h["segments"][0].update(first="../../x")), "head.json"),
    "doubled": (lambda m: rewrite(m, lambda h: h["segments"].append(h["segments"][-1])), "head.json"),
    "reordered": (lambda m: rewrite(m, lambda h: h["segments"].reverse()), "head.json"),
    "a gap": (lambda m: rewrite(m, lambda h: h["segments"].pop(1)), "head.json"),
    "no end": (lambda m: rewrite(m, lambda h: h["segments"].pop()), "head.json"),
    "10 GB": (lambda m: rewrite(m, lambda h: h["segments"][2].update(bytes=10**10)), "10,000,000,000 bytes"),
    "unpacks to 10 TB": (lambda m: rewrite(m, lambda h: h["segments"][2].update(size=10**16)), "room"),
    "unpacks to more": (
        lambda m: rewrite(m, lambda h: h["segments"][2].update(size=10)),
        "unpacks to more than the 10",
    ),
    "a bomb": (bomb, "2-2.jsonl.gz"),
    "no gzip": (lambda m: forge(m, 2, b"x" * 100, 100), "no gzip file"),
    "not JSON": (lambda m: with_lines(m, 2, lambda lines: [*lines[:-1], b"{"]), LAST),
    "a deep line": (lambda m: with_lines(m, 2, lambda lines: [*lines[:-1], b"[" * 100_000]), LAST),
    "a row too few": (lambda m: with_lines(m, 2, lambda lines: lines[:-1]), "rows"),
    "a row twice": (lambda m: with_lines(m, 2, lambda lines: [*lines, lines[-1]]), "rows"),
    "another segment's": (lambda m: with_lines(m, 2, lambda lines: [lines[0].replace(b":3", b":2"), *lines[1:]]), LAST),
    "another archive's": (
        lambda m: with_lines(m, 2, lambda lines: [lines[0].replace(b'"id":"', b'"id":"0'), *lines[1:]]),
        LAST,
    ),
    "another chain": (
        lambda m: with_lines(
            m, 2, lambda lines: [lines[0].replace(b'"before":"', b'"before":"' + b"0" * 32 + b'","x":"'), *lines[1:]]
        ),
        "does not go on",
    ),
    "no rows' revision": (lambda m: with_row(m, rev=99), LAST),
    "another cell": (lambda m: with_row(m, metadata={"content_hash": "00002", "title": "forged"}), "fingerprint"),
    "another fingerprint": (lambda m: with_row(m, fingerprint="0" * 32), "fingerprint"),
    "no unique key": (lambda m: with_row(m, metadata={"title": "x"}), LAST),
    "one of mmmeta's own keys": (lambda m: with_row(m, metadata={"content_hash": "x", "__deleted": 1}), LAST),
    "no object as metadata": (lambda m: with_row(m, metadata=[1]), LAST),
    "odd cells": (lambda m: with_row(m, source={"a": 1}), LAST),
    "another digest": (lambda m: rewrite(m, lambda h: h.update(digest="0" * 32)), "digest"),
    "another count": (lambda m: rewrite(m, lambda h: h.update(revision=10**30)), "head.json"),
}


@pytest.fixture
def published(pair: tuple[Path, Path]) -> tuple[Path, Path]:
    """Three publications, of which the client has merged the first and has the others before it."""
    server, client = pair
    with mmmeta(server) as m:
        m.files.insert_many(record(number) for number in range(60))
        sync(pair)
        with mmmeta(client) as c:
            c.update()
            for file in c.files.find(content_hash=["00001", "00002"]):
                file["mine"] = file.unique_value
                file.save()
        for version in (1, 2):
            with m.bulk():
                m.files.upsert_many(
                    [record(number, version=version) for number in range(version, version + 3)], ["content_hash"]
                )
    sync(pair)
    assert [segment.name for segment in log_of(server).segments] == ["1-1.jsonl.gz", "2-2.jsonl.gz", LAST]
    return pair


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_not_whole_is_named_and_changes_nothing(published: tuple[Path, Path], case: str) -> None:
    """A client that follows and one that begins; the next good sync mends it."""
    server, client = published
    break_it, words = HOSTILE[case]
    fresh = client.with_name("fresh")
    copy_metadir(client, fresh)
    for path in (client, fresh):
        metadir = path / "_mmmeta"
        break_it(metadir)
        before = everything(metadir / "local") if path == client else {}
        with mmmeta(path) as m:
            m.ignore_news()
            with pytest.raises(MmmetaError) as caught:
                m.update()
            said = str(caught.value)
            assert words in said
            assert "\n" not in said
            assert len(said) < 1_000
            if path == client:
                assert {file["mine"] for file in m.files.find(mine={"!=": None})} == {"00001", "00002"}
                assert {name for name in everything(metadir / "local") if name not in before} <= {
                    "state.db-wal",
                    "state.db-shm",
                }
            else:
                assert not m.layout.state.exists()
        for name in ("changes", "head.json"):
            gone = metadir / name
            if gone.exists():
                shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
        copy_metadir(server, path, without=WITHOUT_DB)
        with mmmeta(path) as m, mmmeta(server) as source:
            m.update()
            assert rows_of(m) == rows_of(source)


def test_a_bomb_takes_no_memory(published: tuple[Path, Path]) -> None:
    """Nor does a segment that is as large as it says: the line that is too long ends it."""
    resource = pytest.importorskip("resource")
    _, client = published
    bomb(client / "_mmmeta")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with mmmeta(client) as m, pytest.raises(ChangeLogError):
        m.update()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000


def test_a_log_that_does_not_reach_back(published: tuple[Path, Path]) -> None:
    """Somebody else's program may keep less: what is merged goes on, what begins needs meta.db."""
    server, client = published
    fresh = client.with_name("fresh")
    copy_metadir(client, fresh)
    for path in (client, fresh):
        rewrite(path / "_mmmeta", lambda head: head["segments"].pop(0))
    with mmmeta(client) as m:
        assert m.update().how == "changes"
    with mmmeta(fresh) as m:
        with pytest.raises(ChangeLogError, match=r"sync meta\.db, too"):
            m.update()
        shutil.copy(server / "_mmmeta" / "meta.db", fresh / "_mmmeta" / "meta.db")
        assert m.update().added == 60


# Both are there


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
