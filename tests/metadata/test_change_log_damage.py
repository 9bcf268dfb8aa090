"""What a sync may leave of the change log, and what somebody may make of it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archives import copy_metadir, everything
from log_support import LAST, WITHOUT_DB, log_of, rows_of

from mmmeta import mmmeta
from mmmeta.errors import ChangeLogError, MmmetaError


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
