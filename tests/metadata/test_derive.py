"""A folder as it is: documents with a sidecar that knows neither hash nor name of them."""

from __future__ import annotations

import json
import os
import time
import unicodedata
from hashlib import md5, sha1, sha256
from pathlib import Path
from typing import Any

import pytest
from archives import Archive

from mmmeta.errors import MmmetaError
from mmmeta.metadata.generate import hashing
from mmmeta.metadata.generate.walk import Entry

OLD = 1_700_000_000


def document(root: Path, name: str, content: bytes | None = None) -> str:
    """Write a document; returns its SHA-1."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = name.encode() if content is None else content
    path.write_bytes(data)
    return sha1(data, usedforsecurity=False).hexdigest()


def sidecar(root: Path, name: str, /, **keys: Any) -> Path:
    """Write a metadata file under just this name."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(keys))
    return path


def configure(archive: Archive, text: str) -> None:
    """Write config.yml."""
    archive.server.layout.metadir.mkdir(exist_ok=True)
    archive.server.layout.config.write_text(text)


def files(archive: Archive) -> dict[str, dict[str, Any]]:
    """The server's files."""
    return {file.unique_value: dict(file) for file in archive.server.files}


def settle() -> None:
    """What is written from here on has another stamp than what was written before."""
    time.sleep(0.02)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The keys of the documents that were read."""
    keys: list[bytes] = []
    real = hashing.hash_document

    def counted(key: bytes, *more: Any) -> hashing.Hashed:
        keys.append(key)
        return real(key, *more)

    monkeypatch.setattr(hashing, "hash_document", counted)
    return keys


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


@pytest.mark.parametrize("special", ["pipe", "folder", "link out", "link into the metadir", "dangling", "loop"])
def test_what_is_no_document_is_not_opened(archive: Archive, tmp_path: Path, special: str) -> None:
    """It is named; nothing outside the files root is read, and nothing waits."""
    root = archive.server_path
    (tmp_path / "secret").write_text("secret")
    path = root / "a.pdf"
    if special == "pipe":
        os.mkfifo(path)
    elif special == "folder":
        path.mkdir()
    else:
        target = {
            "link out": tmp_path / "secret",
            "link into the metadir": root / "_mmmeta" / "config.yml",
            "dangling": root / "nothing",
            "loop": path,
        }[special]
        path.symlink_to(target)
    configure(archive, "metadata: {}\n")
    sidecar(root, "a.pdf.json")
    report = archive.server.generate()
    assert report.added == 0
    assert "a.pdf.json" in {problem.source for problem in report.problems}


def test_a_link_that_stays_inside_is_a_document(archive: Archive) -> None:
    """Hashed where it leads; a change there is seen."""
    root = archive.server_path
    one = document(root, "store/1", b"1")
    (root / "a.pdf").symlink_to("store/1")
    sidecar(root, "a.pdf.json")
    archive.server.generate()
    assert files(archive).keys() == {one}
    settle()
    two = document(root, "store/1", b"2")
    archive.server.generate(ensure=True)
    assert files(archive).keys() == {two}


@pytest.mark.parametrize(
    "name", ["../outside.pdf", "/etc/passwd", "sub/../../outside.pdf", "_mmmeta/config.yml", "a\0b", ".", ""]
)
def test_a_file_name_never_leads_out(archive: Archive, name: str) -> None:
    """Set aside with its reason; the sidecar's own name counts where it leads to a document."""
    root = archive.server_path
    document(archive.root, "outside.pdf")
    configure(archive, "metadata: {}\n")
    sidecar(root, "a.json", _file_name=name)
    own = document(root, "b.pdf")
    sidecar(root, "b.json", _file_name=name)
    report = archive.server.generate()
    assert [problem.source for problem in report.problems] == ["a.json"]
    assert files(archive).keys() == {own}


def test_the_file_name_is_relative_to_the_sidecar_or_to_the_root(archive: Archive) -> None:
    """Beside it counts first; another key may be configured."""
    root = archive.server_path
    configure(archive, "metadata: {file_name: document}\n")
    near = document(root, "meta/x.pdf", b"near")
    document(root, "x.pdf", b"far")
    far = document(root, "docs/y.pdf")
    above = document(root, "docs/z.pdf")
    sidecar(root, "meta/1.json", document="x.pdf")
    sidecar(root, "meta/2.json", document="docs/y.pdf")
    sidecar(root, "meta/3.json", document="../docs/z.pdf")
    report = archive.server.generate()
    assert report.problem_count == 0
    assert {file: found["path"] for file, found in files(archive).items()} == {
        near: "meta/x.pdf",
        far: "docs/y.pdf",
        above: "docs/z.pdf",
    }
    assert archive.server.generate(ensure_files=True).deleted == 0


NFC, NFD = (unicodedata.normalize(form, "Übergröße é") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        (f"{NFC}.pdf", f"{NFD}.pdf.json"),
        (f"{NFD}.pdf", f"{NFC}.json"),
        ("a.PDF", "A.pdf.json"),
        ("A.pdf", "a.json"),
        ("a.tar.gz", "a.json"),
        ("a.data.pdf", "a.json"),
        ("a", "a.json"),
        (".hidden", ".hidden.json"),
        ("Report 3.5.pdf", "Report 3.5.json"),
        ("a.json", "a.json.json"),
    ],
)
def test_names_in_another_form_are_found(archive: Archive, name: str, beside: str) -> None:
    """Unicode, case, several suffixes, none, and a document that is JSON itself."""
    digest = document(archive.server_path, name, b"[1]")
    sidecar(archive.server_path, beside)
    report = archive.server.generate()
    assert report.problems == ()
    assert {file: found["path"] for file, found in files(archive).items()} == {
        digest: unicodedata.normalize("NFC", name)
    }
    assert archive.server.generate().unchanged == 1


def test_several_documents_that_fit_are_a_named_problem(archive: Archive) -> None:
    """Unless all but one have a sidecar of their own."""
    root = archive.server_path
    for name in ("a.pdf", "a.docx", "b.pdf", "b.docx", "c.PDF", "C.pdf"):
        document(root, name)
    for name in ("a.json", "b.json", "b.docx.json", "c.pdf.json"):
        sidecar(root, name)
    report = archive.server.generate()
    assert {problem.source: problem.reason.rpartition(": ")[2] for problem in report.problems} == {
        "a.json": "several documents fit its name (a.docx, a.pdf)",
        "c.pdf.json": "several documents fit its name (C.pdf, c.PDF)",
    }
    assert {found["path"] for found in files(archive).values()} == {"b.pdf", "b.docx"}


def test_what_has_taken_the_place_of_a_document_is_not_it(archive: Archive) -> None:
    """x.pdf.json is about x.pdf, not about x.pdf.bak."""
    document(archive.server_path, "x.pdf.bak")
    sidecar(archive.server_path, "x.pdf.json")
    assert archive.server.generate().problem_count == 1


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


def test_no_meta_and_sidecars_together(archive: Archive, read: list[bytes]) -> None:
    """Documents without a sidecar are described, sidecars are no documents; a sidecar that comes or goes is followed."""
    root = archive.server_path
    for name in ("a.pdf", "b.pdf", "c.pdf", "data.json"):
        document(root, name, b"[1]" if name == "data.json" else None)
    sidecar(root, "a.pdf.json", title="A")
    sidecar(root, "meta/1.json", title="C", _file_name="c.pdf")
    settle()
    report = archive.server.generate(no_meta=True)
    assert (report.added, report.problem_count, report.duplicates) == (4, 0, 0)
    found = {file["path"]: file.get("title") for file in archive.server.files}
    assert found == {"a.pdf": "A", "b.pdf": None, "c.pdf": "C", "data.json": None}
    read.clear()
    report = archive.server.generate(no_meta=True)
    assert (report.unchanged, report.changed, read) == (4, 0, [])
    sidecar(root, "b.json", title="B")
    report = archive.server.generate(no_meta=True, ensure=True)
    assert (report.changed, report.unchanged, report.deleted, report.duplicates) == (1, 3, 0, 0)
    (root / "a.pdf.json").unlink()
    report = archive.server.generate(no_meta=True, ensure=True)
    assert (report.total, report.deleted, report.duplicates) == (4, 0, 0)
    found = {file["path"]: file.get("title") for file in archive.server.files}
    assert found == {"a.pdf": None, "b.pdf": "B", "c.pdf": "C", "data.json": None}
    (root / "b.json").write_text("{broken")
    report = archive.server.generate(no_meta=True)
    assert [problem.source for problem in report.problems] == ["b.json"]
    assert {file["path"]: file.get("title") for file in archive.server.files} == found


def test_a_sidecar_without_its_document_is_no_document(archive: Archive) -> None:
    """Whose name or file name says that it is one, and what is no JSON at all, is set aside under ``no_meta``, too."""
    root = archive.server_path
    for name in ("a.pdf", "b.PDF", "c.pdf", "d.pdf", "other.pdf"):
        document(root, name)
    sidecar(root, "d.json", title="D")
    sidecar(root, "a.pdf.json", title="A")
    sidecar(root, "b.PDF.JSON", title="B")
    sidecar(root, "meta/1.json", title="C", _file_name="../c.pdf")
    for name, content in (("data.json", b'{"rows": []}'), ("list.json", b"[1]"), ("bad.json", b'{"title": ')):
        document(root, name, content)
    settle()
    report = archive.server.generate(no_meta=True)
    assert (report.added, [problem.source for problem in report.problems]) == (7, ["bad.json"])
    for name in ("a.pdf", "b.PDF", "c.pdf", "d.pdf"):
        (root / name).unlink()
    for ensure in (False, True, True):
        if ensure:
            archive.server.layout.scan_db.unlink()  # what is known without it counts
        report = archive.server.generate(no_meta=True, ensure=ensure, ensure_files=True)
        sources = sorted(problem.source for problem in report.problems)
        assert sources == ["a.pdf.json", "b.PDF.JSON", "bad.json", "d.json", "meta/1.json"]
        found = {file["path"] for file in archive.server.files}
        assert found == {"other.pdf", "data.json", "list.json"}
    (root / "a.pdf.json").write_text("{broken")
    sidecar(root, "bad.json.json", title="a document that is called JSON")
    report = archive.server.generate(no_meta=True)
    assert (report.added, report.problem_count) == (1, 4)


def test_which_metadata_files_lose_is_named_within_bounds(archive: Archive) -> None:
    """The newest counts; the first of the others are named, and all are counted."""
    for number in range(30):
        path = sidecar(archive.server_path, f"{number:02}.json", content_hash="same")
        os.utime(path, (OLD + number, OLD + number))
    for number in range(50):
        sidecar(archive.server_path, f"x{number % 25:02}{number // 25}.json", content_hash=f"x{number % 25:02}")
    for _ in range(2):
        report = archive.server.generate()
        assert (report.duplicates, report.shared_count, len(report.shared)) == (54, 26, 20)
        first = report.shared[0]
        assert (first.file, first.source, first.others) == ("same", "29.json", tuple(f"{n:02}.json" for n in range(10)))
        assert report.shared_more == {"same": 19}


@pytest.mark.parametrize("unique", ["path", "metadata_path"])
@pytest.mark.parametrize("there", [True, False])
def test_with_the_path_as_unique_nothing_is_collapsed(archive: Archive, unique: str, there: bool) -> None:
    """One content at several paths: each record is a file of its own, also where the documents lie elsewhere."""
    configure(archive, f"metadata: {{unique: {unique}}}\n")
    for folder in ("2023", "2024"):
        keys = {"content_hash": "h"} if not there else {}
        sidecar(archive.server_path, f"{folder}/x.json", _file_name="x.pdf", year=folder, **keys)
        if there:
            document(archive.server_path, f"{folder}/x.pdf", b"same")
    report = archive.server.generate()
    assert (report.added, report.duplicates, report.problem_count) == (2, 0, 0)
    ending = "pdf" if unique == "path" else "json"
    assert files(archive).keys() == {f"2023/x.{ending}", f"2024/x.{ending}"}
    assert len({found["content_hash"] for found in files(archive).values()}) == 1
    if there:
        document(archive.server_path, "2024/x.pdf", b"another")
        report = archive.server.generate(ensure=True)
        assert (report.changed, report.deleted, report.added) == (1, 0, 0)


def test_a_document_that_is_described_itself_is_its_own(archive: Archive) -> None:
    """``ensure_files`` misses none of those that have no metadata file, a JSON document included, but one that is gone."""
    root = archive.server_path
    for name in ("a.pdf", "sub/b.pdf", "c.json"):
        document(root, name, b"[1]" if name == "c.json" else name.encode())
    archive.server.generate(no_meta=True)
    assert archive.server.generate(no_meta=True, ensure_files=True).deleted == 0
    (root / "a.pdf").unlink()
    assert archive.server.generate(no_meta=True, ensure_files=True).deleted == 1
