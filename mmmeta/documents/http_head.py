"""Reads the heads of web servers' answers as browsers do: whatever cannot be understood is passed over.

http.client gives up heads of more than 100 lines and takes one odd line for the end of the head, so that the length behind
it is lost. It is given what a download needs to know, and nothing else.
"""

from __future__ import annotations

import re
from http.client import HTTPException, HTTPMessage, HTTPResponse
from io import BufferedIOBase, BufferedReader, BytesIO

LARGEST = 512 * 1024
"""Bytes of a head; curl and browsers give up at about as many."""

COOKIES = 50
"""Cookies of one answer that are kept, as browsers do."""

_KNOWN = re.compile(
    rb"(accept-ranges|connection|content-(?:encoding|length|range|type)|date|etag|keep-alive|last-modified|location"
    rb"|retry-after|set-cookie|transfer-encoding)[ \t]*:[ \t]*(.*)",
    re.IGNORECASE | re.DOTALL,
)
_NO_TEXT = re.compile(rb"[\0\r]")
_INTERIM = re.compile(rb"HTTP/1\.\d\s+1(?!01)\d\d\b")

_PLAIN = re.compile(rb"HTTP/1\.1 (200|206|404) ([!-~]+(?: [!-~]+)*)")
_PLAIN_VALUE = re.compile(rb"[!-~]+(?: [!-~]+)*")
_PLAIN_LENGTH = re.compile(r"\d{1,18}")

Headers = list[tuple[bytes, bytes]]


class AnswerHead(HTTPResponse):
    """An answer whose head is read leniently; what comes before the final one (``103 Early Hints``) is passed over."""

    fp: BufferedReader

    def begin(self) -> None:
        if self.headers is not None:
            return
        status, headers = _read_head(self.fp)
        if self._is_plain(status, headers):
            return
        lines = [status, *(name + b": " + value for name, value in headers), b"", b""] if status else []
        line, self.fp = self.fp, BytesIO(b"\r\n".join(lines))
        try:
            super().begin()
        finally:
            self.fp = line
        lengths = ",".join(value.decode("latin-1") for name, value in headers if name.lower() == b"content-length")
        if len({length.strip() for length in lengths.split(",")}) > 1:
            raise HTTPException(
                f"several unmatching values of Content-Length: {lengths}"
            )  # urllib3 would, and leave the answer open

    def _is_plain(self, status: bytes, headers: Headers) -> bool:
        """Whether a head is one as nearly all are, with a length and a connection that is kept, and was taken over.

        http.client reads headers as those of mail, which costs more than anything else about a small document.
        """
        found = _PLAIN.fullmatch(status)
        if found is None or not all(_PLAIN_VALUE.fullmatch(value) for _, value in headers):
            return False
        message = HTTPMessage()
        for name, value in headers:
            message[name.decode()] = value.decode()
        lengths = message.get_all("Content-Length", [])
        if len(lengths) != 1 or not _PLAIN_LENGTH.fullmatch(lengths[0]) or "Transfer-Encoding" in message:
            return False
        if message.get("Connection", "keep-alive").lower() != "keep-alive":
            return False
        self.headers = message
        self.msg: HTTPMessage = message
        self.status: int = int(found[1])
        self.code: int = self.status
        self.reason: str = found[2].decode()
        self.version = 11
        self.chunked = self.will_close = False
        self.length: int | None = int(lengths[0])
        return True


def _read_head(line: BufferedIOBase) -> tuple[bytes, Headers]:
    """Status line and known headers; empty where there is no whole head.

    Raises:
        HTTPException: it is too large.
    """
    left = LARGEST
    while True:
        lines: list[bytes] = []
        while text := line.readline(left + 1):
            left -= len(text)
            if left < 0:
                raise HTTPException(f"a head of more than {LARGEST:,} bytes")
            text = text.rstrip(b"\r\n")
            if text[:1] in (b" ", b"\t") and len(lines) > 1:
                lines[-1] += b" " + text.strip()  # folded
            elif text:
                lines.append(text)
            elif lines:  # what is empty before it belongs to no answer
                break
        else:
            if not lines or lines[0].startswith(b"HTTP/"):
                return b"", []  # broken off: as good as none
        if not _INTERIM.match(lines[0]):
            return lines[0], _known(lines[1:])


def _known(lines: list[bytes]) -> Headers:
    found = []
    cookies = 0
    for text in lines:
        header = _KNOWN.fullmatch(text)
        if header is None:
            continue
        # What is none of a header counts as a space; http.client would take it for the end of the line.
        name, value = header[1], _NO_TEXT.sub(b" ", header[2]).strip()
        if name.lower() == b"set-cookie":
            cookies += 1
            if cookies > COOKIES:
                continue
        found.append((name, value))
    if any(name.lower() == b"transfer-encoding" and b"chunked" in value.lower() for name, value in found):
        return [
            (name, value) for name, value in found if name.lower() != b"content-length"
        ]  # it counts for nothing then
    return found
