"""Documents elsewhere: web servers and object stores, through fsspec.

Metadata must not choose what is opened, so only the protocols of an allow-list are; an address that chains file systems
(``a::b``) never is. fsspec's own configuration (``FSSPEC_S3_ENDPOINT_URL``, ``~/.config/fsspec``) holds here.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from mmmeta.documents.source import CHUNK, Deadline, Source, protocol_of, reason
from mmmeta.errors import DownloadError, MissingPackageError
from mmmeta.masking import shown

HTTP = ("http", "https")

STALL = 60.0
"""Seconds without a byte, or without a connection, after which a web server is given up."""

REDIRECTS = 10
"""How often a web server may send elsewhere."""

BLOCK = 8 * 1024 * 1024
"""Bytes of an object store's document fetched by one request; each worker holds one block in memory."""

LOOK_EVERY = 0.5
"""Seconds until a stopped run is noticed while a server is silent."""

CLOSING = 10.0
"""Seconds that closing connections may take."""

EXTRAS = {"http": "mmmeta[http]", "https": "mmmeta[http]", "s3": "mmmeta[s3]"}
_PACKAGES = {"gs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}

_VERSION_KEYS = ("size", "ETag", "etag", "LastModified", "last_modified", "generation", "mtime")
"""What tells the versions of an object apart, in the words of the file systems."""

_ENCODED = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")


class WebSources:
    """fsspec's file systems, one for each protocol, used by all threads of a run.

    Args:
        protocols: those that may be read.
        by_url: take what a URL says about host and user of a file system (``sftp://user@host/path``). For one place that
            a person named, never for what metadata names.
    """

    def __init__(self, protocols: Sequence[str], *, by_url: bool = False) -> None:
        self._protocols = tuple(protocols)
        self._by_url = by_url
        self._lock = threading.Lock()
        self._systems: dict[str, Any] = {}

    @contextmanager
    def open(self, url: str, deadline: Deadline) -> Iterator[Source]:
        """A document, open for reading until the end of the block.

        Raises:
            MissingPackageError: the protocol's package is not installed.
            DownloadError: the protocol is not allowed, or the document cannot be had.
        """
        protocol = self._checked(url)
        system = self._system(protocol, url)
        if protocol in HTTP:
            source = HttpSource(system, url, self._protocols, deadline, decoded=self._by_url)
            try:
                source.request()
                yield source
            finally:
                source.close()
        else:
            yield ObjectSource(system, url, deadline)

    def close(self) -> None:
        """Close connections."""
        with self._lock:
            systems, self._systems = self._systems, {}
        for system in systems.values():
            # s3fs has another name for it; what has neither closes itself when it is collected.
            session = getattr(system, "_session", None) or getattr(system, "_s3", None)
            if session is not None:
                with suppress(Exception):  # nothing depends on a farewell
                    run(partial(session.__aexit__, None, None, None), system.loop, Deadline("connections", CLOSING))

    def _checked(self, url: str) -> str:
        protocol = protocol_of(url)
        known = ", ".join((*self._protocols, "and files below files_root"))
        if "\0" in url:
            raise DownloadError(f"{url!r}: not an address: holds a NUL character")
        if "::" in url and protocol not in HTTP:
            raise DownloadError(f"{shown(url)}: chains file systems with ::, which is not read")
        if protocol not in self._protocols or url[len(protocol) : len(protocol) + 3] != "://":
            raise DownloadError(f"{shown(url)}: is not read from there; this job reads {known}")
        return protocol

    def _system(self, protocol: str, url: str) -> Any:
        family = "http" if protocol in HTTP else protocol
        with self._lock:
            if family not in self._systems:
                try:
                    import fsspec

                    if family == "http":
                        import aiohttp  # noqa: F401 - only used later

                    # fsspec keeps instances for each thread for ever; one of our own serves all threads of this run.
                    if self._by_url:
                        self._systems[family], _ = fsspec.url_to_fs(url, skip_instance_cache=True)
                    else:
                        self._systems[family] = fsspec.filesystem(
                            family, skip_instance_cache=True, **(_as_sent(fsspec) if family == "http" else {})
                        )
                except (ImportError, ValueError) as error:
                    name = EXTRAS.get(protocol) or _PACKAGES.get(protocol) or f"the fsspec package for {protocol}://"
                    hint = f"install {name}" if protocol in EXTRAS else f"install mmmeta[http] and {name}"
                    raise MissingPackageError(
                        f"{shown(url)}: {protocol}:// cannot be read here ({reason(error)}); {hint}"
                    ) from error
            return self._systems[family]


def _as_sent(fsspec: Any) -> dict[str, Any]:
    """Options of a session that decodes nothing, with what fsspec's own configuration says beside it."""
    configured = fsspec.config.conf.get("http", {}).get("client_kwargs", {})
    return {"client_kwargs": {**configured, "auto_decompress": False}}


class HttpSource:
    """The answer of a web server, as it goes over the line.

    Args:
        decoded: the session decodes what is encoded, and the length that the server tells is not that of what comes.
    """

    may_be_empty = False

    def __init__(
        self, system: Any, url: str, protocols: Sequence[str], deadline: Deadline, *, decoded: bool = False
    ) -> None:
        self.size: int | None = None
        self.encoding: str | None = None
        self.content_type: str | None = ""
        self._decoded = decoded
        self._system = system
        self._url = url
        self._protocols = protocols
        self._deadline = deadline
        self._response: Any = None

    def request(self) -> None:
        """Ask, follow redirects, and look at the answer's head."""
        self._run(self._ask)
        response = self._response
        way = [*(answer.url for answer in response.history), response.url]
        for url in way:
            if url.scheme not in self._protocols:
                raise self._error(f"leads to {url.scheme}://, which this job does not read")
        if response.status != 200:
            where = f" (at {shown(str(response.url))})" if len(way) > 1 else ""
            raise self._error(f"the server answered {response.status} {response.reason or ''}".rstrip() + where)
        self.content_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        encoding = ", ".join(response.headers.getall("Content-Encoding", ())).strip().lower()
        encoding = "" if encoding == "identity" else encoding
        if not (self._decoded and encoding):
            self.size = response.content_length
            self.encoding = encoding or None

    async def _ask(self) -> None:
        from aiohttp import ClientTimeout
        from yarl import URL

        session = await self._system.set_session()
        # What is encoded already must stay as it is, for its signature covers it.
        url = URL(self._url, encoded=bool(_ENCODED.fullmatch(self._url)))
        self._response = await session.get(
            url,
            **{
                **self._system.kwargs,
                "headers": {**self._system.kwargs.get("headers", {}), "Accept-Encoding": "identity"},
                "timeout": ClientTimeout(total=None, sock_connect=STALL, sock_read=STALL),
                "max_redirects": REDIRECTS,
            },
        )

    def chunks(self) -> Iterator[bytes]:
        content = self._response.content
        while chunk := self._run(lambda: content.read(CHUNK)):
            yield chunk

    def verify(self, size: int) -> None:
        if self.size is not None and size != self.size:
            raise self._error(f"cut short: the server announced {self.size} bytes and sent {size}")

    def close(self) -> None:
        if self._response is not None:
            self._system.loop.call_soon_threadsafe(self._response.close)

    def _run(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        import aiohttp

        try:
            return run(work, self._system.loop, self._deadline)
        except aiohttp.TooManyRedirects as error:
            raise self._error(f"redirects more than {REDIRECTS} times") from error
        except aiohttp.ClientPayloadError as error:
            raise self._error(f"cut short: {reason(error)}") from error
        except aiohttp.ServerTimeoutError as error:
            raise self._error(f"the server was silent for {STALL:g} seconds") from error
        except (aiohttp.ClientError, asyncio.TimeoutError, ValueError, OSError) as error:
            raise self._error(f"{type(error).__name__}: {reason(error)}") from error

    def _error(self, text: str) -> DownloadError:
        return DownloadError(f"{shown(self._url)}: {text}")


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
            raise DownloadError(f"{shown(url)}: is no document but a {self._info['type']}")
        size = self._info.get("size")
        if not isinstance(size, int):
            raise DownloadError(f"{shown(url)}: the store does not tell its size")
        self.size: int | None = size

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
