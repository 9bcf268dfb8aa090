"""Documents elsewhere: web servers through urllib3, object stores through fsspec.

Metadata must not choose what is opened, so only the protocols of an allow-list are; an address that chains file systems
(``a::b``) never is. For object stores fsspec's own configuration (``FSSPEC_S3_ENDPOINT_URL``, ``~/.config/fsspec``) holds.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from mmmeta.documents.hosts import Hosts
from mmmeta.documents.source import LARGEST, Deadline, Source, protocol_of, reason
from mmmeta.errors import DownloadError, MissingPackageError, pip_line
from mmmeta.masking import said, shown

if TYPE_CHECKING:
    from mmmeta.documents.http_client import HttpClient

HTTP = ("http", "https")

STALL = 60.0
"""Seconds without a byte, or without a connection, after which a web server is given up."""

REDIRECTS = 10
"""How often a web server may send elsewhere."""

BLOCK = 8 * 1024 * 1024
"""Bytes of an object store's document fetched by one request; each worker holds one block in memory."""

LOOK_EVERY = 0.5
"""Seconds until a stopped run is noticed while an object store is silent."""

CLOSING = 10.0
"""Seconds that closing connections may take."""

_PACKAGES = {
    "http": ("mmmeta[http]",),
    "https": ("mmmeta[http]",),
    "s3": ("mmmeta[s3]",),
    "gs": ("mmmeta[http]", "gcsfs"),
    "az": ("mmmeta[http]", "adlfs"),
    "abfs": ("mmmeta[http]", "adlfs"),
    "sftp": ("mmmeta[http]", "paramiko"),
}
"""What brings a protocol; fsspec itself knows of others."""

_VERSION_KEYS = ("size", "ETag", "etag", "LastModified", "last_modified", "generation", "mtime")
"""What tells the versions of an object apart, in the words of the file systems."""


class WebSources:
    """Connections to web servers, and fsspec's file systems, one for each protocol; used by all threads of a run.

    Args:
        protocols: those that may be read.
        by_url: take what a URL says about host and user of a file system (``sftp://user@host/path``), and what web servers
            send encoded in its decoded form. For one place that a person named, never for what metadata names.
        headers: sent to web servers with every request.
        hosts: which web servers are not to be asked now.
    """

    def __init__(
        self,
        protocols: Sequence[str],
        *,
        by_url: bool = False,
        headers: Mapping[str, str] | None = None,
        hosts: Hosts | None = None,
    ) -> None:
        self._protocols = tuple(protocols)
        self._by_url = by_url
        self._headers = dict(headers or {})
        self._hosts = hosts or Hosts()
        self._lock = threading.Lock()
        self._systems: dict[str, Any] = {}
        self._http: HttpClient | None = None

    @contextmanager
    def open(self, url: str, deadline: Deadline) -> Iterator[Source]:
        """A document, open for reading until the end of the block.

        Raises:
            MissingPackageError: the protocol's package is not installed.
            PostponedError: the web server is not to be asked now.
            DownloadError: the protocol is not allowed, or the document cannot be had.
        """
        protocol = self._checked(url)
        if protocol not in HTTP:
            yield ObjectSource(self._system(protocol, url), url, deadline)
            return
        client = self._client(url)
        from mmmeta.documents.http_source import HttpSource

        with client.reading(deadline) as reading:
            source = HttpSource(client, url, reading, stall=STALL, redirects=REDIRECTS, decoded=self._by_url)
            try:
                source.request()
                yield source
            finally:
                source.close()

    def close(self) -> None:
        """Close connections."""
        with self._lock:
            systems, self._systems = self._systems, {}
            client, self._http = self._http, None
        if client is not None:
            client.close()
        for system in systems.values():
            # s3fs has another name for it; what has neither closes itself when it is collected.
            session = getattr(system, "_session", None) or getattr(system, "_s3", None)
            if session is not None:
                with suppress(Exception):  # nothing depends on a farewell
                    run(partial(session.__aexit__, None, None, None), system.loop, Deadline("connections", CLOSING))

    def _checked(self, url: str) -> str:
        protocol = protocol_of(url)
        if "\0" in url:
            raise DownloadError(f"{url!r}: not an address: holds a NUL character")
        if "::" in url and protocol not in HTTP:
            raise DownloadError(f"{shown(url)}: chains file systems with ::, which is not read")
        if protocol not in self._protocols or url[len(protocol) : len(protocol) + 3] != "://":
            known = ", ".join((*self._protocols, "and files below files_root"))
            raise DownloadError(
                f"{shown(url)}: is not read from there; this job reads {known}. Its protocols: says from where else"
            )
        return protocol

    def _client(self, url: str) -> HttpClient:
        with self._lock:
            if self._http is None:
                try:
                    import urllib3  # noqa: F401 - first, so that what is missing is named

                    from mmmeta.documents.http_client import HttpClient
                except ImportError as error:
                    raise _missing(url, error) from error
                self._http = HttpClient(self._protocols, self._headers, self._hosts)
            return self._http

    def _system(self, protocol: str, url: str) -> Any:
        with self._lock:
            if protocol not in self._systems:
                try:
                    import fsspec

                    # fsspec keeps instances for each thread for ever; one of our own serves all threads of this run.
                    if self._by_url:
                        self._systems[protocol], _ = fsspec.url_to_fs(url, skip_instance_cache=True)
                    else:
                        self._systems[protocol] = fsspec.filesystem(protocol, skip_instance_cache=True)
                except (ImportError, ValueError) as error:
                    raise _missing(url, error) from error
            return self._systems[protocol]


def _missing(url: str, error: Exception) -> MissingPackageError:
    protocol = protocol_of(url)
    packages = _PACKAGES.get(protocol)
    hint = "install it: " + pip_line(*(packages or ("mmmeta[http]",)))
    more = "" if packages else f", and fsspec's package for {protocol}://"
    return MissingPackageError(f"{shown(url)}: {protocol}:// cannot be read here ({reason(error)}); {hint}{more}")


class ObjectSource:
    """A document of an object store or of any other file system of fsspec's, fetched in blocks."""

    encoding: str | None = None
    content_type: str | None = None
    may_be_empty = True

    def __init__(self, system: Any, url: str, deadline: Deadline) -> None:
        self._system = system
        self._url = url
        self._deadline = deadline
        self._path = system._strip_protocol(url)
        self._info = self._call("info")
        if self._info.get("type") not in ("file", None):
            raise DownloadError(f"{shown(url)}: is no document but a {said(str(self._info['type']))}")
        size = self._info.get("size")
        if not isinstance(size, int):
            raise DownloadError(f"{shown(url)}: the store does not tell its size")
        self.size: int | None = min(size, LARGEST)

    def chunks(self) -> Iterator[bytes]:
        assert self.size is not None
        for start in range(0, self.size, BLOCK):
            end = min(start + BLOCK, self.size)
            yield (block := self._call("cat_file", start=start, end=end))
            if len(block) != end - start:
                return  # verify() says so

    def verify(self, size: int) -> None:
        if size != self.size:
            raise DownloadError(f"{shown(self._url)}: cut short: the store announced {self.size} bytes and sent {size}")
        if size > BLOCK:  # several requests: all of them for the same version?
            again = self._call("info")
            if [self._info.get(key) for key in _VERSION_KEYS] != [again.get(key) for key in _VERSION_KEYS]:
                raise DownloadError(
                    f"{shown(self._url)}: changed while it was read; the next attempt takes the new one"
                )

    def _call(self, method: str, **arguments: Any) -> Any:
        try:
            if self._system.async_impl:
                work = getattr(self._system, f"_{method}")
                return run(lambda: work(self._path, **arguments), self._system.loop, self._deadline)
            self._deadline.left()
            return getattr(self._system, method)(self._path, **arguments)
        except DownloadError:
            raise
        except FileNotFoundError as error:
            raise DownloadError(f"{shown(self._url)}: is not there") from error
        except Exception as error:  # each store has errors of its own
            raise DownloadError(f"{shown(self._url)}: {type(error).__name__}: {reason(error)}") from error


def run(work: Callable[[], Coroutine[Any, Any, Any]], loop: asyncio.AbstractEventLoop, deadline: Deadline) -> Any:
    """Run a coroutine in fsspec's thread and wait for it; cancelled when the deadline is over or the run stopped."""
    deadline.left()
    future = asyncio.run_coroutine_threadsafe(work(), loop)
    try:
        while True:
            try:
                return future.result(min(deadline.left(), LOOK_EVERY))
            except concurrent.futures.TimeoutError:
                if future.done():  # just now, or with a timeout of its own: since Python 3.11 both are one class
                    return future.result()
    finally:
        future.cancel()
