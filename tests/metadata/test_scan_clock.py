"""Which clock tells whether a metadata file may be written again with the same stamps: that of the files root."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import Archive

from mmmeta import Metadir
from mmmeta.metadata.generate import memory
from mmmeta.metadata.generate.walk import Entry, Walk

HOUR = 3_600_000_000_000

CLOCKS: dict[str, Callable[[int], int]] = {
    "whole seconds": lambda stamp: stamp // 1_000_000_000 * 1_000_000_000,
    "every other second": lambda stamp: stamp // 2_000_000_000 * 2_000_000_000,
    "hundredths": lambda stamp: stamp // 10_000_000 * 10_000_000,
    "an hour late": lambda stamp: stamp - HOUR,
    "an hour late, whole seconds": lambda stamp: (stamp - HOUR) // 1_000_000_000 * 1_000_000_000,
    "an hour early": lambda stamp: stamp + HOUR,
}


@pytest.fixture(params=CLOCKS)
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, archive: Archive) -> None:
    """The files root lies on a file system with this clock, the metadir on this machine's.

    Where it has ticks, every second write here comes within one, so a stamp is the same after it.
    """
    shown: Callable[[int], int] = CLOCKS[request.param]
    has_ticks = shown(1) == shown(2)
    kept: dict[bytes, tuple[int, int]] = {}
    walk, stamp_in = Walk.__iter__, memory._stamp_in

    def entries(self: Walk) -> Iterator[Entry]:
        for entry in walk(self):
            now = (entry.mtime, entry.ctime)
            mtime, ctime = kept.setdefault(entry.key, now) if has_ticks else now
            yield entry._replace(mtime=shown(mtime), ctime=shown(ctime))

    def stamp(folder: Path) -> int:
        found = stamp_in(folder)
        return shown(found) if folder == archive.server.layout.files_root else found

    monkeypatch.setattr(Walk, "__iter__", entries)
    monkeypatch.setattr(memory, "_stamp_in", stamp)


def rewrite(path: Path, data: bytes) -> None:
    """In place: the same file, of the same size."""
    with path.open("r+b") as file:
        file.write(data)


@pytest.mark.usefixtures("clock")
def test_a_second_write_within_a_tick_is_seen(archive: Archive) -> None:
    """Whatever the clock of the metadir says."""
    path = archive.write("a", n=1)
    archive.server.generate()
    rewrite(path, path.read_bytes().replace(b"1", b"2"))
    archive.server.generate()
    assert [file["n"] for file in archive.server.files] == [2]


def read_count(metadir: Metadir, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many metadata files a generate opens."""
    read: list[object] = []
    with monkeypatch.context() as patch:
        from mmmeta.metadata.generate import reader

        real = reader.read_bytes
        patch.setattr(reader, "read_bytes", lambda *given: read.append(given) or real(*given))
        metadir.generate()
    return len(read)


def test_what_is_settled_is_not_read_again(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system with fine stamps, as soon as its clock has moved."""
    path = archive.write("a", n=1)
    while memory._stamp_in(archive.server_path) <= os.stat(path).st_ctime_ns:
        pass
    assert read_count(archive.server, monkeypatch) == 1
    assert read_count(archive.server, monkeypatch) == 0


def test_a_files_root_that_cannot_be_written_has_a_margin(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clock cannot be asked, and may lag some minutes behind."""
    real, root = tempfile.TemporaryFile, archive.server.layout.files_root

    def refused(*args: Any, dir: Path, **options: Any) -> Any:
        if dir == root:
            raise PermissionError(13, "Permission denied")
        return real(*args, dir=dir, **options)

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    archive.write("a", n=1)
    assert read_count(archive.server, monkeypatch) == 1
    assert read_count(archive.server, monkeypatch) == 1
    monkeypatch.setattr(memory, "_CLOCKS_DIFFER", 0)
    path = archive.server_path / "a.json"
    while memory._stamp_in(archive.server.layout.local) <= os.stat(path).st_ctime_ns:
        pass
    assert read_count(archive.server, monkeypatch) == 1
    assert read_count(archive.server, monkeypatch) == 0


@pytest.mark.parametrize("dry_run", [True, False])
def test_asking_the_clock_leaves_nothing(archive: Archive, dry_run: bool) -> None:
    """In the files root."""
    archive.write("a", n=1)
    archive.server.generate(dry_run=dry_run)
    assert sorted(path.name for path in archive.server_path.iterdir() if path.name != "_mmmeta") == ["a.json"]
