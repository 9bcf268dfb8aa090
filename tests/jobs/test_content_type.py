"""A login page is no document: what a job expects of web servers, and what is refused without a word of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import Archive
from servers import Web

from mmmeta.documents.content_types import START, why_wrong
from mmmeta.errors import JobError
from mmmeta.project.job import job_config

LOGIN = b"\n<!DOCTYPE html>\n<html><body>Please log in</body></html>"
FRAGMENT = b"<script>location = '/login'</script>"
PDF = b"%PDF-1.7\n"
PICTURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def web() -> Iterator[Web]:
    with Web().running() as server:
        yield server


def message(archive: Archive, web: Web, path: str, kind: str, body: bytes, *, keys: Any = (), **rules: Any) -> str:
    """What the download of one document says, empty where it is done."""
    web.typed[path.partition("?")[0]] = (kind, body)
    archive.write("a", _file_name="doc", public_url=web.url + path, **dict(keys))
    archive.deliver()
    download = {"to": str(archive.root / "target"), **rules}
    report = archive.client.job("j", download=download, attempts=1).run()
    assert report.done + report.dead == 1
    assert (archive.root / "target" / "doc").exists() is bool(report.done)
    return report.failures[0].message if report.failures else ""


@pytest.mark.parametrize(
    ("path", "kind", "body", "words"),
    [
        ("/a.pdf", "text/html; charset=utf-8", LOGIN, "an HTML page came in place of a .pdf"),
        ("/a.pdf?id=1", "application/pdf", LOGIN, "an HTML page came in place of a .pdf"),
        ("/a.pdf", "text/html", FRAGMENT, "an HTML page came in place of a .pdf"),
        ("/a.pdf", "text/html", b"\r\n" * 900 + LOGIN, "an HTML page came in place of a .pdf"),
        ("/a.pdf", "text/html", b"\n" * 9000 + LOGIN, "an HTML page came in place of a .pdf"),
        ("/a.pdf", "application/pdf", b"<!-- " + b"c" * 1500 + b" -->" + LOGIN, "an HTML page came in place of a .pdf"),
        ("/a.pdf", "application/pdf", LOGIN.decode().encode("utf-16"), "an HTML page came in place of a .pdf"),
        ("/a.pdf", "text/html", FRAGMENT.decode().encode("utf-16"), "an HTML page came in place of a .pdf"),
        ("/a.JPG", "", LOGIN, "an HTML page came in place of a .jpg"),
        ("/a.pdf", "text/html", PDF, ""),
        ("/a.html", "text/html", LOGIN, ""),
        ("/a", "text/html", LOGIN, ""),
        ("/a.xls", "application/vnd.ms-excel", LOGIN, ""),
        ("/a.pdf", "application/pdf", PDF, ""),
    ],
)
def test_html_in_place_of_a_document(path: str, kind: str, body: bytes, words: str, archive: Archive, web: Web) -> None:
    """Without digest and size; what is called HTML, or could be, is taken."""
    found = message(archive, web, path, kind, body)
    assert words in found
    assert bool(words) is bool(found)


@pytest.mark.parametrize(
    ("expected", "path", "kind", "body", "words"),
    [
        ("application/pdf", "/a", "application/pdf", PDF, ""),
        ("application/pdf", "/a", "Application/PDF; name=x", PDF, ""),
        ("application/pdf", "/a", "application/octet-stream", PDF, ""),
        ("application/pdf", "/a", "", PDF, ""),
        ("application/pdf", "/a", "image/png", PICTURE, "image/png came where application/pdf is expected"),
        ("application/pdf", "/a", "", LOGIN, "an HTML page came where application/pdf is expected"),
        ("image/*", "/a", "image/png", PICTURE, ""),
        ("image/*", "/a", "application/pdf", PDF, "application/pdf came where image/* is expected"),
        ("text/html", "/a.pdf", "text/html", LOGIN, ""),
    ],
)
def test_a_job_says_what_it_expects(
    expected: str, path: str, kind: str, body: bytes, words: str, archive: Archive, web: Web
) -> None:
    """Servers that do not know are believed, unless they send a page."""
    found = message(archive, web, path, kind, body, content_type=expected)
    assert words in found
    assert bool(words) is bool(found)


def test_a_digest_proves_more(archive: Archive, web: Web) -> None:
    """What has the promised digest is the document, whatever it looks like."""
    keys = {"content_hash": hashlib.sha1(LOGIN).hexdigest()}
    assert message(archive, web, "/a.pdf", "text/html", LOGIN, keys=keys, content_type="application/pdf") == ""


def test_what_is_expected_is_part_of_the_job(tmp_path: Path) -> None:
    """A job that expects something else is another; one that says nothing stays what it was. Nonsense is refused."""
    prints = {
        job_config("j", download={"to": str(tmp_path), **more}).fingerprint()
        for more in ({}, {"content_type": None}, {"content_type": "application/pdf"})
    }
    assert len(prints) == 2
    with pytest.raises(JobError, match="Write application/pdf"):
        job_config("j", download={"to": str(tmp_path), "content_type": "pdf"})


def test_a_page_of_nothing_but_comments_takes_no_time() -> None:
    """As many as are looked at; with each further one it took twice as long."""
    for size in (25 * 7, START):
        begun = time.process_time()
        assert why_wrong((b"<!---->" * START)[: size - 3] + b"<p>", "", ("a.pdf",), None) is None
        assert time.process_time() - begun < 1
