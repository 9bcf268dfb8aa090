"""A web server that behaves and misbehaves, and as much of an object store as s3fs needs to read."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

CONTENT = b"a contract\n" * 50_000


class Web:
    """A server on a free port of the loopback interface.

    Attributes:
        asked: how often each path was asked for.
        headers: those of the last request.
        encoded: path → encoding that the header names, and the body; the length is told unless the path ends with ~.
        typed: path → type of content, and the body.
        objects: bucket/key → content, for the object store.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.headers: Mapping[str, str] = {}
        self.encoded: dict[str, tuple[str, bytes]] = {}
        self.typed: dict[str, tuple[str, bytes]] = {}
        self.objects: dict[str, bytes] = {}
        self.over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *rest: _Handler(self, *rest))
        self._server.block_on_close = False  # a client may keep its connection open
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[Web]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self.over.set()
            self._server.shutdown()
            thread.join()
            self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, web: Web, *rest: Any) -> None:
        self._web = web
        super().__init__(*rest)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the tests look at ``asked``."""

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the other side went away, as tests make it do
            self.close_connection = True

    def do_HEAD(self) -> None:
        self._object()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self._web.asked[path] += 1
        self._web.headers = dict(self.headers)
        pages: dict[str, Callable[[], None]] = {
            "/good.pdf": lambda: self._answer(CONTENT),
            "/b%20%C3%BC/good.pdf": lambda: self._answer(CONTENT),
            "/empty": lambda: self._answer(b""),
            "/nothing": lambda: self._answer(b"", 204),
            "/500": lambda: self._answer(b"oops", 500),
            "/short": lambda: self._answer(CONTENT[:1000], length=2000),
            "/unannounced": lambda: self._answer(CONTENT, length=None),
            "/unchunked": lambda: self._chunk_cut_short(),
            "/drip": lambda: self._drip(),
            "/silent": lambda: self._silent(),
            "/moved": lambda: self._redirect("/good.pdf"),
            "/to-file": lambda: self._redirect("file:///etc/passwd"),
            "/to-ftp": lambda: self._redirect("ftp://127.0.0.1/x"),
            "/loop": lambda: self._redirect("/loop"),
        }
        if path in self._web.encoded:
            encoding, body = self._web.encoded[path]
            self._answer(body, length=None if path.endswith("~") else -1, encoding=encoding)
        elif path in self._web.typed:
            kind, body = self._web.typed[path]
            self._answer(body, kind=kind)
        elif path in pages:
            pages[path]()
        elif path.startswith("/bucket/"):
            self._object()
        elif path.startswith(("/silent/", "/drip/")):
            pages[f"/{path.split('/')[1]}"]()
        else:
            self._answer(b"no such page", 404)

    def _answer(
        self, body: bytes, status: int = 200, length: int | None = -1, encoding: str = "", kind: str = ""
    ) -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        if encoding:
            self.send_header("Content-Encoding", encoding)
        if length is None:
            self.send_header("Connection", "close")
        elif status != 204:
            self.send_header("Content-Length", str(len(body) if length < 0 else length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.close_connection or length != -1

    def _redirect(self, to: str) -> None:
        self.send_response(302)
        self.send_header("Location", to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _chunk_cut_short(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"5\r\nhello\r\n")
        self.close_connection = True

    def _drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        while not self._web.over.wait(0.02):
            self.wfile.write(b"x")

    def _silent(self) -> None:
        self._web.over.wait(60)
        self.close_connection = True

    def _object(self) -> None:
        """HeadObject and GetObject with a range."""
        key = unquote(self.path.partition("?")[0]).lstrip("/")
        content = self._web.objects.get(key)
        self._web.asked[f"{self.command} {key}"] += 1
        if content is None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, end = 0, len(content)
        if bounds := self.headers.get("Range"):
            first, last = bounds.removeprefix("bytes=").split("-")
            start, end = int(first), min(int(last) + 1, end)
        self.send_response(206 if bounds else 200)
        if bounds:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        self.send_header("Content-Length", str(end - start))
        self.send_header("ETag", f'"{hash(content):x}"')
        self.send_header("Last-Modified", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(1_700_000_000)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[start:end])
