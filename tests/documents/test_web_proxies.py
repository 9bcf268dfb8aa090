"""Proxies, as curl and browsers know them from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest
from fetching import BODY, fetch
from raw_web import RawWeb, answer

from mmmeta.documents.proxies import Proxies
from mmmeta.errors import DownloadError


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
