"""JSON Lines: a record a line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from archives import Archive

from mmmeta.metadata.generate import lines
from mmmeta.metadata.generate.walk import display_path, keys_of


def configure(archive: Archive, text: str) -> None:
    """Write config.yml."""
    metadir = archive.server_path / "_mmmeta"
    metadir.mkdir(exist_ok=True)
    (metadir / "config.yml").write_text(text, encoding="utf-8")


def put(archive: Archive, name: str, *records: Any, mtime: float = 1) -> Path:
    """Write lines: records, or bytes as they are."""
    path = archive.server_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in records))
    os.utime(path, (mtime, mtime))
    return path


def record(name: str, **keys: Any) -> dict[str, Any]:
    """A file's metadata."""
    return {"content_hash": name, **keys}


def sources(archive: Archive) -> dict[str, str | None]:
    """Unique value → source of the alive files."""
    return {file.unique_value: file.source for file in archive.server.files}


def read_counted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Paths of JSON Lines that are opened from now on."""
    opened: list[bytes] = []
    numbered = lines._numbered
    monkeypatch.setattr(lines, "_numbered", lambda path: (opened.append(path), numbered(path))[1])
    return opened


@pytest.mark.parametrize("name", ["crawl.jsonl", "sub/crawl.JSONL", "a.b.jsonl"])
def test_each_line_is_a_record(archive: Archive, name: str) -> None:
    """Its source says which line; other metadata files are as ever."""
    put(archive, name, record("a", n=1), record("b", x={"y": True}))
    archive.write("c")
    report = archive.server.generate()
    assert (report.added, report.problem_count, report.total) == (3, 0, 3)
    assert sources(archive) == {"a": f"{name}:1", "b": f"{name}:2", "c": "c.json"}
    found = archive.server.files.get("b")
    assert found is not None
    assert found["x:y"] is True
    assert archive.server.generate().unchanged == 3


def test_json_files_may_have_lines_too(archive: Archive) -> None:
    """``metadata: {lines: true}``; changing it means that they are read again."""
    put(archive, "crawl.json", record("a"), record("b"))
    archive.write("c")
    report = archive.server.generate()
    assert (report.added, report.problem_count) == (1, 1)
    configure(archive, "metadata: {lines: true}")
    report = archive.server.generate()
    assert (report.added, report.problem_count) == (2, 0)
    assert sources(archive) == {"a": "crawl.json:1", "b": "crawl.json:2", "c": "c.json:1"}
    configure(archive, "metadata: {lines: false}")
    report = archive.server.generate(ensure=True)
    assert report.problem_count == 1
    assert sources(archive) == {"a": "crawl.json:1", "b": "crawl.json:2", "c": "c.json"}  # set aside, and left


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"content_hash": "a"}\r\n{"content_hash": "b"}\r\n', {"a": 1, "b": 2}),
        (b'\xef\xbb\xbf{"content_hash": "a"}\n{"content_hash": "b"}', {"a": 1, "b": 2}),
        (b'\n  \n{"content_hash": "a"}\n\r\n\t\n{"content_hash": "b"}\n\n', {"a": 3, "b": 6}),
        (b'{"content_hash": "a"}\n\xef\xbb\xbf{"content_hash": "b"}\n', {"a": 1, "b": 2}),
        (b'{"content_hash": "a"}\n\xef\xbb\xbf\n', {"a": 1}),
        (b"", {}),
        (b"\n\n", {}),
    ],
    ids=["crlf", "bom", "blank", "bom within", "bom alone", "empty", "only blank"],
)
def test_what_may_stand_between_lines(archive: Archive, data: bytes, found: dict[str, int]) -> None:
    """Is no problem, and counted."""
    (archive.server_path / "a.jsonl").write_bytes(data)
    report = archive.server.generate()
    assert (report.added, report.problem_count, report.notes) == (len(found), 0, ())
    assert sources(archive) == {name: f"a.jsonl:{line}" for name, line in found.items()}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"content_hash": "x"', "not valid JSON"),
        (b"[1]", "the line holds a list"),
        (b'"x"', "one {…} a line"),
        (b'{"title": "x"}', "unique key"),
        (b'{"content_hash": "x\xff"}', "the line is not UTF-8"),
        (b'{"content_hash": "x", "n": NaN}', "NaN"),
    ],
)
def test_a_broken_line_is_set_aside_alone(archive: Archive, line: bytes, reason: str) -> None:
    """It is named with its number, each time, and mended it comes in."""
    put(archive, "a.jsonl", record("a"), b"", line, record("b"))
    for _ in range(2):
        report = archive.server.generate(ensure=True)
        assert (report.problem_count, report.total) == (1, 2)
        assert report.problems[0].source == "a.jsonl:3"
        assert reason in str(report.problems[0])
    put(archive, "a.jsonl", record("a"), b"", record("c"), record("b"), mtime=2)
    report = archive.server.generate(ensure=True)
    assert (report.problem_count, report.added, report.unchanged, report.deleted) == (0, 1, 2, 0)


def test_what_a_broken_line_said_is_left(archive: Archive) -> None:
    """As with a metadata file that cannot be read any more."""
    put(archive, "a.jsonl", record("a"), record("b"), record("c"))
    archive.server.generate()
    put(archive, "a.jsonl", record("a"), b"{", record("c"), mtime=2)
    report = archive.server.generate(ensure=True)
    assert (report.deleted, report.problem_count) == (0, 1)
    put(archive, "a.jsonl", record("a"), record("c"), mtime=3)
    assert archive.server.generate(ensure=True).deleted == 1
    assert sources(archive) == {"a": "a.jsonl:1", "c": "a.jsonl:2"}


def test_a_file_that_did_not_change_is_not_read(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under ensure neither; and one that changed costs that one."""
    put(archive, "a.jsonl", record("a"), record("b"), record("b", n=1))
    put(archive, "b.jsonl", record("c"), record("a"))
    archive.server.generate()
    first = archive.server.generate()
    opened = read_counted(monkeypatch)
    report = archive.server.generate(ensure=True)
    assert (opened, report.unchanged, report.duplicates) == ([], 3, 2)
    assert (report.unchanged, report.duplicates) == (first.unchanged, first.duplicates)
    put(archive, "b.jsonl", record("c", n=1), record("a"))
    report = archive.server.generate(ensure=True)
    assert {os.path.basename(path) for path in opened} == {b"b.jsonl"}
    assert (report.changed, report.unchanged, report.duplicates) == (1, 2, 2)


def test_lines_that_are_gone(archive: Archive) -> None:
    """Kept without ensure, deleted with it; back they return."""
    names = [f"f{number}" for number in range(8)]
    put(archive, "a.jsonl", *map(record, names))
    archive.server.generate()
    put(archive, "a.jsonl", *map(record, names[2:]), mtime=2)
    report = archive.server.generate()
    assert (report.deleted, report.changed, report.unchanged, report.notes) == (0, 0, 6, ())
    assert archive.server.generate(ensure=True).deleted == 2
    assert sources(archive) == {name: f"a.jsonl:{number + 1}" for number, name in enumerate(names[2:])}
    put(archive, "a.jsonl", *map(record, names), mtime=3)
    assert archive.server.generate(ensure=True).returned == 2
    (archive.server_path / "a.jsonl").unlink()
    assert archive.server.generate(ensure=True, allow_mass_delete=True).deleted == 8


def test_a_file_that_was_renamed_moves_its_records(archive: Archive) -> None:
    """Nothing is deleted and nothing new."""
    path = put(archive, "a.jsonl", record("a"), record("b"))
    archive.server.generate()
    path.rename(archive.server_path / "b.jsonl")
    report = archive.server.generate(ensure=True)
    assert (report.deleted, report.added, report.changed, report.notes) == (0, 0, 0, ("2 metadata files moved",))
    assert sources(archive) == {"a": "b.jsonl:1", "b": "b.jsonl:2"}


def test_of_lines_with_one_unique_value_the_last_counts(archive: Archive) -> None:
    """However far apart they are, and with the tenth after the ninth; a file that is read again changes nothing."""
    many = [record(f"f{number}") for number in range(130)]
    path = put(archive, "a.jsonl", record("x", n=1), *many, record("x", n=2), *many, record("x", n=3))
    report = archive.server.generate()
    assert (report.added, report.duplicates, report.unchanged) == (131, 132, 0)
    assert any(
        str(shared).startswith("x: a.jsonl:263 counts, not a.jsonl:1, a.jsonl:132") for shared in report.shared
    ) or (len(report.shared) == 20)
    found = archive.server.files.get("x")
    assert found is not None
    assert (found["n"], found.source) == (3, "a.jsonl:263")
    os.utime(path, (2, 2))
    report = archive.server.generate(ensure=True)
    assert (report.revision, report.unchanged, report.duplicates) == (1, 131, 132)


def test_between_metadata_files_the_newest_counts(archive: Archive) -> None:
    """All lines of a file are as old as the file."""
    put(archive, "a.jsonl", record("x", n=1), record("y", n=1), mtime=10)
    os.utime(archive.write("x", n=2), (20, 20))
    os.utime(archive.write("z/y", {"content_hash": "y", "n": 2}), (5, 5))
    archive.server.generate()
    assert sources(archive) == {"x": "x.json", "y": "a.jsonl:2"}
    put(archive, "a.jsonl", record("w"), record("x", n=1), record("y", n=1), mtime=30)
    assert archive.server.generate().duplicates == 2
    assert sources(archive) == {"w": "a.jsonl:1", "x": "a.jsonl:2", "y": "a.jsonl:3"}
    os.utime(archive.write("x", n=3), (25, 25))
    assert archive.server.generate().changed == 0


def test_another_file_takes_over_under_ensure(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lines are looked for once, however many they are."""
    names = [f"f{number}" for number in range(60)]
    put(archive, "old.jsonl", *(record(name, n=1) for name in names), mtime=1)
    put(archive, "new.jsonl", *(record(name, n=2) for name in names), mtime=2)
    archive.server.generate()
    archive.server.generate()
    (archive.server_path / "new.jsonl").unlink()
    opened = read_counted(monkeypatch)
    report = archive.server.generate(ensure=True)
    assert (report.changed, report.deleted, len(opened)) == (60, 0, 1)
    assert sources(archive)["f7"] == "old.jsonl:8"


def test_documents_of_lines(archive: Archive) -> None:
    """They lie beside the file with the lines; what was changed and moved to another line meanwhile counts."""
    put(archive, "s/a.jsonl", record("a", _file_name="a.pdf", n=1), record("b", _file_name="b.pdf"))
    for name in ("a.pdf", "b.pdf"):
        (archive.server_path / "s" / name).write_bytes(b"x")
    assert archive.server.generate(ensure_files=True).deleted == 0
    (archive.server_path / "s" / "a.pdf").unlink()
    assert archive.server.generate(ensure_files=True).deleted == 1
    put(archive, "s/a.jsonl", record("b", _file_name="b.pdf"), record("a", _file_name="a.pdf", n=2), mtime=2)
    archive.server.generate()
    (archive.server_path / "s" / "a.pdf").write_bytes(b"x")
    assert archive.server.generate(ensure_files=True).returned == 1
    found = archive.server.files.get("a")
    assert found is not None
    assert (found["n"], found.source) == (2, "s/a.jsonl:2")


def test_a_file_deleted_by_hand_stays_so_when_its_line_moves(archive: Archive) -> None:
    """Only other metadata brings it back."""
    put(archive, "a.jsonl", record("a"), record("b"))
    archive.server.generate()
    archive.server.files.delete(content_hash="b")
    put(archive, "a.jsonl", record("c"), record("a"), record("b"), mtime=2)
    report = archive.server.generate()
    assert (report.returned, report.added, report.unchanged) == (0, 1, 1)
    put(archive, "a.jsonl", record("c"), record("a"), record("b", n=1), mtime=3)
    assert archive.server.generate().returned == 1


def test_dates_of_lines(archive: Archive) -> None:
    """Named by line, once, where lines of one unique value are many."""
    configure(archive, 'dates: {date: ["%d.%m.%Y"]}')
    put(archive, "a.jsonl", record("a", date="spring"), record("b", date="01.03.2026"), record("a", date="fall"))
    for _ in range(2):
        report = archive.server.generate(ensure=True)
        assert [(problem.source, problem.key) for problem in report.problems] == [("a.jsonl:3", "date")]


def test_a_line_that_is_too_long_is_passed_over(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not held, and the next one is read."""
    monkeypatch.setattr(lines, "LARGEST", 1_000)
    put(archive, "a.jsonl", record("a"), record("b", text="x" * 5_000_000), record("c"))
    report = archive.server.generate()
    assert (report.added, report.problems[0].source) == (2, "a.jsonl:2")
    put(archive, "a.jsonl", record("a"), record("b", text="x" * 5_000), mtime=2)
    assert archive.server.generate().problems[0].source == "a.jsonl:2"


def test_a_file_in_utf16_is_one_problem(archive: Archive) -> None:
    """And not one a line."""
    (archive.server_path / "a.jsonl").write_text('{"content_hash": "a"}\n' * 10, encoding="utf-16")
    report = archive.server.generate()
    assert [problem.source for problem in report.problems] == ["a.jsonl"]


def test_a_file_that_becomes_unreadable_deletes_nothing(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lines are left as they were."""
    put(archive, "a.jsonl", record("a"), record("b"))
    archive.server.generate()

    def fail(path: bytes) -> Any:
        raise OSError(5, "Input/output error")
        yield

    with monkeypatch.context() as broken:
        broken.setattr(lines, "_numbered", fail)
        os.utime(archive.server_path / "a.jsonl", (2, 2))
        report = archive.server.generate(ensure=True)
        assert (report.deleted, report.problem_count) == (0, 1)
        assert archive.server.generate(ensure=True).deleted == 0
    assert archive.server.generate(ensure=True).unchanged == 2


def test_ignored_lines_are_gone(archive: Archive) -> None:
    """As any metadata file."""
    put(archive, "a.jsonl", record("a"))
    archive.write("b")
    archive.server.generate()
    configure(archive, "ignore: ['*.jsonl']")
    assert archive.server.generate(ensure=True).deleted == 1
    configure(archive, "")
    assert archive.server.generate(ensure=True).returned == 1


def test_no_meta_reads_lines_too(archive: Archive) -> None:
    """And describes a document whose name looks like a line's source."""
    put(archive, "a.jsonl", record("a"))
    (archive.server_path / "a.jsonl:1").write_bytes(b"x")
    assert archive.server.generate(no_meta=True).added == 2
    assert archive.server.generate(no_meta=True, ensure=True).unchanged == 2
    (archive.server_path / "a.jsonl:1").unlink()
    assert archive.server.generate(no_meta=True, ensure=True).deleted == 1


def test_lines_are_told_by_their_documents_too(archive: Archive) -> None:
    """What they lack is derived, follows the document, and is not described once more by no_meta."""
    (archive.server_path / "s").mkdir()
    document = archive.server_path / "s" / "x.pdf"
    document.write_bytes(b"abc")
    (archive.server_path / "s" / "lone.pdf").write_bytes(b"lone")
    put(archive, "s/a.jsonl", {"_file_name": "x.pdf", "title": "X"}, {"_file_name": "y.pdf"}, {"title": "none"})
    report = archive.server.generate()
    assert (report.added, report.problem_count) == (1, 2)
    assert [problem.source for problem in report.problems] == ["s/a.jsonl:2", "s/a.jsonl:3"]
    found = archive.server.files.get("a9993e364706816aba3e25717850c26c9cd0d89d")
    assert found is not None
    assert (found["path"], found["size"], found["metadata_path"]) == ("s/x.pdf", 3, "s/a.jsonl:1")
    put(archive, "s/a.jsonl", {"_file_name": "x.pdf", "title": "X"}, mtime=2)
    archive.server.generate()
    assert archive.server.generate().unchanged == 1
    assert archive.server.generate(no_meta=True).added == 1  # lone.pdf
    document.write_bytes(b"abcd")
    report = archive.server.generate()
    assert (report.added, report.problem_count) == (1, 0)


@pytest.mark.parametrize("source", ["a.jsonl:17", "x/ä.JSON:1", "a.json", "a.jsonl", "a:1/b.json", "a.jsonl:0"])
def test_keys_and_sources_are_each_other_back(source: str) -> None:
    """Whatever the path is like."""
    assert source in {display_path(key) for key in keys_of(source)}
