"""What lies below a files root, where archives are unpacked and synced to: one odd file stops nobody, and nothing is read
through it."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
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


ENDLESS = """
import sys
from mmmeta import Metadir
with Metadir(sys.argv[1]) as server:
    print("begins", flush=True)
    server.generate(no_meta=len(sys.argv) > 2)
"""


@pytest.mark.parametrize("options", [[], ["no_meta"]])
def test_a_document_without_an_end_is_left_at_ctrl_c(archive: Archive, options: list[str]) -> None:
    """At once, not when it has been read."""
    root = archive.server_path
    (root / "a.pdf.json").write_text("{}")
    for name in ("a.pdf", "b.pdf"):
        with (root / name).open("wb") as file:
            file.truncate(1 << 42)
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(root), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        try:
            _, said = process.communicate(timeout=20)
        finally:
            process.kill()
    assert said.rstrip().endswith(b"KeyboardInterrupt")


@pytest.mark.parametrize("no_meta", [False, True])
def test_a_document_that_changes_while_it_is_read_is_set_aside(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, no_meta: bool
) -> None:
    """Else the digest of what never was there would be published, as a file of its own; the next generate has it."""
    root = archive.server_path
    archive.write("good")
    (root / "a.pdf").write_bytes(b"1" * 1_000_000)
    if not no_meta:
        (root / "a.pdf.json").write_text("{}")

    readv = os.readv

    def meanwhile(handle: int, buffers: Sequence[memoryview]) -> int:
        """A writer comes by when the first part has been read."""
        count = readv(handle, buffers)
        with open(root / "a.pdf", "r+b") as writing:
            writing.seek(999_000)
            writing.write(b"new")
        os.utime(root / "a.pdf")
        return count

    time.sleep(0.02)
    with monkeypatch.context() as patched:
        patched.setattr(os, "readv", meanwhile)
        report = archive.server.generate(no_meta=no_meta)
    assert report.problem_count == 1
    assert "changed while it was read" in str(report.problems[0])
    assert [file.unique_value for file in archive.server.files] == ["good"]
    report = archive.server.generate(no_meta=no_meta)
    assert (report.added, report.problem_count) == (1, 0)
    digest = hashlib.sha1((root / "a.pdf").read_bytes()).hexdigest()
    assert {file.unique_value for file in archive.server.files} == {"good", digest}
