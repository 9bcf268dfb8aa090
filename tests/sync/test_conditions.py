"""head.json in an object store is written under the condition that it is still the one that was read, as S3 knows conditions."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import fsspec
import pytest

from mmmeta.documents.source import Deadline
from mmmeta.sync.elsewhere import StorePlace
from mmmeta.sync.places import Small

KEY = "/bucket/archive/_mmmeta/head.json"


class Store:
    """As much of S3 as one small object needs.

    Attributes:
        content: of the object; None where there is none.
        meanwhile: what somebody else writes just before the next PUT is looked at.
        knows: whether it answers 501 to a condition, passes over it, or heeds it.
        conditions: those that it was sent.
    """

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.meanwhile: bytes | None = None
        self.knows = "heeds"
        self.conditions: list[dict[str, str]] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, store: Store, *rest: Any) -> None:
        self.store = store
        super().__init__(*rest)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if self.store.content is not None:
            self.send_header("ETag", f'"{hashlib.md5(self.store.content).hexdigest()}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        content = self.store.content
        if content is None or not self.path.startswith(KEY):
            self._answer(404)
        else:
            self._answer(206 if self.headers.get("Range") else 200, content)

    def do_PUT(self) -> None:
        store = self.store
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "aws-chunked":
            length, _, rest = sent.partition(b"\r\n")
            sent = rest[: int(length.split(b";")[0], 16)]
        if store.meanwhile is not None:
            store.content, store.meanwhile = store.meanwhile, None
        conditions = {name: self.headers[name] for name in ("If-Match", "If-None-Match") if name in self.headers}
        store.conditions.append(conditions)
        etag = None if store.content is None else f'"{hashlib.md5(store.content).hexdigest()}"'
        if conditions and store.knows == "refuses":
            self._answer(501, b"<Error><Code>NotImplemented</Code><Message>no</Message></Error>")
        elif store.knows == "heeds" and (
            conditions.get("If-Match", etag) != etag or ("If-None-Match" in conditions and etag is not None)
        ):
            self._answer(412, b"<Error><Code>PreconditionFailed</Code><Message>no</Message></Error>")
        else:
            store.content = sent
            self._answer(200)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    pytest.importorskip("s3fs", reason="mmmeta[s3] is not installed")
    made = Store()
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *rest: _Handler(made, *rest))
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    options = {"endpoint_url": url, "key": "k", "secret": "s", "config_kwargs": {"retries": {"max_attempts": 1}}}
    monkeypatch.setitem(fsspec.config.conf, "s3", options)
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def place(store: Store) -> Iterator[StorePlace]:
    made = StorePlace("s3://bucket/archive")
    yield made
    made.close()


def deadline() -> Deadline:
    return Deadline("head.json", 30)


def test_the_first_one_is_written_only_where_there_is_none(store: Store, place: StorePlace) -> None:
    """Somebody else's stays."""
    store.meanwhile = b"theirs"
    assert not place.swap("head.json", b"ours", None, deadline())
    assert store.content == b"theirs"
    assert store.conditions == [{"If-None-Match": "*"}]
    store.content = None
    assert place.swap("head.json", b"ours", None, deadline())
    assert store.content == b"ours"


def test_the_next_one_is_written_only_over_the_one_that_was_read(store: Store, place: StorePlace) -> None:
    """By the version's name."""
    store.content = b"before"
    before = place.small("head.json", 100, deadline())
    store.meanwhile = b"theirs"
    assert not place.swap("head.json", b"ours", before, deadline())
    assert store.content == b"theirs"
    assert [list(sent) for sent in store.conditions] == [["If-Match"]]
    assert place.swap("head.json", b"ours", place.small("head.json", 100, deadline()), deadline())
    assert store.content == b"ours"


@pytest.mark.parametrize("knows", ["refuses", "passes over"])
def test_a_store_that_knows_no_conditions_is_read_again(knows: str, store: Store, place: StorePlace) -> None:
    """And written to where nobody else was meanwhile."""
    store.knows = knows
    assert place.swap("head.json", b"ours", None, deadline())
    assert store.content == b"ours"
    assert not place.swap("head.json", b"later", Small(b"something else"), deadline())
    assert place.swap("head.json", b"later", place.small("head.json", 100, deadline()), deadline())
    assert store.content == b"later"
