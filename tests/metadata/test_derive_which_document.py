"""Which document a metadata file is about, whatever else lies there, and what several of them for one document mean."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from archives import Archive
from sidecars import OLD, configure, document, files, settle, sidecar


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
