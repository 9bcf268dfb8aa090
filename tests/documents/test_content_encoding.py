"""Answers that say they are encoded: the document is what the metadata promises, raw or decoded, and always whole."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Web

from mmmeta.documents.source import Deadline
from mmmeta.documents.transfer import download
from mmmeta.documents.web import WebSources
from mmmeta.errors import DownloadError

PLAIN = os.urandom(300_000) + b"a contract\n" * 200_000
PACKED = gzip.compress(PLAIN)
RAW_DEFLATE = zlib.compress(PLAIN)[2:-4]


@pytest.fixture
def web() -> Iterator[Web]:
    with Web().running() as server:
        yield server


def fetch(web: Web, path: str, encoding: str, body: bytes, folder: Path, **promised: Any) -> bytes:
    web.encoded[path] = (encoding, body)
    sources = WebSources(["http"])
    try:
        download(
            web.url + path, folder / "doc", allowed_roots=[], web=sources, deadline=Deadline("doc", 30), **promised
        )
    finally:
        sources.close()
    assert [entry.name for entry in folder.iterdir()] == ["doc"]
    return (folder / "doc").read_bytes()


def sha1(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@pytest.mark.parametrize("path", ["/a.pdf", "/a.tar.gz", "/a~"])
@pytest.mark.parametrize("body", [PLAIN, PACKED], ids=["plain", "packed"])
def test_what_is_promised_is_the_document(path: str, body: bytes, web: Web, tmp_path: Path) -> None:
    """By digest, else by size; whatever the name is."""
    for promised in ({"expected_digest": sha1(body)}, {"expected_size": len(body)}):
        (tmp_path / "doc").unlink(missing_ok=True)
        assert fetch(web, path, "gzip", PACKED, tmp_path, **promised) == body


@pytest.mark.parametrize(
    ("path", "encoding", "sent", "kept"),
    [
        ("/a.pdf", "gzip", PACKED, PLAIN),
        ("/a.pdf", "x-gzip", PACKED, PLAIN),
        ("/a.pdf", "deflate", zlib.compress(PLAIN), PLAIN),
        ("/a.pdf", "deflate", RAW_DEFLATE, PLAIN),
        ("/a.pdf", "gzip", gzip.compress(PLAIN[:1000]) + gzip.compress(PLAIN[1000:]), PLAIN),
        ("/a.pdf", "identity", PLAIN, PLAIN),
        ("/a.pdf", "UTF-8", PLAIN, PLAIN),
        ("/a.pdf", "none", PLAIN, PLAIN),
        ("/a.pdf", "aws-chunked", PLAIN, PLAIN),
        ("/a.pdf", "aws-chunked,gzip", PACKED, PLAIN),
        ("/a.pdf", "gzip", PLAIN, PLAIN),
        ("/a.tar.gz", "gzip", PACKED, PACKED),
        ("/A.TGZ", "x-gzip", PACKED, PACKED),
        ("/a.svgz", "gzip", PACKED, PACKED),
        ("/a~", "gzip", PACKED, PLAIN),
    ],
    ids=range(15),
)
def test_without_a_promise_the_name_tells(
    path: str, encoding: str, sent: bytes, kept: bytes, web: Web, tmp_path: Path
) -> None:
    """What is called a packed file is kept packed; a header that is not true is not believed."""
    assert fetch(web, path, encoding, sent, tmp_path) == kept


@pytest.mark.parametrize("sent", [PACKED[:-1000], PACKED[:-1], PACKED[:20]], ids=["long", "a byte", "short"])
@pytest.mark.parametrize("path", ["/a.pdf", "/a~"])
def test_an_unfinished_stream_is_an_error(path: str, sent: bytes, web: Web, tmp_path: Path) -> None:
    """Also where no length says that something is missing; nothing is left of it."""
    with pytest.raises(DownloadError, match="the gzip stream has no end"):
        fetch(web, path, "gzip", sent, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_encoding_that_is_not_known_is_said(web: Web, tmp_path: Path) -> None:
    """Unless the raw bytes are what was promised."""
    with pytest.raises(DownloadError, match="Content-Encoding: br, which cannot be decoded"):
        fetch(web, "/a.pdf", "br", PLAIN, tmp_path)
    assert fetch(web, "/a.pdf", "br", PLAIN, tmp_path, expected_digest=sha1(PLAIN)) == PLAIN


def test_what_is_neither_raw_nor_decoded_as_promised_is_refused(web: Web, tmp_path: Path) -> None:
    """With the digest of what the answer decodes to."""
    with pytest.raises(DownloadError, match=f"expected sha1 {'0' * 40}, got {sha1(PLAIN)}"):
        fetch(web, "/a.pdf", "gzip", PACKED, tmp_path, expected_digest="0" * 40)
