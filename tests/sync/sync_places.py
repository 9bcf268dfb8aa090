"""Places to sync with: a web server over a folder that sends parts and misbehaves when it is told to, and helpers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mmmeta import Metadir, mmmeta
from mmmeta.layout import Layout
from mmmeta.metadata.changelog.head import LogHead, read_log


class Site:
    """A folder at a free port of the loopback interface.

    Attributes:
        asked: how often each path was asked for, below the base.
        ranges: the ranges that were asked for, by path.
        cut: path → after how many bytes of an answer the connection is cut, once.
        status: path → statuses that are answered before the file is, one after the other.
        instead: path → what is sent in place of the file.
        parts: whether parts are sent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: Counter[str] = Counter()
        self.ranges: dict[str, list[str]] = {}
        self.cut: dict[str, int] = {}
        self.status: dict[str, list[int]] = {}
        self.instead: dict[str, bytes] = {}
        self.parts = True
        self.sent = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *rest: _Handler(self, *rest))
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[Site]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, site: Site, *rest: Any) -> None:
        self._site = site
        super().__init__(*rest)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the tests look at ``asked``."""

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def do_GET(self) -> None:
        site = self._site
        path = unquote(self.path.partition("?")[0]).lstrip("/")
        site.asked[path] += 1
        if statuses := site.status.get(path):
            self._head(statuses.pop(0), 0)
            return
        file = site.folder / path
        if path in site.instead:
            content = site.instead[path]
        elif file.is_file():
            content = file.read_bytes()
        else:
            self._head(404, 0)
            return
        start, status, bounds = 0, 200, self.headers.get("Range")
        if bounds and site.parts:
            site.ranges.setdefault(path, []).append(bounds)
            start = int(bounds.removeprefix("bytes=").split("-")[0])
            if start >= len(content):
                self._head(416, 0)
                return
            status = 206
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{hash(content):x}"')
        if not site.parts:
            self.send_header("Accept-Ranges", "none")
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        end = len(content)
        if path in site.cut:
            end = min(end, start + site.cut.pop(path))
            self.close_connection = True
        site.sent += end - start
        self.wfile.write(content[start:end])

    def _head(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()


def publish(server: Path, *names: str, **keys: Any) -> LogHead:
    """Let a server have these files, in one revision; what its change log says then."""
    with mmmeta(server) as m, m.bulk():
        for name in names:
            m.files.upsert({"content_hash": name, **keys}, ["content_hash"])
    return head_of(server)


def head_of(path: Path) -> LogHead:
    found = read_log(Layout.at(path))
    assert found is not None
    return found


def synced(path: Path) -> dict[str, bytes]:
    """What a metadir holds that is synced, but for meta.db."""
    metadir = path / "_mmmeta"
    return {
        str(file.relative_to(metadir)): file.read_bytes()
        for file in sorted(metadir.rglob("*"))
        if file.is_file() and file.relative_to(metadir).parts[0] not in ("local", "meta.db")
    }


def files_of(path: Path) -> dict[str, str]:
    """The files of a client after an update, with their metadata."""
    with Metadir(path) as m:
        m.update(allow_mass_delete=True)
        return {
            file.unique_value: repr((sorted(file.meta.items()), file.deleted)) for file in m.files.find(deleted=None)
        }
