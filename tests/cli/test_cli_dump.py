"""dump: everything, as JSON lines and CSV, on stdout and into a file."""

from __future__ import annotations

import csv
import errno
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cli_support import Run, write


def test_dump_writes_everything(server: Path, run: Run) -> None:
    """As JSON lines with types kept, and as CSV."""
    rows = [json.loads(line) for line in run("--metadir", server, "dump").stdout.splitlines()]
    assert [row["content_hash"] for row in rows] == ["a1", "b2", "c3"]
    assert (rows[0]["n"], rows[0]["public"], rows[1]["tags"]) == ("00123", True, ["x"])
    assert rows[2]["publisher:name"] == "Land"
    assert not [key for key in rows[0] if key.startswith("__")]
    table = list(csv.DictReader(run("--metadir", server, "dump", "--csv").stdout.splitlines()))
    assert [row["title"] for row in table] == ["Lease", "Report, with [red] comma", "Sale"]
    assert (table[0]["public"], table[1]["public"], table[1]["tags"]) == ("true", "", '["x"]')


def test_dump_into_a_file(server: Path, tmp_path: Path, run: Run) -> None:
    """The file appears whole, filters and columns apply."""
    run("--metadir", server, "dump", "pages>10", "--columns", "pages,title", "-o", tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text().splitlines()[1] == '{"pages":40,"title":"Sale"}'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "out.jsonl", "server"]


def test_format_says_where_documents_are_and_how_far_jobs_are(ran: Path, run: Run, server: Path) -> None:
    """Under names that no metadata key has; in --json and --csv only where they are asked for by name."""
    text = run("dump", "--format", "jsonl").stdout
    rows = {row["content_hash"]: row for row in map(json.loads, text.splitlines())}
    assert [row["__job:contracts"] for row in rows.values()] == ["done", None, "done"]
    assert [row["__job:everything"] for row in rows.values()] == ["done", "failed", "done"]
    assert {row["__path"] for row in rows.values()} == {None}  # a client without documents
    table = list(csv.DictReader(run("dump", "--format", "csv").stdout.splitlines()))
    assert [row["__job:everything"] for row in table] == ["done", "failed", "done"]
    assert list(table[0])[-3:] == ["__path", "__job:contracts", "__job:everything"]
    assert "__job" not in run("dump", "--csv").stdout + run("dump").stdout
    one = run("dump", "pages=12", "--columns", "__job:everything,title,__path").stdout
    assert one == '{"__job:everything":"failed","title":"Report, with [red] comma","__path":null}\n'
    first = json.loads(run("--metadir", server, "dump", "--format", "jsonl").stdout.splitlines()[0])
    assert first["__path"] == str(server / "a1.txt")


def test_path_is_where_a_job_has_put_the_document(project: Path, run: Run, server: Path) -> None:
    """Before where it lies at the remote; nothing again while it is to be done anew."""
    project.write_text(
        "version: 1\nmetadirs:\n  archive:\n    path: ./client\n    files_root: ./server\n    jobs:\n"
        "      documents: {where: {document_type: contract}, download: {to: ./down, name: '{title}.txt'}}\n"
    )
    before = [json.loads(line) for line in run("dump", "--format", "jsonl").stdout.splitlines()]
    assert [row["__path"] for row in before] == [str(server / f"{name}.txt") for name in ("a1", "b2", "c3")]
    assert {row["__job:documents"] for row in before} == {None}
    run("run", code=None)
    down = project.parent / "down"
    after = [json.loads(line) for line in run("dump", "--format", "jsonl").stdout.splitlines()]
    assert [row["__path"] for row in after] == [str(down / "Lease.txt"), str(server / "b2.txt"), str(down / "Sale.txt")]


def test_a_path_of_the_remotes_is_believed_only_below_the_files_root(server: Path, run: Run) -> None:
    """What metadata names elsewhere on this machine is nobody's document."""
    write(server, "d4.json", {"content_hash": "d4", "public_url": "/etc/passwd", "_file_name": "x"})
    run("--metadir", server, "generate")
    rows = [json.loads(line) for line in run("--metadir", server, "dump", "--format", "jsonl").stdout.splitlines()]
    assert rows[-1]["__path"] is None


def test_out_is_written_aside(server: Path, tmp_path: Path, run: Run) -> None:
    """A folder is refused before the work, a link stays one, - is stdout."""
    assert "is a folder" in run("--metadir", server, "dump", "--out", tmp_path, code=2).stderr
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    run("--metadir", server, "dump", "--format", "csv", "--out", tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("content_hash,")
    assert len(run("--metadir", server, "dump", "--out", "-").stdout.splitlines()) == 3
    assert "its folder is not there" in run("--metadir", server, "dump", "--out", tmp_path / "no" / "x", code=2).stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "link.csv", "real.csv", "server"]


def test_out_keeps_what_is_no_file_and_who_may_read_it(server: Path, tmp_path: Path, run: Run) -> None:
    """A pipe stays a pipe and gets the rows; a file that others may not read does not become one that they may."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        run("--metadir", server, "dump", "--out", pipe)
        assert len(os.read(reader, 10_000).splitlines()) == 3
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    (tmp_path / "mine.csv").touch(mode=0o600)
    run("--metadir", server, "dump", "--csv", "--out", tmp_path / "mine.csv")
    assert (tmp_path / "mine.csv").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "mine.csv", "pipe", "server"]


@pytest.mark.parametrize("name", ["_mmmeta/meta.db", "_mmmeta/new.csv", "a1.json", "sub/export.JSONL", "mine.db"])
def test_out_does_not_write_over_what_is_needed(server: Path, run: Run, name: str) -> None:
    """A metadir's own files and databases; and at a server nothing that generate would take for metadata."""
    (server / "sub").mkdir()
    with closing(sqlite3.connect(server / "mine.db")) as database:
        database.execute("CREATE TABLE t (a)")
    before = {path: path.read_bytes() for path in server.rglob("*") if path.is_file()}
    assert "another" in run("--metadir", server, "dump", "--out", server / name, code=2).stderr
    assert {path: path.read_bytes() for path in server.rglob("*") if path.is_file()} == before


def test_a_full_disk_is_named(server: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the file that did not fit; nothing is left of it, and the older one stays."""
    (tmp_path / "out.csv").write_text("older")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("mmmeta.cli.out.os.fsync", full)
    error = run("--metadir", server, "dump", "--csv", "--out", tmp_path / "out.csv", code=1).stderr
    assert f"{tmp_path / 'out.csv'} cannot be written: No space left on device" in error
    assert (tmp_path / "out.csv").read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "out.csv", "server"]


def test_a_form_is_said_once(server: Path, run: Run) -> None:
    assert "leave --json and --csv out" in run("--metadir", server, "dump", "--format", "csv", "--csv", code=2).stderr


def test_a_mistyped_job_is_no_empty_column(ran: Path, run: Run) -> None:
    text = run("dump", "--columns", "title,__job:contract", code=2).stderr
    assert "Did you mean '__job:contracts'" in text
