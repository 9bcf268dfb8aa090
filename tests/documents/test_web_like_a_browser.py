"""Documents of web servers that do as they like: what a browser or curl would get, a download gets."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raw_web import CLOSE, Asked, RawWeb, answer, http_date

from mmmeta.documents.hosts import Hosts, retry_after
from mmmeta.documents.proxies import Proxies
from mmmeta.documents.source import Deadline
from mmmeta.documents.transfer import download
from mmmeta.documents.web import WebSources
from mmmeta.errors import DownloadError, PostponedError

BODY = b"%PDF-1.7 " + b"a contract\n" * 20_000
CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "downloads").mkdir()
    return tmp_path / "downloads" / "a.pdf"


def fetch(url: str, target: Path, seconds: float = 20, sources: WebSources | None = None, **options: Any) -> bytes:
    made = sources or WebSources(("http", "https"), **options)
    try:
        download(url, target, allowed_roots=[], web=made, deadline=Deadline(url, seconds))
    finally:
        if sources is None:
            made.close()
        assert [path.name for path in target.parent.iterdir()] in ([], [target.name])
    return target.read_bytes()


def chunks(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + end


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


# Proxies


def through(proxy: RawWeb, monkeypatch: pytest.MonkeyPatch, name: str = "HTTP_PROXY", url: str | None = None) -> None:
    monkeypatch.setenv(name, url or proxy.url)


def test_a_proxy_is_asked(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the whole address, and the login of its own; not where NO_PROXY says otherwise."""
    with RawWeb(lambda asked: answer(BODY)).running() as proxy, RawWeb(lambda asked: answer(BODY)).running() as web:
        through(proxy, monkeypatch, url=f"http://me:p%40ss@{proxy.host}")
        assert fetch("http://user:secret@nowhere.invalid/a b?x=1", target) == BODY
        (asked,) = proxy.asked
        assert asked.target == "http://nowhere.invalid/a%20b?x=1"
        assert asked.headers["host"] == "nowhere.invalid"
        assert asked.headers["proxy-authorization"] == "Basic bWU6cEBzcw=="
        assert asked.headers["authorization"].startswith("Basic ")
        monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
        target.unlink()
        assert fetch(f"{web.url}/a", target) == BODY
        assert len(proxy.asked) == 1
        assert "proxy-authorization" not in web.asked[0].headers


def test_a_proxy_without_a_scheme_and_for_all(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As curl takes it."""
    with RawWeb(lambda asked: answer(BODY)).running() as proxy:
        through(proxy, monkeypatch, "all_proxy", proxy.host)
        assert fetch("http://nowhere.invalid/a", target) == BODY


def test_https_goes_through_a_tunnel(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is asked for the host and refuses: the error says so, without the login."""
    with RawWeb(lambda asked: answer(b"", "407 Proxy Authentication Required", close=True)).running() as proxy:
        through(proxy, monkeypatch, "https_proxy", f"http://me:hunter2@{proxy.host}")
        with pytest.raises(DownloadError, match="the proxy does not lead to nowhere") as caught:
            fetch("https://nowhere.invalid/a", target)
    assert "407" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert proxy.asked[0].line.startswith("CONNECT nowhere.invalid:443 ")


def test_a_proxy_that_cannot_be_used(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SOCKS is said, not ignored: somebody may rely on it."""
    monkeypatch.setenv("ALL_PROXY", "socks5://user:hunter2@127.0.0.1:9")
    with pytest.raises(DownloadError, match="socks5") as caught:
        fetch("http://nowhere.invalid/a", target)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "direct"),
    [
        ("*", "a.example", 80, True),
        ("example", "a.example", 80, True),
        (".example", "a.example", 80, True),
        ("*.example", "a.b.example", 80, True),
        ("ample", "a.example", 80, False),
        ("x, A.EXAMPLE", "a.example.", 80, True),
        ("a.example:8080", "a.example", 80, False),
        ("a.example:8080", "a.example", 8080, True),
        ("10.0.0.0/8", "10.1.2.3", 80, True),
        ("10.0.0.0/8", "11.1.2.3", 80, False),
        ("10.0.0.1", "10.0.0.1", 80, True),
        ("::1", "[::1]", 80, True),
        ("10.0.0.0/8", "a.example", 80, False),
        ("", "a.example", 80, False),
    ],
)
def test_what_no_proxy_means(
    no_proxy: str, host: str, port: int, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names with all below them, ports, addresses and networks."""
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert Proxies().proxy_of("http", host, port) == (None if direct else "http://proxy.example:3128")
    assert Proxies().proxy_of("https", host, port) is None


# A download that was cut


class Cut:
    """Gives a document piece by piece, and closes the connection after each.

    Args:
        piece: bytes of each.
        validator: the header that names the version; ``{}`` counts the requests, where it shall change.
        ranges: whether parts are given.
    """

    def __init__(self, validator: str, piece: int = 60_000, *, ranges: bool = True, more: str = "X: y") -> None:
        self.asked: list[Asked] = []
        self._validator = validator
        self._piece = piece
        self._ranges = ranges
        self._more = more

    def __call__(self, asked: Asked) -> bytes:
        self.asked.append(asked)
        named = self._validator.format(len(self.asked))
        start = int(asked.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        wanted = asked.headers.get("if-range") in (None, named.partition(": ")[2])
        if start and not (self._ranges and wanted):
            start = 0
        status = "206 Partial Content" if start else "200 OK"
        lines = [named, self._more, f"Date: {http_date(0)}", f"Content-Length: {len(BODY) - start}"]
        if start:
            lines.append(f"Content-Range: bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        return answer(BODY[start : start + self._piece], status, *lines, length=False, close=True)


LONG_AGO = "Last-Modified: Sat, 01 Jan 2000 00:00:00 GMT"


@pytest.mark.parametrize("validator", ['ETag: "one"', LONG_AGO])
def test_a_cut_download_goes_on(validator: str, target: Path) -> None:
    """From where it was cut, as long as it is the same version, and as often as each piece brings something."""
    cut = Cut(validator)
    with RawWeb(cut).running() as web:
        assert fetch(f"{web.url}/a", target) == BODY
    assert [asked.headers.get("range") for asked in cut.asked] == [
        None,
        "bytes=60000-",
        "bytes=120000-",
        "bytes=180000-",
    ]
    assert cut.asked[1].headers["if-range"] == validator.partition(": ")[2]


@pytest.mark.parametrize(
    ("validator", "options", "requests"),
    [
        ('W/"weak"', {}, 1),
        ('"{}"', {}, 2),
        ('"one"', {"ranges": False}, 2),
        ('"one"', {"more": "Accept-Ranges: none"}, 1),
        ('"one"', {"piece": 0}, 1),
    ],
)
def test_another_version_is_not_put_together(
    validator: str, options: dict[str, Any], requests: int, target: Path
) -> None:
    """Nor what a server does not give in parts, nor a weak validator, which names more than one version."""
    cut = Cut(f"ETag: {validator}", **options)
    with RawWeb(cut).running() as web, pytest.raises(DownloadError, match="cut short"):
        fetch(f"{web.url}/a", target)
    assert len(cut.asked) == requests


@pytest.mark.parametrize(
    "lines",
    [
        ['ETag: "two"', f"Content-Range: bytes 60000-{len(BODY) - 1}/{len(BODY)}"],
        ['ETag: "one"', f"Content-Range: bytes 59999-{len(BODY) - 2}/{len(BODY)}"],
        ['ETag: "one"', f"Content-Range: bytes 60000-{len(BODY)}/{len(BODY) + 1}"],
        ['ETag: "one"', "Content-Encoding: gzip", f"Content-Range: bytes 60000-{len(BODY) - 1}/{len(BODY)}"],
        ['ETag: "one"'],
    ],
)
def test_a_part_that_was_not_asked_for_is_refused(lines: list[str], target: Path) -> None:
    """Another version in spite of If-Range, another part, another length, or one that does not say which part it is."""
    first = Cut('ETag: "one"')
    with (
        RawWeb(
            lambda asked: (
                answer(BODY[60_000:], "206 Partial Content", *lines) if "range" in asked.headers else first(asked)
            )
        ).running() as web,
        pytest.raises(DownloadError, match="cut short"),
    ):
        fetch(f"{web.url}/a", target)


def test_a_connection_that_falls_silent_goes_on_elsewhere(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind routers that forget connections."""
    monkeypatch.setattr("mmmeta.documents.web.STALL", 0.3)
    with RawWeb(
        lambda asked: (
            answer(
                BODY[100:], "206 Partial Content", 'ETag: "1"', f"Content-Range: bytes 100-{len(BODY) - 1}/{len(BODY)}"
            )
            if "range" in asked.headers
            else answer(BODY, "200 OK", 'ETag: "1"')[: -len(BODY) + 100]
        )
    ).running() as web:
        assert fetch(f"{web.url}/a", target) == BODY


def test_a_cut_download_that_may_not_go_on_now_is_postponed(target: Path) -> None:
    """The server asks to wait in the middle of it."""
    first = Cut('ETag: "one"')
    with (
        RawWeb(
            lambda asked: answer(b"", "429 Too Many", "Retry-After: 30") if "range" in asked.headers else first(asked)
        ).running() as web,
        pytest.raises(PostponedError),
    ):
        fetch(f"{web.url}/a", target)


# Servers that ask to wait, or say nothing


@pytest.mark.parametrize(
    ("sent", "least", "most"),
    [
        (answer(b"", "429 Too Many Requests", "Retry-After: 120"), 118, 121),
        (answer(b"", "503 Unavailable", "Retry-After: 120"), 118, 121),
        (answer(b"", "503 Unavailable", f"Retry-After: {http_date(120)}", f"Date: {http_date(0)}"), 117, 122),
        # By the server's own clock.
        (answer(b"", "429 X", f"Retry-After: {http_date(-3480)}", f"Date: {http_date(-3600)}"), 117, 122),
        (answer(b"", "429 X"), 58, 61),
        (answer(b"", "503 X", "Retry-After: soon"), 58, 61),
        (answer(b"", "503 X", "Retry-After: -5"), 58, 61),
        (answer(b"", "503 X", "Retry-After: 0"), 0, 2),
        (answer(b"", "503 X", "Retry-After: 99999999999"), 86_000, 86_401),
    ],
    ids=range(9),
)
def test_a_host_that_asks_to_wait_is_left_alone(sent: bytes, least: float, most: float, target: Path) -> None:
    """For as long as it says, by seconds or date, a day at most; nobody else asks it meanwhile."""
    with RawWeb(lambda asked: sent).running() as web:
        sources = WebSources(("http",))
        waits = []
        for path in ("/a", "/b"):
            with pytest.raises(PostponedError, match=f"waiting for {web.host}, which answered") as caught:
                fetch(web.url + path, target, sources=sources)
            assert caught.value.host == web.host
            waits.append((caught.value.asked, caught.value.until.timestamp() - time.time()))
        sources.close()
    assert [asked for asked, _ in waits] == [True, False]
    assert all(least <= wait <= most for _, wait in waits)
    assert len(web.asked) == 1


def test_one_document_that_shall_wait_keeps_no_other(target: Path) -> None:
    """Retry-After beside other answers (being made, too large just now) is about the one document."""
    with RawWeb(
        lambda asked: answer(b"", "202 Accepted", "Retry-After: 60") if asked.target == "/a" else answer(BODY)
    ).running() as web:
        sources = WebSources(("http",))
        with pytest.raises(PostponedError):
            fetch(f"{web.url}/a", target, sources=sources)
        assert fetch(f"{web.url}/b", target, sources=sources) == BODY
        sources.close()


def test_a_host_behind_a_redirect_is_left_alone_too(target: Path) -> None:
    """It is the one that answers who counts."""
    with (
        RawWeb(lambda asked: answer(b"", "503 X")).running() as busy,
        RawWeb(
            lambda asked: answer(BODY) if asked.target == "/here" else answer(b"", "302 F", f"Location: {busy.url}/x")
        ).running() as web,
    ):
        sources = WebSources(("http",))
        for path in ("/a", "/b"):
            with pytest.raises(PostponedError) as caught:
                fetch(web.url + path, target, sources=sources)
            assert caught.value.host == busy.host
        assert fetch(f"{web.url}/here", target, sources=sources) == BODY
        sources.close()
        assert len(busy.asked) == 1


@pytest.mark.parametrize("how", ["stall", "deadline"])
def test_a_silent_host_costs_one_time_out(how: str, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that has met it fails; the others are told so, whichever time was over."""
    monkeypatch.setattr("mmmeta.documents.web.STALL", 0.3 if how == "stall" else 60)
    seconds = 20 if how == "stall" else 0.3
    with RawWeb(lambda asked: None).running() as web:
        sources = WebSources(("http",))
        with pytest.raises(DownloadError, match=r"silent for 0\.3 seconds|not there after") as caught:
            fetch(f"{web.url}/a", target, seconds, sources=sources)
        assert not isinstance(caught.value, PostponedError)
        started = time.monotonic()
        for _ in range(50):
            with pytest.raises(PostponedError, match="was silent"):
                fetch(f"{web.url}/b", target, seconds, sources=sources)
        assert time.monotonic() - started < 0.25
        sources.close()
        assert len(web.asked) == 1


def test_a_head_that_drips_is_no_answer(target: Path) -> None:
    """The deadline is for the head, too."""

    def drip(asked: Asked) -> bytes | None:
        threading.Thread(target=_drip, args=(web, over), daemon=True).start()
        return None

    over = threading.Event()
    with RawWeb(drip).running() as web:
        started = time.monotonic()
        with pytest.raises(DownloadError, match="not there after"):
            fetch(f"{web.url}/a", target, 0.5)
        assert time.monotonic() - started < 10
        over.set()


def _drip(web: RawWeb, over: threading.Event) -> None:
    with contextlib.suppress(OSError):
        web._connections[-1].sendall(b"HTTP/1.1 200 OK\r\n")
        while not over.wait(0.02):
            web._connections[-1].sendall(b"x")


def test_a_host_that_answers_others_is_not_silent() -> None:
    """Then it is the one document, and not the host."""
    hosts = Hosts()
    asked = time.monotonic()
    hosts.answered("h")
    hosts.silent("h", asked)
    hosts.require_open("h")
    hosts.silent("h", time.monotonic())
    with pytest.raises(PostponedError):
        hosts.require_open("h")


def test_a_host_gets_more_time_each_time_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """What several threads meet at once is one time; an answer ends the row, unless it was asked for before."""
    now = [1_000_000.0]
    monkeypatch.setattr("mmmeta.documents.hosts.time.time", lambda: now[0])
    hosts = Hosts(backoff=10)
    waits = []
    for _ in range(3):
        hosts.refused("h", "answered 503", None)
        hosts.refused("h", "answered 503", None)
        hosts.answered("h")
        closed = hosts.news()["h"]
        assert closed is not None
        waits.append(closed.until - now[0])
        now[0] = closed.until + 1
    assert waits == [10, 20, 40]
    hosts.answered("h")
    assert hosts.news() == {"h": None}
    hosts.require_open("h")


def test_a_clock_that_was_set_back_closes_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """For more than a day."""
    hosts = Hosts()
    hosts.refused("h", "answered 503", 3600)
    learned = {name: closed for name, closed in hosts.news().items() if closed is not None}
    other = Hosts()
    other.learn(learned)
    with pytest.raises(PostponedError):
        other.require_open("h")
    now = time.time()
    monkeypatch.setattr("mmmeta.documents.hosts.time.time", lambda: now - 100_000)
    other.require_open("h")


@pytest.mark.parametrize("text", ["", "abc", "1e9", "Mon, 99 Foo 2026", "-1", None])
def test_what_is_no_retry_after(text: str | None) -> None:
    assert retry_after(text, None) is None


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
