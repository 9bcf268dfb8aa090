"""A folder as it is: documents with a sidecar that knows neither hash nor name of them."""

from __future__ import annotations

import os
from hashlib import md5, sha1, sha256
from typing import Any

import pytest
from archives import Archive
from sidecars import OLD, configure, document, files, settle, sidecar

from mmmeta.errors import MmmetaError
from mmmeta.metadata.generate.walk import Entry


def test_sidecars_without_a_hash_just_work(archive: Archive) -> None:
    """Both kinds of names; what is derived is marked, and the metadata's own counts."""
    root = archive.server_path
    one = document(root, "letters/Ä b.pdf")
    two = document(root, "top.docx")
    three = document(root, "own.txt")
    sidecar(root, "letters/Ä b.pdf.json", title="A")
    sidecar(root, "top.json", title="B", size=None, name="Mine")
    sidecar(root, "own.txt.json", content_hash="x", mime_type="text/x-mine", size=7, dir="d")
    report = archive.server.generate()
    assert (report.added, report.problem_count) == (3, 0)
    found = files(archive)
    assert found.keys() == {one, two, "x"}
    assert three not in found
    assert found[one] == {
        "content_hash": one,
        "title": "A",
        "_file_name": "Ä b.pdf",
        "size": len("letters/Ä b.pdf".encode()),
        "mime_type": "application/pdf",
        "path": "letters/Ä b.pdf",
        "dir": "letters",
        "name": "Ä b.pdf",
        "metadata_path": "letters/Ä b.pdf.json",
    }
    assert (found[two]["name"], found[two]["dir"], found[two]["size"]) == ("Mine", "", 8)
    assert found["x"] == {
        "content_hash": "x",
        "mime_type": "text/x-mine",
        "size": 7,
        "dir": "d",
        "_file_name": "own.txt",
        "path": "own.txt",
        "name": "own.txt",
        "metadata_path": "own.txt.json",
    }
    marked = {file.unique_value: file.derived for file in archive.server.files}
    assert marked[one] == {
        "content_hash", "_file_name", "size", "mime_type", "path", "dir", "name", "metadata_path",
    }  # fmt: skip
    assert "name" not in marked[two]
    assert marked["x"] == {"_file_name", "path", "name", "metadata_path"}
    archive.sync()
    archive.client.update()
    assert {file.unique_value: file.derived for file in archive.client.files} == marked


def test_what_did_not_change_is_not_opened(archive: Archive, read: list[bytes]) -> None:
    """No document by a generate without news, by one after a change of its metadata, and after scan.db fits no more."""
    root = archive.server_path
    for number in range(5):
        document(root, f"{number}.pdf")
        sidecar(root, f"{number}.pdf.json", title="t")
    settle()
    assert archive.server.generate().added == 5
    assert len(read) == 5
    report = archive.server.generate()
    assert (report.unchanged, report.changed, len(read)) == (5, 0, 5)
    sidecar(root, "3.pdf.json", title="corrected")
    assert archive.server.generate().changed == 1
    archive.server.generate(replace=True)
    assert len(read) == 5
    assert archive.server.generate().unchanged == 5


def test_a_document_that_changes_gets_another_hash(archive: Archive, read: list[bytes]) -> None:
    """In the same size, with its mtime put back, and in the tick of the clock in which it was read."""
    root = archive.server_path
    document(root, "a.pdf", b"one")
    sidecar(root, "a.pdf.json", id=1)
    settle()
    archive.server.generate()
    stamp = (root / "a.pdf").stat()
    settle()
    two = document(root, "a.pdf", b"two")
    os.utime(root / "a.pdf", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    report = archive.server.generate(ensure=True)
    assert (report.added, report.deleted) == (1, 1)
    assert files(archive).keys() == {two}
    assert len(read) == 2


def test_a_document_written_while_it_was_scanned_is_read_again(
    archive: Archive, read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stamps could be the same after another change, as git says."""
    root = archive.server_path
    document(root, "a.pdf")
    sidecar(root, "a.pdf.json")
    os.utime(root / "a.pdf", (OLD, OLD))
    monkeypatch.setattr("mmmeta.metadata.generate.memory._stamp_in", lambda folder: OLD * 10**9)
    archive.server.generate()
    monkeypatch.undo()
    archive.server.generate()
    assert archive.server.generate().unchanged == 1


def test_a_document_that_goes_or_cannot_be_read_is_named(archive: Archive) -> None:
    """And the rest goes on; nothing is deleted, and it is taken back when it is there again."""
    root = archive.server_path
    for name in ("a", "b"):
        document(root, f"{name}.pdf")
        sidecar(root, f"{name}.pdf.json")
    archive.server.generate()
    (root / "a.pdf").unlink()
    for _ in range(2):
        report = archive.server.generate()
        assert [problem.source for problem in report.problems] == ["a.pdf.json"]
        assert "there is no a.pdf beside it" in report.problems[0].reason
        assert len(files(archive)) == 2
    assert archive.server.generate(ensure_files=True).deleted == 1
    document(root, "a.pdf")
    report = archive.server.generate(ensure_files=True)
    assert (report.returned, report.problem_count, len(files(archive))) == (1, 0, 2)


def test_what_was_derived_of_a_document_that_is_gone_stays(archive: Archive) -> None:
    """Where the metadata identifies the file by itself; another document in its place counts."""
    root = archive.server_path
    document(root, "a.pdf", b"123")
    sidecar(root, "a.pdf.json", content_hash="x")
    archive.server.generate()
    (root / "a.pdf").unlink()
    for _ in range(2):
        report = archive.server.generate()
        assert (report.changed, report.unchanged, report.problem_count) == (0, 1, 0)
        assert files(archive)["x"]["size"] == 3
    document(root, "a.pdf", b"12345")
    assert archive.server.generate().changed == 1
    assert files(archive)["x"]["size"] == 5


def test_a_wrong_unique_is_mended_by_mending_it(archive: Archive) -> None:
    """As long as nothing was published; after that it takes ``replace``."""
    document(archive.server_path, "a.pdf")
    sidecar(archive.server_path, "a.json", title="A")
    configure(archive, "metadata: {unique: Path}\n")
    assert archive.server.generate().problem_count == 1
    configure(archive, "metadata: {unique: path}\n")
    report = archive.server.generate()
    assert (report.added, report.problem_count) == (1, 0)
    configure(archive, "metadata: {unique: title}\n")
    with pytest.raises(MmmetaError, match="--replace"):
        archive.server.generate()


def test_a_document_that_is_ignored_is_said_to_be(archive: Archive) -> None:
    """It is there, after all."""
    document(archive.server_path, "drafts/a.pdf")
    document(archive.server_path, "drafts/b.pdf")
    sidecar(archive.server_path, "drafts/a.json", title="A")
    sidecar(archive.server_path, "b.json", _file_name="drafts/c.pdf")
    configure(archive, "ignore: ['*.pdf']\n")
    reasons = {problem.source: problem.reason for problem in archive.server.generate().problems}
    assert "drafts/a.pdf" not in reasons["b.json"]
    assert "a.pdf fits, but is passed over (ignore)" in reasons["drafts/a.json"]


def test_which_digest_is_derived(archive: Archive) -> None:
    """The one that the key or config.yml names; what is no digest is not made one, and the remedy is said."""
    root = archive.server_path
    document(root, "a.pdf", b"1")
    sidecar(root, "a.pdf.json", title="t")
    for rules, expected in (
        ("unique: sha256", sha256(b"1").hexdigest()),
        ("unique: checksum", sha1(b"1", usedforsecurity=False).hexdigest()),
        ("content: fp, unique: fp, digest: md5", md5(b"1", usedforsecurity=False).hexdigest()),
        ("unique: path", "a.pdf"),
        ("unique: metadata_path", "a.pdf.json"),
    ):
        configure(archive, f"metadata: {{{rules}}}\n")
        assert archive.server.generate(replace=True, allow_mass_delete=True).problem_count == 0
        assert list(files(archive)) == [expected]
    configure(archive, "metadata: {unique: foreign_id}\n")
    report = archive.server.generate(replace=True, allow_mass_delete=True)
    assert [str(problem.reason) for problem in report.problems] == [
        "the unique key 'foreign_id' is missing; add it, or set metadata.unique in config.yml: content_hash and path, "
        "for example, are derived from the document"
    ]


def test_deriving_can_be_switched_off(archive: Archive) -> None:
    """Then the metadata has to say all, and what was derived before goes."""
    root = archive.server_path
    document(root, "a.pdf")
    sidecar(root, "a.pdf.json")
    document(root, "b.pdf")
    sidecar(root, "b.pdf.json", content_hash="b")
    archive.server.generate()
    configure(archive, "metadata: {derive: false}\n")
    report = archive.server.generate()
    assert [problem.source for problem in report.problems] == ["a.pdf.json"]
    assert files(archive)["b"] == {"content_hash": "b"}


def test_derived_keys_are_filtered_like_others(archive: Archive) -> None:
    """``exclude``, ``include`` and ``required`` mean them too."""
    document(archive.server_path, "a.pdf")
    sidecar(archive.server_path, "a.pdf.json", title="t")
    configure(archive, "metadata: {exclude: [mime_type, dir, metadata_path], required: [size, path]}\n")
    assert archive.server.generate().problem_count == 0
    (found,) = files(archive).values()
    assert found.keys() == {"content_hash", "title", "_file_name", "size", "path", "name"}
    configure(archive, "metadata: {include: [title]}\n")
    archive.server.generate()
    (found,) = files(archive).values()
    assert found.keys() == {"content_hash", "title", "_file_name"}


def test_a_value_of_its_own_takes_the_mark_away(archive: Archive) -> None:
    """Also where it is the same, and back again."""
    digest = document(archive.server_path, "a.pdf")
    sidecar(archive.server_path, "a.pdf.json")
    archive.server.generate()
    sidecar(archive.server_path, "a.pdf.json", content_hash=digest)
    archive.server.generate()
    assert "content_hash" not in next(iter(archive.server.files)).derived
    sidecar(archive.server_path, "a.pdf.json")
    archive.server.generate()
    assert "content_hash" in next(iter(archive.server.files)).derived


def test_complete_metadata_costs_no_look_at_its_document(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is comes from the folder's names."""
    root = archive.server_path
    document(root, "a.pdf")
    sidecar(
        root, "a.json", content_hash="a", _file_name="a.pdf", headers={"content-type": "x/y", "content-length": "1"}
    )

    def refuse(key: bytes, found: os.stat_result) -> Entry:
        raise AssertionError(key)

    monkeypatch.setattr("mmmeta.metadata.generate.derive.entry_of", refuse)
    archive.server.generate()
    assert files(archive)["a"]["path"] == "a.pdf"
    real = os.stat

    def stat(path: Any, **options: Any) -> os.stat_result:
        assert b"a.pdf" not in os.fsencode(path)
        return real(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    assert archive.server.generate().unchanged == 1
