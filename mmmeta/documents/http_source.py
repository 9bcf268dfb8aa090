"""One document of a web server: what its answer says, and how a download that was cut goes on."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from http.client import HTTPException, responses
from typing import Any

from urllib3.exceptions import HTTPError, ReadTimeoutError

from mmmeta.documents.hosts import retry_after
from mmmeta.documents.http_client import Answer, HttpClient, innermost, let_go
from mmmeta.documents.source import CHUNK, LARGEST, reason
from mmmeta.documents.watch import Reading
from mmmeta.errors import DownloadError, PostponedError
from mmmeta.masking import said, shown

FOUND = (200, 203)
"""What a document comes with; 203 is sent by proxies that changed something."""

BUSY = (429, 503)
"""What a server says that wants to be left alone, whole."""

PASSING = (408, 421, 425)
"""Refusals that the next attempt may not meet, besides those of a server that is at fault or busy."""

_TRANSFERS = ("", "identity", "chunked", "chunked, chunked")
_NO_CODINGS = (
    "",
    "identity",
    "none",
    "utf-8",
    "utf8",
    "iso-8859-1",
    "us-ascii",
    "binary",
    "7bit",
    "8bit",
    "aws-chunked",
)
"""What stands in ``Content-Encoding`` without being one: character sets, how mail is sent, how an upload came to its store."""
_CONTENT_RANGE = re.compile(r"bytes\s+(\d{1,20})-(\d{1,20})/(\d{1,20}|\*)", re.IGNORECASE)


class HttpSource:
    """The answer of a web server, as it goes over the line.

    Args:
        stall: seconds without a byte after which the server is given up.
        redirects: how many are followed.
        decoded: give what is encoded decoded; the length that the server tells is not that of what comes then.
        start: bytes that are not asked for, because they are known.

    Attributes:
        start: from where on it comes; 0 where the server does not send parts.
        version: what tells this version from others; None where the server does not say.
    """

    may_be_empty = False

    def __init__(
        self,
        client: HttpClient,
        url: str,
        reading: Reading,
        *,
        stall: float,
        redirects: int,
        decoded: bool = False,
        start: int = 0,
    ) -> None:
        self.size: int | None = None
        self.encoding: str | None = None
        self.content_type: str | None = ""
        self.start: int = start
        self._client = client
        self._url = url
        self._reading = reading
        self._stall = stall
        self._redirects = redirects
        self._decoded = decoded
        self._answer: Answer | None = None
        self._validator: tuple[str, str] | None = None

    def request(self) -> None:
        """Ask, follow redirects, and look at the answer's head.

        Raises:
            PostponedError: the server asks to wait.
            DownloadError: there is no document.
        """
        answer = self._ask(**({"Range": f"bytes={self.start}-"} if self.start else {}))
        bounds = _bounds(answer) if self.start else None
        if self.start and (bounds is None or int(bounds[1]) != self.start):
            self.start = 0  # all of it comes, or nothing that could be added
            if answer.response.status in (206, 416):
                let_go(answer.response)
                answer, bounds = self._ask(), None
        response = answer.response
        if response.status not in FOUND and not self.start:
            raise self._refusal(answer)
        headers = response.headers
        transfer = headers.get("Transfer-Encoding", "").strip().lower()
        if transfer not in _TRANSFERS:
            response.close()
            raise self._error(f"comes with Transfer-Encoding: {said(transfer)}, which was not asked for")
        self._answer = answer
        self._client.hosts.answered(answer.host)
        self.content_type = headers.get("Content-Type", "").partition(";")[0].strip()
        encoding = _encoding(headers)
        if not (self._decoded and encoding):
            size = response.length_remaining
            self.size = None if size is None else min(self.start + size, LARGEST)
            self.encoding = encoding or None
            self._validator = _validator(headers)

    def chunks(self) -> Iterator[bytes]:
        received = resumed_at = self.start
        while True:
            try:
                while chunk := self._read():
                    received += len(chunk)
                    yield chunk
                    if received == self.size and self._is_read():
                        return
                # What was broken off when the time was over looks like the end, where no length was told.
                self._reading.deadline.left()
                return
            except (HTTPError, HTTPException, OSError, ValueError, OverflowError) as error:
                self._reading.deadline.left()
                cut = self._cut(error, received)
                # Without a byte since the last time it would go on like that.
                if received == resumed_at or not self._goes_on(received):
                    if isinstance(error, ReadTimeoutError) and self._answer is not None:
                        self._client.hosts.silent(self._answer.host, time.monotonic() - self._stall)
                    raise cut from error
                resumed_at = received

    @property
    def version(self) -> str | None:
        return None if self._validator is None else self._validator[1]

    def verify(self, size: int) -> None:
        if self.size is not None and size != self.size:
            raise self._error(f"cut short: the server announced {self.size} bytes and sent {size}")

    def close(self) -> None:
        if self._answer is not None:
            self._answer.response.close()

    def _ask(self, **more: str) -> Answer:
        return self._client.ask(
            self._url, self._reading, stall=self._stall, redirects=self._redirects, more=more or None
        )

    def _read(self) -> bytes:
        assert self._answer is not None
        data: bytes = self._answer.response.read1(CHUNK, decode_content=self._decoded) or b""
        return data

    def _is_read(self) -> bool:
        """Whether the connection has been given back already, as it is with the last byte of an answer that told its length."""
        return self._answer is not None and bool(self._answer.response.closed)

    def _goes_on(self, received: int) -> bool:
        """Ask for what is missing, of the very same version; whether that is what comes."""
        if self._validator is None or (self.size is not None and received >= self.size):
            return False
        self.close()
        name, version = self._validator
        answer = self._ask(**{"Range": f"bytes={received}-", "If-Range": version})
        headers = answer.response.headers
        bounds = _bounds(answer)
        if bounds is not None:
            self._client.hosts.answered(answer.host)
            same = headers.get(name, version) == version and _encoding(headers) == (self.encoding or "")
            total = None if bounds[3] == "*" else int(bounds[3])
            if same and int(bounds[1]) == received and (self.size is None or total in (None, self.size)):
                self.size = self.size if total is None else total
                self._answer = answer
                return True
        elif answer.response.status not in FOUND:
            refusal = self._refusal(answer)
            if isinstance(refusal, PostponedError):
                raise refusal
        answer.response.close()  # not what was asked for, and perhaps all of it
        return False

    def _refusal(self, answer: Answer) -> DownloadError:
        """The error for an answer that is no document; the host waits where it says so."""
        response = answer.response
        let_go(response)
        wait = retry_after(response.headers.get("Retry-After"), response.headers.get("Date"))
        if response.status in BUSY or wait is not None:
            whole = response.status in BUSY
            status = f"{response.status} {responses.get(response.status, '')}".rstrip()
            return self._client.hosts.refused(answer.host, f"answered {status}", wait, whole=whole)
        self._client.hosts.answered(answer.host)
        where = f" (at {said(answer.address.url)})" if answer.moved else ""
        status = said(f"{response.status} {response.reason or ''}")
        return DownloadError(
            f"{shown(self._url)}: the server answered {status}{where}",
            is_missing=response.status in (404, 410),
            is_refused=400 <= response.status < 500 and response.status not in PASSING,
        )

    def _cut(self, error: Exception, received: int) -> DownloadError:
        if isinstance(error, ReadTimeoutError):
            return self._error(f"the server was silent for {self._stall:g} seconds, after {received} bytes")
        of = "" if self.size is None else f" of {self.size}"
        return self._error(f"cut short after {received}{of} bytes: {reason(innermost(error))}")

    def _error(self, text: str) -> DownloadError:
        return DownloadError(f"{shown(self._url)}: {text}")


def _bounds(answer: Answer) -> re.Match[str] | None:
    """Which part of a document this is: first and last byte, and of how many; None where it is not said to be a part."""
    if answer.response.status != 206:
        return None
    return _CONTENT_RANGE.fullmatch(answer.response.headers.get("Content-Range", "").strip())


def _encoding(headers: Any) -> str:
    """What the content is encoded with, in lower case; empty where it is not."""
    codings = (coding.strip() for coding in headers.get("Content-Encoding", "").lower().split(","))
    return ", ".join(coding for coding in codings if coding not in _NO_CODINGS)


def _validator(headers: Any) -> tuple[str, str] | None:
    """Header and value that name exactly this version of the document; None where the server can give no part of it."""
    if headers.get("Accept-Ranges", "").strip().lower() == "none":
        return None
    etag = headers.get("ETag", "").strip()
    if etag:
        return ("ETag", etag) if etag.startswith('"') else None
    changed = headers.get("Last-Modified", "").strip()
    try:
        settled = parsedate_to_datetime(headers.get("Date", "")) - parsedate_to_datetime(changed)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    # Within one second there may have been two versions.
    return ("Last-Modified", changed) if settled.total_seconds() >= 1 else None
