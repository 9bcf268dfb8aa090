"""Any answer of a web server: a document that is whole, or one clear error, in bounded time.

``make test-long`` tries more of them.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fuzzing import mutated, one_clear_error_in_time
from hypothesis import example, given
from hypothesis import strategies as st
from raw_web import CLOSE, Asked, RawWeb

from mmmeta.documents.source import Deadline
from mmmeta.documents.transfer import download
from mmmeta.documents.web import WebSources
from mmmeta.errors import DownloadError, StoreAccessError
from mmmeta.store.remote import read_publication

BODY = b"a contract\n" * 40
SHA1 = hashlib.sha1(BODY).hexdigest()
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 440\r\nDate: Sun, 06 Nov 1999 08:49:37 GMT\r\n%s\r\n\r\n" + BODY[:100]
PART = b'HTTP/1.1 206 x\r\nETag: "x"\r\nContent-Range: bytes 100-439/%s\r\n\r\n' + BODY[100:]
SECONDS = 3.0
"""That a document may take."""

HEADERS: dict[str, list[bytes]] = {
    "Content-Type": [b"text/html", b"application/pdf; charset=\xff", b"multipart/byteranges; boundary=x"],
    "Content-Encoding": [
        b"gzip",
        b"gzip, gzip",
        b"deflate",
        b"br",
        b"x-gzip,identity",
        b"aws-chunked",
        b"\x01gzip",
        b"[" * 1_200,
        b"br," * 900,
    ],
    "Content-Range": [b"bytes 5-9/10", b"bytes 9-5/*", b"bytes */0", b"bytes 0-" + b"9" * 50 + b"/1"],
    "Content-Length": [
        b"0",
        b"440",
        b"440, 440",
        b"-1",
        b"1e3",
        b"9" * 5_000,
        b"9" * 4_000,
        b"1_" * 1_500 + b"1",
        b",".join(b"%d" % number for number in range(900)),
        b"99999999999999999999",
        b"+5",
        b"\xd9\xa1",
    ],
    "Content-Disposition": [b"attachment; filename=../../x", b"inline; filename*=UTF-8''%2e%2e%2f\""],
    "Last-Modified": [
        b"Thu, 01 Jan 1970 00:00:00 GMT",
        b"Mon, 99 Foo 99999 99:99:99 +9999",
        b"Sun, 06 Nov 1994 08:49:37 -99999999",
    ],
    "Date": [b"Fri, 31 Dec 9999 23:59:59 -2359", b"Thu, 01 Jan 1970 00:00:00 GMT", b"0"],
    "Retry-After": [
        b"0",
        b"7",
        b"-1",
        b"9" * 400,
        b"1e400",
        b"Fri, 31 Dec 9999 23:59:59 -2359",
        b"Mon, 01 Jan 0001 00:00:00 +2359",
    ],
    "Location": [
        b"/again",
        b"//[::1",
        b"http://[",
        b"http://127.0.0.1:99999/",
        b"file:///etc/passwd",
        b"http://\xff\xfe/",
        b"?x#\x00",
        b"http://a:b@:c@127.0.0.1/",
        b"https://",
        b"http://%00/",
        b"http://" + b"x" * 300 + b"/",
        b"http://" + b"x." * 900 + b"/",
        b"http://[::1%25" + b"x" * 900 + b"]/",
        b"http://\x1b[2J" + b"x" * 900 + b"/",
        b"http://127.0.0.1:" + b"0" * 900 + b"1/",
        b"http://127.0.0.1:1/" + b"x\x1b" * 900,
        b"\x1bx" * 900 + b"://x",
    ],
    "Set-Cookie": [
        b"a=b",
        b"a=b; Domain=.org; Path=/x; Expires=Thu, 99 Foo",
        b"=; max-age=" + b"9" * 400,
        b'x="\\',
        b"a=b; Version=x; Port=99999",
    ],
    "ETag": [b'"x"', b'W/"x"', b'"', b"\xff"],
    "Transfer-Encoding": [b"chunked", b"chunked, gzip", b"identity"],
    "Accept-Ranges": [b"bytes", b"none"],
    "Connection": [b"close", b"keep-alive", b"x, y"],
}
STATUS = [
    b"200 OK",
    b"203",
    b"206 Partial",
    b"200",
    b"302 Found",
    b"307",
    b"429 Slow",
    b"503 x",
    b"404 No\xff",
    b"100 Go",
    b"101 Up",
    b"999 ?",
    b"-1 x",
    b"2000 x",
    b"",
]
BODIES = [
    BODY,
    b"",
    gzip.compress(BODY),
    zlib.compress(BODY),
    gzip.compress(bytes(200_000)),
    b"1b8\r\n" + BODY + b"\r\n0\r\n\r\n",
    b"ffffffffffffffffffff\r\n" + BODY,
    b"1b8;x=y\r\n" + BODY + b"\r\n0\r\nTrailer: x\r\n\r\n",
    b"<!DOCTYPE html><title>Log in</title>",
]


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """An answer with headers that are known, of values that are sharp or a bit off."""
    names = draw(st.lists(st.sampled_from(sorted(HEADERS)), max_size=6))
    lines = [b"HTTP/1.1 " + draw(st.one_of(st.just(STATUS[0]), st.sampled_from(STATUS)))]
    for name in names:
        value = draw(st.one_of(st.sampled_from(HEADERS[name]), mutated(*HEADERS[name])))
        lines.append(name.encode() + b": " + value.replace(b"\n", draw(st.sampled_from([b"", b"\n "]))))
    body = draw(st.one_of(st.sampled_from(BODIES), mutated(*BODIES)))
    if draw(st.booleans()) and "Content-Length" not in names:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


class Answering:
    """A server that gives one answer to everything, or one after the other, and ends the connection."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self._given = 0
        self.web = RawWeb(self._answer)

    def give(self, *answers: bytes) -> None:
        self.answers, self._given = list(answers), 0

    def _answer(self, asked: Asked) -> bytes:
        answer = self.answers[min(self._given, len(self.answers) - 1)]
        self._given += 1
        return answer + CLOSE


@pytest.fixture(scope="module")
def server() -> Iterator[Answering]:
    made = Answering()
    with made.web.running():
        yield made


PROMISED: list[dict[str, Any]] = [{}, {"expected_digest": SHA1}, {"expected_size": len(BODY)}, {"largest": 1_000}]


@given(
    st.lists(answers(), min_size=1, max_size=3), st.sampled_from(PROMISED), st.sampled_from(["/a.pdf", "/a.gz", "/a"])
)
@example([b"HTTP/1.1 302 x\r\nLocation: http://[\r\n\r\n"], {}, "/a")
@example([b"HTTP/1.1 503 x\r\nRetry-After: Mon, 01 Jan 0001 00:00:00 +2359\r\n\r\n"], {}, "/a")
@example([b"HTTP/1.1 200 OK\r\nContent-Encoding: \x01gzip\r\n\r\n"], {}, "/a.pdf")
@example([b"HTTP/1.1 200 OK\r\nContent-Encoding: " + b"[" * 1_200 + b"\r\n\r\n"], {}, "/a.pdf")
@example([b"HTTP/1.1 200 OK\r\n" + b"Content-Encoding: br\r\n" * 900 + b"\r\n"], {}, "/a.pdf")
@example([b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 4_000 + b"\r\n\r\nx"], {}, "/a")
@example([b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 4_000 + b"\r\n\r\nx"], {"expected_size": 440}, "/a")
@example([b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 4_000 + b"\r\n\r\nx"], {"largest": 1_000}, "/a")
@example([b"HTTP/1.1 200 OK\r\nContent-Length: " + b"1_" * 1_500 + b"1\r\n\r\nx"], {"expected_digest": SHA1}, "/a")
@example([b"HTTP/1.1 302 x\r\nLocation: http://" + b"x" * 1_200 + b"/\r\n\r\n"], {}, "/a")
@example([b"HTTP/1.1 302 x\r\nLocation: http://" + b"x." * 900 + b"/\r\n\r\n"], {}, "/a")
@example([b"HTTP/1.1 302 x\r\nLocation: http://\x1b\x7fx/\r\n\r\n"], {}, "/a")
@example([b"HTTP/1.1 302 x\r\nLocation: http://[fe80::1%25" + b"x" * 900 + b"]/\r\n\r\n"], {}, "/a")
@example([b"HTTP/1.1 302 x\r\nLocation: /\x1b" + b"x" * 900 + b"\r\n\r\n", b"HTTP/1.1 404 \x1b\r\n\r\n"], {}, "/a")
@example([b"HTTP/1.1 503 \x1b" + b"x" * 900 + b"\r\nRetry-After: \x1b" + b"7" * 900 + b"\r\n\r\n"], {}, "/a")
@example([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\x1b" + b"z" * 1_200 + b"\r\n"], {}, "/a")
@example([CUT % (b'ETag: "\x1b' + b"x" * 1_200 + b'"')], {}, "/a")
@example([CUT % (b"Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT (\x1b" + b"x" * 1_200 + b")")], {}, "/a")
@example([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-ffffffffffffffffffff\r\nx"], {}, "/a")
@example([b"HTTP/1.1 404 x\r\nTransfer-Encoding: chunked\r\n\r\n-ffffffffffffffffffff\r\nx"], {}, "/a")
@example([CUT % b'ETag: "x"', PART % (b"9" * 1_200)], {}, "/a")
@example([CUT % b'ETag: "x"', PART % b"440\x1b"], {}, "/a")
@example([CUT % b'ETag: "x"', b"HTTP/1.1 404 \x1b" + b"x" * 900 + b"\r\n\r\n"], {}, "/a")
def test_any_answer_is_a_document_or_an_error(
    server: Answering, several: list[bytes], promised: dict[str, Any], path: str
) -> None:
    """What is there in the end is what was promised, and nothing lies beside it."""
    server.give(*several)
    sources = WebSources(["http"])
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "document"
        try:
            with one_clear_error_in_time():
                download(
                    server.web.url + path,
                    target,
                    allowed_roots=[],
                    web=sources,
                    deadline=Deadline("document", SECONDS),
                    **promised,
                )
        finally:
            sources.close()
        left = {path.name: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
    assert left.keys() <= {"document"}
    if left and "expected_digest" in promised:
        assert left["document"] == BODY
    if left and "largest" in promised:
        assert len(left["document"]) <= promised["largest"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 \x1b[2J" + "\u202e".encode() + b"x" * 9_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + "\u202e".encode() + b"[" * 9_000 + b"\r\n\r\nx",
        b"HTTP/1.1 302 x\r\nLocation: " + b"s" * 9_000 + b"://x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: \x1b[2J" + b"x" * 9_000 + b"\r\nContent-Length: 1\r\n\r\nx",
        b"\x1f\x8b\x1b[2J" + b"x" * 9_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: \x1b[2J" + b"x" * 9_000 + b"\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 4_000 + b"\r\n\r\nx",
        b"HTTP/1.1 302 x\r\nLocation: http://" + b"x" * 9_000 + b"/\r\n\r\n",
    ],
    ids=["status", "transfer encoding", "scheme", "content type", "no answer", "encoding", "length", "host"],
)
def test_what_a_server_says_steers_and_fills_no_message(server: Answering, answer: bytes, tmp_path: Path) -> None:
    """Only as much of it is repeated as a person reads."""
    server.give(answer)
    sources = WebSources(["http"])
    try:
        with pytest.raises(DownloadError) as caught:
            download(
                f"{server.web.url}/a.pdf",
                tmp_path / "document",
                allowed_roots=[],
                web=sources,
                deadline=Deadline("document", 30),
                expected_type="application/pdf",
            )
    finally:
        sources.close()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("value", [b"a\rb", b"a\rContent-Length: 1\r\rb", b"\x1b\0\r" * 900])
def test_nothing_that_a_server_says_is_logged(
    server: Answering, value: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A header with a line's end in it hid those behind it, and all of them were shown."""
    server.give(b"HTTP/1.1 200 OK\r\nETag: %s\r\nContent-Length: 440\r\n\r\n" % value + BODY[:100])
    sources = WebSources(["http"])
    try:
        with pytest.raises(DownloadError, match="cut short after 100 of 440"):
            download(f"{server.web.url}/a", tmp_path / "document", allowed_roots=[], web=sources)
    finally:
        sources.close()
    assert not caplog.records


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="nothing tells the open files")
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n" + BODY,
        b"HTTP/1.1 404 x\r\nContent-Length: 440\r\n\r\n" + BODY,
    ],
    ids=["two lengths", "not there"],
)
def test_no_answer_leaves_a_connection_open(answer: bytes) -> None:
    """Not as long as its error is known to anybody either."""
    web = RawWeb(lambda asked: answer)
    errors = []
    with web.running():
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            with pytest.raises(StoreAccessError) as caught:
                read_publication(web.url, timeout=SECONDS)
            errors.append(caught.value)
        ours = len(os.listdir("/proc/self/fd")) - before - len(web.asked)  # the server keeps its own ends
    assert ours < 10


def test_a_length_beside_chunks_counts_for_nothing(
    server: Answering, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.give(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + BODIES[5])
    sources = WebSources(["http"])
    try:
        download(f"{server.web.url}/a", tmp_path / "document", allowed_roots=[], web=sources)
    finally:
        sources.close()
    assert (tmp_path / "document").read_bytes() == BODY
    assert not caplog.records


def test_a_range_of_endless_digits_is_none(server: Answering, tmp_path: Path) -> None:
    """Python refuses to read such a number; the download was cut then, and is tried again another time."""
    head = b'HTTP/1.1 %s\r\nETag: "x"\r\nContent-Length: 440\r\n'
    server.give(
        head % b"200 OK" + b"\r\n" + BODY[:100],
        head % b"206 Partial" + b"Content-Range: bytes 100-439/" + b"9" * 5_000 + b"\r\n\r\n" + BODY[100:],
    )
    sources = WebSources(["http"])
    try:
        with pytest.raises(DownloadError, match="cut short"):
            download(
                f"{server.web.url}/a",
                tmp_path / "document",
                allowed_roots=[],
                web=sources,
                deadline=Deadline("document", 30),
            )
    finally:
        sources.close()


@given(answers())
def test_any_answer_for_the_store_is_a_publication_or_an_error(server: Answering, answer: bytes) -> None:
    """Also where it is looked at from afar."""
    server.give(answer)
    with one_clear_error_in_time():
        read_publication(server.web.url, timeout=SECONDS)
