"""Servers that ask to wait, or say nothing: the host is left alone, and the others are not kept."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import pytest
from fetching import BODY, fetch
from raw_web import Asked, RawWeb, answer, http_date

from mmmeta.documents.hosts import Hosts, retry_after
from mmmeta.documents.web import WebSources
from mmmeta.errors import DownloadError, PostponedError


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
