"""Documents of web servers that do as they like: what a browser or curl would get, a download gets."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fetching import BODY, CHUNKED, chunks, fetch
from raw_web import CLOSE, RawWeb, answer

from mmmeta.documents.web import WebSources
from mmmeta.errors import DownloadError


@pytest.mark.parametrize(
    "sent",
    [
        answer(BODY, "203 Non-Authoritative Information"),
        answer(BODY, "200 OK", "X-Large: " + "x" * 30_000),
        answer(BODY, "200 OK", *[f"Set-Cookie: c{number}={'x' * 2_000}" for number in range(40)]),
        answer(BODY, "200 OK", f"Content-Length: {len(BODY)}"),
        answer(BODY, "200 OK", f"Content-Length: {len(BODY)}, {len(BODY)}", length=False),
        answer(chunks(BODY), "200 OK", CHUNKED, f"Content-Length: {len(BODY)}", length=False),
        answer(chunks(BODY[:7], BODY[7:]), "200 OK", CHUNKED, "Content-Length: 7", length=False),
        answer(chunks(BODY, end=b"0\r\n"), "200 OK", CHUNKED, length=False, close=True),
        answer(chunks(BODY, end=b"0\r\nX-Checksum: 1\r\n\r\n"), "200 OK", CHUNKED, length=False),
        answer(BODY, "200 OK", "Content-Length: nonsense", length=False, close=True),
        answer(BODY, "200 OK", length=False, close=True),
        answer(BODY, "200"),
        answer(BODY, "200 OK", *[f"X-{number}: {'y' * 90}" for number in range(400)]),
        answer(BODY, "200 OK", *[f"Set-Cookie: c{number}=1" for number in range(200)]),
        answer(BODY, "200 OK", "a line that is no header", "X-Y : a space", "X-Z: folded\r\n  value", ": nameless"),
        answer(BODY).replace(b"Content-Length:", b"content-length :"),
        answer(BODY).replace(b"\r\n", b"\n"),
        b"\r\n" + answer(BODY),
        answer(b"", "103 Early Hints", "Link: </style.css>", length=False) + answer(BODY),
        answer(BODY).replace(b"HTTP/1.1", b"HTTP/1.0") + CLOSE,
        answer(b"", "100 Continue", length=False) + answer(BODY),
    ],
    ids=range(21),
)
def test_odd_answers_are_understood(sent: bytes, target: Path) -> None:
    """Large headers, lengths said twice or beside chunks, odd ends: the document is there, whole."""
    with RawWeb(lambda asked: sent).running() as web:
        assert fetch(f"{web.url}/a", target) == BODY


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (answer(BODY, "200 OK", f"Content-Length: {len(BODY) + 1}"), "unmatching"),
        (answer(BODY[:-1], "200 OK", f"Content-Length: {len(BODY)}", length=False, close=True), "cut short"),
        (answer(chunks(BODY, end=b""), "200 OK", CHUNKED, length=False, close=True), "cut short"),
        (answer(b"zz\r\nabc", "200 OK", CHUNKED, length=False, close=True), "cut short"),
        (answer(chunks(BODY), "200 OK", "Transfer-Encoding: gzip, chunked", length=False), "not asked for"),
        (answer(BODY, "200 OK", *["X: " + "y" * 60_000] * 10), "a head of more than"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\n" + CLOSE, "closed the connection"),
        (CLOSE, "closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9\r\n" + CLOSE, "no answer"),
        (answer(b"", "206 Partial Content"), "answered 206"),
        (answer(b"", "302 Found"), "answered 302"),
        (answer(b"", "302 Found", "Location: "), "answered 302"),
        (answer(b"", "418 secret\x1b[31m"), "answered 418"),
    ],
    ids=range(13),
)
def test_half_an_answer_is_one_error(sent: bytes, words: str, target: Path) -> None:
    """And never half a document."""
    with RawWeb(lambda asked: sent).running() as web, pytest.raises(DownloadError, match=words) as caught:
        fetch(f"{web.url}/a", target)
    assert str(caught.value).startswith(web.url)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize(
    "to", ["/there", "there", "?x=1", "//{host}/there", "http://{host}/thére é#part", "../../there"]
)
def test_redirects_are_followed_as_they_are_written(status: str, to: str, target: Path) -> None:
    """Relative ones, those without a scheme, and those with letters that an address cannot have."""
    to_where = to
    with RawWeb(
        lambda asked: (
            answer(b"moved", status, f"Location: {to_where.format(host=web.host)}")
            if asked.target == "/old/a"
            else answer(BODY)
        )
    ).running() as web:
        assert fetch(f"{web.url}/old/a", target) == BODY
        last = {"there": "/old/there", "?x=1": "/old/a?x=1"}.get(to, "/there")
        assert web.asked[-1].target == ("/th%C3%A9re%20%C3%A9" if "é" in to else last)
        assert {asked.connection for asked in web.asked} == {1}


def test_secrets_stay_with_the_server_that_was_named(target: Path) -> None:
    """A redirect to another host takes neither login nor cookies nor headers of the job with it; what says who asks goes
    along. Back at home all is there again."""
    with (
        RawWeb(lambda asked: answer(BODY)).running() as away,
        RawWeb(
            lambda asked: (
                answer(b"", "302 Found", f"Location: http://localhost:{away.port}/b", "Set-Cookie: mine=1")
                if asked.target == "/out"
                else answer(b"", "302 Found", "Location: /out", "Set-Cookie: seen=yes; Path=/")
                if "cookie" not in asked.headers or asked.target == "/a"
                else answer(BODY)
            )
        ).running() as home,
    ):
        headers = {"User-Agent": "archive/1", "Accept-Language": "de", "X-Api-Key": "s3cret", "Cookie": "own=1"}
        login = home.url.replace("://", "://user:pass@")
        assert fetch(f"{login}/a", target, headers=headers) == BODY
        first, second = home.asked
        assert first.headers["authorization"] == "Basic dXNlcjpwYXNz"
        assert second.headers["cookie"] == "own=1; seen=yes"
        assert second.headers["x-api-key"] == "s3cret"
        abroad = away.asked[0].headers
        assert {"authorization", "cookie", "x-api-key"} & set(abroad) == set()
        assert (abroad["user-agent"], abroad["accept-language"]) == ("archive/1", "de")


def test_a_cookie_that_is_asked_for_is_sent_back(target: Path) -> None:
    """Many servers look whether their cookie comes back, and redirect to the same address until it does."""
    with RawWeb(
        lambda asked: (
            answer(BODY)
            if "ok=1" in asked.headers.get("cookie", "")
            else answer(b"", "302 Found", "Location: /a", "Set-Cookie: ok=1")
        )
    ).running() as web:
        assert fetch(f"{web.url}/a", target) == BODY


def test_who_asks_is_said(target: Path) -> None:
    """mmmeta and its version, unless the job says otherwise."""
    with RawWeb(lambda asked: answer(BODY)).running() as web:
        fetch(f"{web.url}/a", target)
        target.unlink()
        fetch(f"{web.url}/a", target, headers={"user-agent": "me", "accept": "application/pdf"})
    assert web.asked[0].headers["user-agent"].startswith("mmmeta/")
    assert web.asked[0].headers["accept-encoding"] == "identity"
    assert (web.asked[1].headers["user-agent"], web.asked[1].headers["accept"]) == ("me", "application/pdf")


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/a b/ü.pdf", "/a%20b/%C3%BC.pdf"),
        ("/a%20b/%C3%BC.pdf", "/a%20b/%C3%BC.pdf"),
        ("/100%.pdf", "/100%25.pdf"),
        ("/100% a%20b.pdf", "/100%25%20a%20b.pdf"),
        ("/a?x=1&y=%2F#part", "/a?x=1&y=%2F"),
        ("/a//b/../c", "/a//c"),
        ("", "/"),
        ("?x=ü", "/?x=%C3%BC"),
    ],
)
def test_addresses_are_encoded_once(path: str, sent: str, target: Path) -> None:
    """As the address line of a browser does."""
    with RawWeb(lambda asked: answer(BODY)).running() as web:
        fetch(web.url + path, target)
    assert web.asked[0].target == sent


def test_other_ways_to_name_a_host(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """IPv6, a dot at the end, upper case, and letters beyond ASCII, which a resolver knows by another name."""
    resolved: list[str] = []
    known = socket.getaddrinfo

    def resolve(host: str, *rest: Any, **more: Any) -> Any:
        resolved.append(host)
        return known("127.0.0.1", *rest, **more)

    with RawWeb(lambda asked: answer(BODY)).running() as web:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        for name in ("localhost.", "LOCALHOST", "bücher.example", "straße.example"):
            fetch(f"http://{name}:{web.port}/a", target)
            target.unlink()
    assert [asked.headers["host"].partition(":")[0] for asked in web.asked] == [
        "localhost",
        "localhost",
        "xn--bcher-kva.example",
        "xn--strae-oqa.example",
    ]
    assert set(resolved) == {"localhost.", "localhost", "xn--bcher-kva.example", "xn--strae-oqa.example"}


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_address_of_ip_6(target: Path) -> None:
    """In brackets."""
    try:
        server = RawWeb(lambda asked: answer(BODY), socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 on the loopback interface")
    with server.running() as web:
        assert fetch(f"{web.url}/a", target) == BODY


def test_connections_are_used_again(target: Path) -> None:
    """Also after an answer that nobody wants; and one that the server has closed meanwhile is made anew, without a word."""
    with RawWeb(
        lambda asked: (
            answer(b"no", "404 Not Found") if asked.target == "/none" else answer(BODY, close=asked.target == "/last")
        )
    ).running() as web:
        sources = WebSources(("http",))
        for path in ("/a", "/none", "/a", "/last", "/a"):
            with contextlib.suppress(DownloadError):
                fetch(web.url + path, target, sources=sources)
        sources.close()
    assert [asked.connection for asked in web.asked] == [1, 1, 1, 1, 2]


def test_a_kept_connection_that_dies_when_it_is_used(target: Path) -> None:
    """The server closes it in the moment of the request: asked once more, as browsers do; a new one is not."""
    count = iter(range(10))
    with RawWeb(lambda asked: CLOSE if next(count) in (1, 4) else answer(BODY)).running() as web:
        sources = WebSources(("http",))
        for _ in range(3):
            assert fetch(f"{web.url}/a", target, sources=sources) == BODY
        sources.close()
        with pytest.raises(DownloadError, match="closed the connection"):
            fetch(f"{web.url}/a", target)


def test_a_certificate_that_nobody_vouches_for(target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is refused, with a reason; SSL_CERT_FILE names who else is believed."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "keyUsage=critical,digitalSignature,keyCertSign",
         "-keyout", str(key), "-out", str(certificate)],
        capture_output=True,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("no openssl here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with tls_server(context) as port:
        with pytest.raises(DownloadError, match=f"Cannot connect to host 127.0.0.1:{port} safely"):
            fetch(f"https://127.0.0.1:{port}/a", target)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert fetch(f"https://127.0.0.1:{port}/a", target) == BODY


@contextlib.contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[int]:
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            with (
                contextlib.suppress(OSError),
                listening.accept()[0] as plain,
                context.wrap_socket(plain, server_side=True) as connection,
            ):
                connection.recv(65536)
                connection.sendall(answer(BODY))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        over.set()
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def test_only_what_is_asked_is_imported() -> None:
    """Whoever downloads nothing from the web waits for none of it."""
    code = "import sys, mmmeta.documents.web; print('urllib3' in sys.modules, 'fsspec' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "False False"
