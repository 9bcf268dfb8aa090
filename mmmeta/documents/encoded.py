"""Answers of web servers that say they are encoded (``Content-Encoding: gzip``): which of their two forms is the document.

Servers put that header on what they packed for the way, and as often on archives that they keep. So it is not believed:
what matches the metadata's promise is the document, raw or decoded; without one, a name tells that is one of packed files.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import IO

from mmmeta.documents.source import CHUNK
from mmmeta.errors import DownloadError

DECODED = ("gzip", "x-gzip", "deflate")
"""The encodings that can be undone here."""

_GZIP = b"\x1f\x8b"
_PACKED = re.compile(r".*\.(gz|tgz|taz|svgz|wgz|z|zip|bz2|tbz2?|xz|txz|lzma|zst|tzst|br|7z|rar|warc)", re.IGNORECASE)


def is_packed(name: str) -> bool:
    """Whether a name is one of packed files, which are kept as they are."""
    return _PACKED.fullmatch(name) is not None


def is_encoded(start: bytes, encoding: str) -> bool:
    """Whether what begins so is really encoded as the header says, as far as that can be seen."""
    return start.startswith(_GZIP) if encoding != "deflate" else len(start) > 0


class Decoded:
    """The decoded form of an answer, which is whole only where its stream comes to its end.

    Args:
        raw: the answer, at its start.
        encoding: one of ``DECODED``.
        name: the source as it may be shown.
    """

    size: int | None = None
    encoding: str | None = None
    content_type: str | None = None
    may_be_empty = False

    def __init__(self, raw: IO[bytes], encoding: str, name: str) -> None:
        self._raw = raw
        self._encoding = encoding
        self._name = name
        self._ended = False

    def chunks(self) -> Iterator[bytes]:
        data = self._raw.read(CHUNK)
        decoder = zlib.decompressobj(self._window(data))
        piece = b""
        while data or len(piece) == CHUNK:  # after a full piece there may be more inside of the decoder
            try:
                piece = decoder.decompress(data, CHUNK)
            except zlib.error as error:
                raise DownloadError(f"{self._name}: is no whole {self._encoding} stream: {error}") from error
            if piece:
                yield piece
            if decoder.eof:
                data = decoder.unused_data + self._raw.read(CHUNK)
                if not data.startswith(_GZIP):  # a gzip stream may have several parts; what is none is padding
                    self._ended = True
                    return
                decoder = zlib.decompressobj(31)
            else:
                data = decoder.unconsumed_tail or self._raw.read(CHUNK)

    def verify(self, size: int) -> None:
        if not self._ended:
            raise DownloadError(f"{self._name}: cut short: the {self._encoding} stream has no end")

    def _window(self, start: bytes) -> int:
        """zlib's name of the format; deflate comes with and without zlib's two bytes before it."""
        if self._encoding != "deflate":
            return 31
        with_header = len(start) > 1 and start[0] & 15 == 8 and int.from_bytes(start[:2], "big") % 31 == 0
        return 15 if with_header else -15
