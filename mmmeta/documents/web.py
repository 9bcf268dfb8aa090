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
from urllib.parse import urlsplit

from mmmeta.documents.hosts import Hosts
from mmmeta.documents.source import LARGEST, Deadline, protocol_of, reason
from mmmeta.errors import DownloadError, MissingPackageError, pip_line
from mmmeta.masking import said, shown

if TYPE_CHECKING:
    from mmmeta.documents.http_client import HttpClient
    from mmmeta.documents.http_source import HttpSource

HTTP = ("http", "https")
SFTP = ("sftp", "ssh")

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
    "sftp": ("mmmeta[sftp]",),
    "ssh": ("mmmeta[sftp]",),
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
        self._systems: dict[str, AskedSystem] = {}
        self._http: HttpClient | None = None

    @contextmanager
    def open(
        self, url: str, deadline: Deadline, *, start: int = 0, decoded: bool | None = None
    ) -> Iterator[HttpSource | ObjectSource]:
        """A document, open for reading until the end of the block.

        Args:
            start: bytes at its beginning that are known; not every server can leave them out.
            decoded: whether web servers' encodings are taken off; as ``by_url`` says, unless given.

        Raises:
            MissingPackageError: the protocol's package is not installed.
            PostponedError: the web server is not to be asked now.
            DownloadError: the protocol is not allowed, or the document cannot be had.
        """
        protocol = self._checked(url)
        if protocol not in HTTP:
            yield ObjectSource(self.system(url), url, deadline, start)
            return
        client = self._client(url)
        from mmmeta.documents.http_source import HttpSource

        with client.reading(deadline) as reading:
            if decoded is None:
                decoded = self._by_url
            source = HttpSource(client, url, reading, stall=STALL, redirects=REDIRECTS, decoded=decoded, start=start)
            try:
                source.request()
                yield source
            finally:
                source.close()

    def system(self, url: str) -> AskedSystem:
        """The file system of an address.

        Raises:
            MissingPackageError: the protocol's package is not installed.
            DownloadError: the protocol is not allowed.
        """
        protocol = self._checked(url)
        try:
            return self._system(protocol, url)
        except OSError as error:  # some connect while they are made
            raise DownloadError(f"{shown(url)}: {type(error).__name__}: {reason(error, url)}") from error

    def close(self) -> None:
        """Close connections."""
        with self._lock:
            systems, self._systems = self._systems, {}
            client, self._http = self._http, None
        if client is not None:
            client.close()
        for system in (asked.system for asked in systems.values()):
            if hang_up := getattr(system, "hang_up", None):
                hang_up()
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

    def _system(self, protocol: str, url: str) -> AskedSystem:
        # Of the others there is one that all addresses mean.
        place = f"{protocol}://{urlsplit(url).netloc}" if protocol in SFTP else protocol
        with self._lock:
            if place not in self._systems:
                try:
                    self._systems[place] = AskedSystem(self._made(protocol, url))
                except (ImportError, ValueError) as error:
                    raise _missing(url, error) from error
            return self._systems[place]

    def _made(self, protocol: str, url: str) -> Any:
        """A file system of our own: fsspec keeps its instances for each thread for ever, and this one serves all of a run."""
        import fsspec

        if protocol in SFTP:
            # Not by its name, which another package may have taken over.
            from mmmeta.documents.sftp import known_host

            return known_host(url, STALL)
        if self._by_url:
            return fsspec.url_to_fs(url, skip_instance_cache=True)[0]
        return fsspec.filesystem(protocol, skip_instance_cache=True)


def below(base: str, path: str) -> str:
    """The address of what lies below a base; a signature behind the question mark stays where it is."""
    start, mark, query = base.partition("?") if protocol_of(base) in HTTP else (base, "", "")
    return f"{start.rstrip('/')}/{path}{mark}{query}"


def _missing(url: str, error: Exception) -> MissingPackageError:
    protocol = protocol_of(url)
    packages = _PACKAGES.get(protocol)
    hint = "install it: " + pip_line(*(packages or ("mmmeta[http]",)))
    more = "" if packages else f", and fsspec's package for {protocol}://"
    return MissingPackageError(f"{shown(url)}: {protocol}:// cannot be read here ({reason(error, url)}); {hint}{more}")


class AskedSystem:
    """A file system of fsspec's, as all threads of a run ask it.

    Attributes:
        system: fsspec's own.
    """

    def __init__(self, system: Any) -> None:
        self.system = system
        # What is not asynchronous is mostly one connection, whose answers two threads would take from each other.
        self._one_by_one = threading.Lock()

    def path_of(self, url: str) -> str:
        """The path that a URL means in it."""
        return str(self.system._strip_protocol(url))

    def ask(self, method: str, url: str, deadline: Deadline, *arguments: Any, **options: Any) -> Any:
        """Call a method with the path of a URL; further arguments follow it.

        Raises:
            DownloadError: it did not work, or the time is over.
        """
        return self.call(method, url, deadline, self.path_of(url), *arguments, **options)

    def call(self, method: str, url: str, deadline: Deadline, *arguments: Any, **options: Any) -> Any:
        """Call a method with just these arguments; the URL is named in errors."""
        try:
            if self.system.async_impl:
                work = getattr(self.system, f"_{method}")
                return run(lambda: work(*arguments, **options), self.system.loop, deadline)
            deadline.left()
            with self._one_by_one:
                return self._one(method, *arguments, **options)
        except DownloadError:
            raise
        except FileNotFoundError as error:
            raise DownloadError(f"{shown(url)}: is not there", is_missing=True) from error
        except Exception as error:  # each store has errors of its own
            raise DownloadError(
                f"{shown(url)}: {type(error).__name__}: {reason(error, url)}",
                is_refused=isinstance(error, PermissionError),
            ) from error

    def _one(self, method: str, *arguments: Any, **options: Any) -> Any:
        try:
            return getattr(self.system, method)(*arguments, **options)
        except (FileNotFoundError, PermissionError, FileExistsError):
            raise
        except BaseException:
            if hang_up := getattr(self.system, "hang_up", None):
                hang_up()
            raise


class ObjectSource:
    """A document of an object store or of any other file system of fsspec's, fetched in blocks.

    Attributes:
        start: from where on it comes.
        version: what tells this version from others; None where the store does not say.
    """

    encoding: str | None = None
    content_type: str | None = None
    may_be_empty = True

    def __init__(self, system: AskedSystem, url: str, deadline: Deadline, start: int = 0) -> None:
        self._system = system
        self._url = url
        self._deadline = deadline
        self._info = self._call("info")
        if self._info.get("type") not in ("file", None):
            raise DownloadError(f"{shown(url)}: is no document but a {said(str(self._info['type']))}")
        size = self._info.get("size")
        if not isinstance(size, int):
            raise DownloadError(f"{shown(url)}: the store does not tell its size")
        self.size: int | None = min(size, LARGEST)
        self.start: int = start if start <= self.size else 0

    @property
    def version(self) -> str | None:
        known = [f"{key}={self._info[key]}" for key in _VERSION_KEYS[1:] if self._info.get(key)]
        return "\n".join(known) or None

    @property
    def etag(self) -> str | None:
        """What an object store calls this version, for writing under the condition that it is still the one."""
        etag = self._info.get("ETag") or self._info.get("etag")
        return etag if isinstance(etag, str) and etag else None

    def chunks(self) -> Iterator[bytes]:
        assert self.size is not None
        for start in range(self.start, self.size, BLOCK):
            end = min(start + BLOCK, self.size)
            yield (block := self._call("cat_file", start=start, end=end))
            if len(block) != end - start:
                return  # verify() says so

    def verify(self, size: int) -> None:
        if size != self.size:
            raise DownloadError(f"{shown(self._url)}: cut short: the store announced {self.size} bytes and sent {size}")
        if size - self.start > BLOCK:  # several requests: all of them for the same version?
            again = self._call("info")
            if [self._info.get(key) for key in _VERSION_KEYS] != [again.get(key) for key in _VERSION_KEYS]:
                raise DownloadError(
                    f"{shown(self._url)}: changed while it was read; the next attempt takes the new one"
                )

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._system.ask(method, self._url, self._deadline, **arguments)


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
