"""What lies below a files root, where archives are unpacked and synced to: one odd file stops nobody, and nothing is read
through it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from archives import Archive

from mmmeta import Metadir
from mmmeta.metadata.generate.walk import Entry, entry_of

FAR = 253_402_300_800 * 10**9
"""The year 10000 in nanoseconds."""


@pytest.mark.parametrize("year", [2_400, 1_902])
def test_a_file_of_any_year_is_read(archive: Archive, year: int) -> None:
    """Whoever packs an archive writes any time into it: metadata files, lines, documents with and without metadata."""
    root = archive.server_path
    archive.write("good")
    archive.write("odd")
    (root / "doc.pdf.json").write_text("{}")
    (root / "doc.pdf").write_bytes(b"x")
    (root / "bare.pdf").write_bytes(b"y")
    (root / "lines.jsonl").write_text('{"content_hash": "line"}\n')
    for name in ("odd.json", "doc.pdf.json", "doc.pdf", "bare.pdf", "lines.jsonl"):
        os.utime(root / name, ns=((year - 1970) * 31_556_952 * 10**9,) * 2)
    for options in ({}, {"ensure": True}, {"ensure_files": True}, {"no_meta": True}):
        report = archive.server.generate(**options)
        assert report.problem_count == 0
    assert {"good", "odd", "line"} < {file.unique_value for file in archive.server.files}
    assert len(archive.server.files) == 5
    assert archive.server.generate(no_meta=True).revision == report.revision


def test_what_no_database_can_hold_is_brought_near() -> None:
    """Times beyond 64 bits of nanoseconds, and inodes with the highest bit, which union file systems and CIFS give."""
    numbers = [0o100644, 2**64 - 2, 1, 1, 0, 0, 7, 0, FAR // 10**9, -FAR // 10**9]
    found = os.stat_result(numbers, {"st_mtime_ns": FAR, "st_ctime_ns": -FAR, "st_atime_ns": 0})
    assert entry_of(b"a", found) == Entry(b"a", 7, 2**63 - 1, -(2**63), -2)


@pytest.mark.parametrize("no_meta", [False, True])
@pytest.mark.parametrize("leads", ["out", "into the metadir"])
def test_no_link_that_leads_out_is_read(archive: Archive, tmp_path: Path, leads: str, no_meta: bool) -> None:
    """Neither as metadata, whose values would be published, nor as a document, whose digest would; named, and what was
    known under these names stays."""
    root = archive.server_path
    names = ("link.json", "link.jsonl", "link.pdf")
    archive.write("plain")
    for number, name in enumerate(names):
        (root / name).write_text(f'{{"content_hash": "before {number}"}}\n')
    archive.server.generate(no_meta=no_meta)
    before = {file.unique_value: dict(file) for file in archive.server.files}
    elsewhere = tmp_path / "elsewhere" if leads == "out" else root / "_mmmeta" / "_store"
    elsewhere.mkdir(exist_ok=True)
    (elsewhere / "secret.json").write_text('{"content_hash": "secret", "password": "secret"}\n')
    for name in names:
        (root / name).unlink()
        (root / name).symlink_to(elsewhere / "secret.json")
    reports = [
        archive.server.generate(no_meta=no_meta, **options) for options in ({}, {"ensure": True}, {"replace": True})
    ]
    named = {problem.source for problem in reports[0].problems}
    assert named == set(names) if no_meta else named == {"link.json", "link.jsonl"}
    assert [report.revision - report.revision_before for report in reports[:2]] == [0, 0]
    assert not any("secret" in str(dict(file)) for file in archive.server.files)
    assert {file.unique_value for file in archive.server.files} < before.keys()


def test_a_link_that_stays_inside_is_read(archive: Archive) -> None:
    """Also where the files root is reached through one itself."""
    root = archive.server_path
    (root / "store").mkdir()
    (root / "store" / "1").write_text('{"content_hash": "linked"}')
    (root / "a.json").symlink_to("store/1")
    through = root.parent / "through"
    through.symlink_to(root)
    for path in (root, through):
        with Metadir(path) as server:
            assert not server.generate().problem_count
            assert [file.unique_value for file in server.files] == ["linked"]
