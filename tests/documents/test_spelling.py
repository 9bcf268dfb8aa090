"""A document whose name is there in another Unicode form is that document."""

from __future__ import annotations

import hashlib
import os
import sys
import unicodedata
from pathlib import Path
from urllib.parse import quote

import pytest
from archives import Archive

from mmmeta import Metadir
from mmmeta.documents.local import allowed_path
from mmmeta.documents.source import document_source
from mmmeta.documents.spelling import as_on_disk
from mmmeta.errors import DownloadError

CONTENT = b"B\xc3\xbcro"
SHA1 = hashlib.sha1(CONTENT).hexdigest()


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def apart(text: str) -> str:
    return unicodedata.normalize("NFD", text)


FORMS = {
    "apart on disk": (composed("Büro/Übung é.txt"), apart("Büro/Übung é.txt")),
    "composed on disk": (apart("Büro/Übung é.txt"), composed("Büro/Übung é.txt")),
    "mixed on disk": (composed("Büro/Übung é.txt"), f"{composed('Büro')}/{apart('Ü')}bung {composed('é')}.txt"),
    "the folder only": (composed("Büro/plain.txt"), apart("Büro/plain.txt")),
    "Ångström on disk": (composed("10 Å.txt"), "10 \u212b.txt"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_name_is_found_in_any_form(tmp_path: Path, form: str) -> None:
    """And stays as it was asked for where it is there in none."""
    asked, there = FORMS[form]
    assert as_on_disk(tmp_path, Path(asked).parts) == tmp_path / asked
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_bytes(b"x")
    assert as_on_disk(tmp_path, Path(asked).parts) == tmp_path / there
    assert os.fspath(allowed_path(str(tmp_path / asked), [tmp_path])) == os.fspath(tmp_path / there)


def test_the_name_as_it_was_given_comes_first(tmp_path: Path) -> None:
    """Two files may have names that look alike."""
    for form in (composed, apart):
        (tmp_path / form("é.pdf")).write_bytes(b"x")
    for form in (composed, apart):
        assert as_on_disk(tmp_path, [form("é.pdf")]).name == form("é.pdf")


def test_a_file_that_comes_later_is_found(tmp_path: Path) -> None:
    """What a folder held is not remembered for ever."""
    asked, there = f"{composed('é')} {composed('ü')}", f"{composed('é')} {apart('ü')}"
    assert as_on_disk(tmp_path, [asked]).name == asked
    os.utime(tmp_path, (1, 1))
    (tmp_path / there).write_bytes(b"x")
    assert as_on_disk(tmp_path, [asked]).name == there


def test_another_form_leads_nowhere_else(tmp_path: Path) -> None:
    """Neither by a link, nor to a metadir, nor out of the folder."""
    root, outside = tmp_path / apart("Büro"), tmp_path / "secret"
    root.mkdir()
    outside.write_bytes(b"x")
    (root / apart("é.pdf")).symlink_to(outside)
    (root / apart("ü") / "_mmmeta").mkdir(parents=True)
    (root / apart("ü") / "_mmmeta" / "meta.db").write_bytes(b"x")
    for name in ("é.pdf", "ü/_mmmeta/meta.db", "é/../../secret", "../secret"):
        with pytest.raises(DownloadError, match="outside the folders"):
            allowed_path(str(root / composed(name)), [root])
    (root / "a.pdf").write_bytes(b"x")
    assert allowed_path(str(tmp_path / composed("Büro") / "a.pdf"), [root]) == root / "a.pdf"


@pytest.mark.parametrize("name", ["é\0", "\udcff é", "é" * 300, "é/" * 3000, "/é", "é/../.."])
def test_what_is_no_name_is_no_error_of_its_own(tmp_path: Path, name: str) -> None:
    """Whoever opens it says what is wrong with it."""
    as_on_disk(tmp_path, Path(name).parts)


@pytest.mark.parametrize("form", FORMS)
def test_documents_are_there_for_generate_in_any_form(archive: Archive, form: str) -> None:
    """``ensure_files`` deletes nothing, and takes back what was deleted so."""
    asked, there = FORMS[form]
    archive.write("a", _file_name=asked)
    document = archive.server_path / there
    document.parent.mkdir(exist_ok=True)
    archive.write("b", _file_name="b.pdf").with_suffix(".pdf").write_bytes(b"%PDF")
    archive.server.generate()
    assert archive.server.generate(ensure_files=True).deleted == 1
    document.write_bytes(CONTENT)
    assert archive.server.generate(ensure_files=True).returned == 1
    assert archive.server.generate(ensure_files=True).deleted == 0


@pytest.mark.parametrize("where", ["beside", "beside, not on the web", "path", "url"])
@pytest.mark.parametrize("form", FORMS)
def test_jobs_find_documents_in_any_form(archive: Archive, form: str, where: str, tmp_path: Path) -> None:
    """``download``, ``load`` with the content, and ``command`` with ``{__path}``."""
    asked, there = FORMS[form]
    root = archive.server_path
    public = {
        "beside": None,
        "beside, not on the web": "https://127.0.0.1:9/x",
        "path": str(root / asked),
        "url": f"file://{quote(str(root / asked))}",
    }[where]
    archive.write("a", content_hash=SHA1, _file_name=asked, **({"public_url": public} if public else {}))
    (root / there).parent.mkdir(exist_ok=True)
    (root / there).write_bytes(CONTENT)
    archive.publish()
    with Metadir(archive.client_path, root) as client:
        client.update()
        (file,) = client.files
        assert file.unique_value == SHA1
        download = client.job("download", download={"to": str(tmp_path / "to"), "name": "{content_hash}"})
        assert download.run().failures == ()
        assert (tmp_path / "to" / SHA1).read_bytes() == CONTENT
        load = {"to": f"sqlite:///{tmp_path / 'target.db'}", "table": "docs", "content": {"column": "text"}}
        assert client.job("load", load=load).run().failures == ()
        copy = "import shutil, sys; shutil.copy(sys.argv[1], 'copy')"
        run = [sys.executable, "-c", copy, "{__path}"]
        assert client.job("copy", command={"run": run, "folder": str(tmp_path)}).run().failures == ()
        assert (tmp_path / "copy").read_bytes() == CONTENT


def test_a_document_beside_its_metadata_comes_before_the_web(tmp_path: Path) -> None:
    """In any form of its name."""
    (tmp_path / apart("é.pdf")).write_bytes(b"x")
    values = {"public_url": "https://example.org/x"}
    found = document_source(values.get, remote_url=None, file_name=composed("é.pdf"), source=None, files_root=tmp_path)
    assert found == str(tmp_path / apart("é.pdf"))
