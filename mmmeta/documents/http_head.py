"""Reads the heads of web servers' answers as browsers do: whatever cannot be understood is passed over.

http.client gives up heads of more than 100 lines and takes one odd line for the end of the head, so that the length behind
it is lost. It is given what a download needs to know, and nothing else.
"""

from __future__ import annotations

import re
from http.client import HTTPException, HTTPResponse
from io import BufferedIOBase, BytesIO

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


class AnswerHead(HTTPResponse):
    """An answer whose head is read leniently; what comes before the final one (``103 Early Hints``) is passed over."""

    def begin(self) -> None:
        if self.headers is not None:
            return
        line, self.fp = self.fp, BytesIO(_read_head(self.fp))
        try:
            super().begin()
        finally:
            self.fp = line


def _read_head(line: BufferedIOBase) -> bytes:
    """Status line and known headers, an empty line behind them; empty where there is no whole head.

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
                return b""  # broken off: as good as none
        if not _INTERIM.match(lines[0]):
            return b"\r\n".join([lines[0], *_known(lines[1:]), b"", b""])


def _known(lines: list[bytes]) -> list[bytes]:
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
        found = [(name, value) for name, value in found if name.lower() != b"content-length"]  # it counts for nothing then
    return [name + b": " + value for name, value in found]
