"""A download that was cut goes on where it ended, and never puts two versions together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fetching import BODY, fetch
from raw_web import Asked, RawWeb, answer, http_date

from mmmeta.documents.source import Deadline
from mmmeta.documents.transfer import download
from mmmeta.documents.web import WebSources
from mmmeta.errors import DownloadError, PostponedError


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


def test_an_answer_that_comes_when_the_run_was_ended_leaves_no_connection_open(target: Path) -> None:
    """A pull gives up all its files with the first that fails, also one whose answer has just begun."""

    class Ended(Deadline):
        def left(self) -> float:
            if web.asked:
                raise DownloadError("given up because the run was stopped")
            return super().left()

    with RawWeb(lambda asked: answer(BODY)).running() as web:
        sources = WebSources(("http",))
        with pytest.raises(DownloadError, match="given up") as caught:
            download(web.url, target, allowed_roots=[], web=sources, deadline=Ended(web.url))
        sources.close()
    (response,) = [entry.frame.f_locals["response"] for entry in caught.traceback if "response" in entry.frame.f_locals]
    assert response.closed
