"""Asks web servers as a browser or curl would: through proxies, after redirects, on connections that are kept.

What comes back is the answer's head, whatever its status; ``http_source`` makes a document of it. Importing this needs
urllib3, the extra ``http``.
"""

from __future__ import annotations

import base64
import re
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from http.client import HTTPException
from http.cookiejar import CookieJar
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes, urljoin
from urllib.request import Request

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import Timeout, Url, parse_url

from mmmeta import __version__
from mmmeta.documents.hosts import SLOW, Hosts
from mmmeta.documents.http_head import AnswerHead
from mmmeta.documents.proxies import Proxies
from mmmeta.documents.source import Deadline, reason
from mmmeta.documents.watch import Reading, Watch
from mmmeta.errors import DownloadError
from mmmeta.masking import said, shown

REDIRECTED = (301, 302, 303, 307, 308)

HOSTS_KEPT = 64
"""Hosts, and connections to each, that are kept for the next document."""

LONGEST_HOST = 255
"""Characters of a host's name, as DNS has them."""

REST = 64 * 1024
"""Bytes of an answer that nobody wants which are read at most, so that its connection can be used again."""

_PORTS = {"http": 80, "https": 443}
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_GOES_ALONG = re.compile(r"accept(-.*)?|user-agent|referer|from|dnt", re.IGNORECASE)
"""Headers of a job that other hosts get too, when they are redirected to; whatever else it says may be a secret."""


class Answer(NamedTuple):
    """The head of an answer, its body still unread.

    Attributes:
        response: urllib3's.
        address: where it comes from, after all redirects.
        host: the same as ``Hosts`` knows it.
        moved: whether it was redirected to.
        asked: when, as ``time.monotonic`` counts.
    """

    response: Any
    address: Url
    host: str
    moved: bool
    asked: float


class HttpClient:
    """Connections to web servers, for all threads of a run.

    Args:
        protocols: those that a redirect may lead to.
        headers: sent with every request.
        hosts: which are not to be asked now.
    """

    def __init__(self, protocols: Sequence[str], headers: Mapping[str, str], hosts: Hosts) -> None:
        self.hosts = hosts
        self._protocols = tuple(protocols)
        self._headers = {"User-Agent": f"mmmeta/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
        for name, value in headers.items():
            self._headers = {known: kept for known, kept in self._headers.items() if known.lower() != name.lower()}
            self._headers[name] = value
        self._abroad = {name: value for name, value in self._headers.items() if _GOES_ALONG.fullmatch(name)}
        self._proxies = Proxies()
        self._watch = Watch()
        self._lock = threading.Lock()
        self._managers: dict[tuple[str | None, bool], urllib3.PoolManager] = {}

    def reading(self, deadline: Deadline) -> AbstractContextManager[Reading]:
        """A block in which this thread asks and reads, no longer than the deadline."""
        return self._watch.over(deadline)

    def ask(
        self, url: str, reading: Reading, *, stall: float, redirects: int, more: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask for a document, and follow redirects.

        Args:
            stall: seconds without a byte after which a server is given up.
            redirects: how many are followed.
            more: further headers.

        Raises:
            PostponedError: a host on the way is not to be asked now.
            DownloadError: no answer came, or it leads to where nothing is read.
        """
        try:
            first = address = _address(url)
            jar: CookieJar | None = None
            for _ in range(redirects + 1):
                headers = self._headers_for(address, first, more, jar)
                answer = self._request(address, headers, url, reading, stall, moved=address is not first)
                to = next(iter(answer.response.headers.getlist("Location")), "").strip()
                if not to or answer.response.status not in REDIRECTED:
                    return answer
                if "Set-Cookie" in answer.response.headers:
                    jar = jar or CookieJar()
                    jar.extract_cookies(answer.response, Request(_written(address)))
                self.hosts.answered(answer.host)
                let_go(answer.response)
                address = self._next(address, to, url)
        except (HTTPError, ValueError, UnicodeError) as error:
            raise DownloadError(f"{shown(url)}: {_said(error)}") from error
        raise DownloadError(f"{shown(url)}: redirects more than {redirects} times")

    def close(self) -> None:
        """Close connections."""
        self._watch.close()
        with self._lock:
            managers, self._managers = self._managers, {}
        for manager in managers.values():
            for key in manager.pools.keys():  # noqa: SIM118 - it cannot be iterated over
                if (pool := manager.pools.get(key)) is not None:
                    pool.close()  # else its connections stay open as long as anything knows it, such as an error's traceback
            manager.clear()

    def _next(self, address: Url, to: str, url: str) -> Url:
        """Where a redirect leads."""
        with suppress(UnicodeError):  # http.client reads headers as Latin-1; what is sent is UTF-8, if not ASCII
            to = to.encode("latin-1").decode("utf-8")
        target = urljoin(_written(address), to)
        scheme = target.partition(":")[0].lower()
        if scheme not in self._protocols or scheme not in _PORTS:
            raise DownloadError(f"{shown(url)}: redirects to {said(scheme)}://, which this job does not read")
        return _address(target)

    def _headers_for(
        self, address: Url, first: Url, more: Mapping[str, str] | None, jar: CookieJar | None
    ) -> dict[str, str]:
        """What is sent to an address: secrets only to the server that was named first."""
        at_home = _is_trusted(address, first)
        headers = {**(self._headers if at_home else self._abroad), **(more or {})}
        auth = address.auth or (first.auth if at_home else None)
        if auth is not None:
            login = unquote_to_bytes(auth if ":" in auth else f"{auth}:")
            headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
            headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        if jar is not None:
            request = Request(_written(address))
            jar.add_cookie_header(request)
            if request.has_header("Cookie"):
                own = next((name for name in headers if name.lower() == "cookie"), "Cookie")
                headers[own] = "; ".join(filter(None, [headers.get(own), request.get_header("Cookie")]))
        return headers

    def _request(
        self, address: Url, headers: dict[str, str], url: str, reading: Reading, stall: float, *, moved: bool
    ) -> Answer:
        """One request; once more where the server had closed the connection that was kept."""
        host = host_of(address)
        self.hosts.require_open(host)
        asked = time.monotonic()
        again = True
        while True:
            # Where the deadline comes first, it shall be over when the time-out comes.
            limit = min(stall, reading.deadline.left() + 0.05)
            reading.fresh = False
            try:
                response = self._sent(address, headers, Timeout(connect=limit, read=limit))
            except (HTTPError, HTTPException, OSError) as error:
                self._require_time(reading.deadline, host, asked)
                if again and not reading.fresh and not isinstance(error, (ReadTimeoutError, ConnectTimeoutError)):
                    again = False
                    continue
                timed_out = isinstance(error, (ReadTimeoutError, ConnectTimeoutError)) and not isinstance(
                    error, NewConnectionError
                )
                if timed_out or time.monotonic() - asked >= SLOW:
                    self.hosts.silent(host, asked)
                if timed_out:
                    raise DownloadError(f"{shown(url)}: the server was silent for {stall:g} seconds") from error
                raise DownloadError(f"{shown(url)}: {_no_answer(error, host)}") from error
            reading.response = response
            try:
                reading.deadline.left()  # a head that was broken off when the time was over looks like a short one
            except DownloadError:
                response.close()
                raise
            return Answer(response, address, host, moved, asked)

    def _require_time(self, deadline: Deadline, host: str, asked: float) -> None:
        """After an error, which may be that the time was over: a host that let it pass without an answer is silent."""
        try:
            deadline.left()
        except DownloadError:
            if not deadline.is_stopped():
                self.hosts.silent(host, asked)
            raise

    def _sent(self, address: Url, headers: dict[str, str], timeout: Timeout) -> Any:
        scheme, host = str(address.scheme), str(address.host)
        port = address.port or _PORTS[scheme]
        proxy = self._proxies.proxy_of(scheme, host, port)
        manager = self._manager(proxy, scheme == "https")
        rest: dict[str, Any] = {
            "headers": headers,
            "timeout": timeout,
            "retries": False,
            "redirect": False,
            "assert_same_host": False,
            "preload_content": False,
            "decode_content": False,
        }
        if proxy is not None:
            return manager.urlopen("GET", _written(address), **rest)
        return manager.connection_from_host(host, port, scheme).urlopen("GET", address.request_uri, **rest)

    def _manager(self, proxy: str | None, secure: bool) -> urllib3.PoolManager:
        with self._lock:
            known = self._managers.get((proxy, secure))
            if known is None:
                known = self._managers[proxy, secure] = self._made(proxy, secure)
            return known

    def _made(self, proxy: str | None, secure: bool) -> urllib3.PoolManager:
        options: dict[str, Any] = {"num_pools": HOSTS_KEPT, "maxsize": HOSTS_KEPT}
        if secure:
            options["ssl_context"] = ssl.create_default_context()  # made once: it reads all authorities
        if proxy is None:
            manager = urllib3.PoolManager(**options)
        else:
            address = parse_url(proxy)
            if address.scheme not in _PORTS:
                raise DownloadError(f"the proxy {shown(proxy)} is none that can be used: http:// and https:// are")
            login = None
            if address.auth is not None:
                login = {"Proxy-Authorization": f"Basic {base64.b64encode(unquote_to_bytes(address.auth)).decode()}"}
            manager = urllib3.ProxyManager(_written(address), proxy_headers=login, **options)
        manager.pool_classes_by_scheme = _pools(self._watch)
        return manager


def let_go(response: Any) -> None:
    """Be done with an answer that nobody reads; its connection is used again where little is left of it."""
    with suppress(HTTPError, HTTPException, OSError, ValueError, OverflowError):
        # Who says nothing of its length may let us wait for its end.
        while 0 < (response.length_remaining or 0) <= REST and response.read1(REST):
            pass
    response.close()


def host_of(address: Url) -> str:
    """A host as people write it, with its port where that is not the usual one."""
    name = str(address.host).rstrip(".")
    return name if address.port in (None, _PORTS.get(str(address.scheme))) else f"{name}:{address.port}"


def _address(text: str) -> Url:
    """An address with all in it encoded that has to be, and nothing twice."""
    address = parse_url(_LONE_PERCENT.sub("%25", text))
    if not address.host:
        raise ValueError("names no host")
    # It becomes a part of messages, and what the ledger calls a host that asked to wait.
    if len(address.host) > LONGEST_HOST or not address.host.isprintable():
        raise ValueError(f"{said(address.host)} is no name of a host")
    return address


def _written(address: Url) -> str:
    """The address as it is sent: without login, and without what is behind #."""
    return address._replace(auth=None, fragment=None).url


def _is_trusted(address: Url, first: Url) -> bool:
    """Whether a server is the one that was named first; over TLS it is the same one."""
    ports = tuple(one.port or _PORTS.get(str(one.scheme)) for one in (address, first))
    same = address.scheme == first.scheme and ports[0] == ports[1]
    return address.host == first.host and (same or (address.scheme == "https" and ports == (443, 80)))


def _no_answer(error: Exception, host: str) -> str:
    """Why no answer came, in words without secrets."""
    inner = innermost(error)
    if isinstance(error, ProxyError) or "Tunnel connection failed" in str(inner):
        return f"the proxy does not lead to {host}: {reason(inner)}"
    if isinstance(error, NameResolutionError):
        return f"Cannot connect to host {host}: its name is not known ({reason(inner)})"
    if isinstance(error, NewConnectionError):
        return f"Cannot connect to host {host}: {reason(inner)}"
    if isinstance(error, SSLError):
        return f"Cannot connect to host {host} safely: {reason(inner)}"
    if isinstance(inner, ConnectionError):
        return f"{host} closed the connection without an answer ({reason(inner)})"
    return f"{host} sent what is no answer ({_said(inner)})"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {reason(error)}"


def innermost(error: Exception) -> Exception:
    """The error that others were made of."""
    while True:
        inner = next((part for part in (*error.args[::-1], error.__cause__) if isinstance(part, Exception)), None)
        if inner is None:
            return error
        error = inner


def _pools(watch: Watch) -> dict[str, Any]:
    """urllib3's pools, with connections that tell who uses them."""

    class Plain(HTTPConnection):
        response_class = AnswerHead

        def connect(self) -> None:
            watch.uses(self, fresh=True)
            super().connect()

        def request(self, *arguments: Any, **options: Any) -> None:
            watch.uses(self, fresh=False)
            super().request(*arguments, **options)

    class Secure(Plain, HTTPSConnection):
        """The same, secured: next after ``Plain`` comes urllib3's secure connection."""

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
