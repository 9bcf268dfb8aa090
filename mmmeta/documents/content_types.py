"""Media types: what a file name tells, and whether what a web server sent can be the document (a login page is none)."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from mimetypes import MimeTypes
from posixpath import splitext

from mmmeta.masking import said

START = 4096
"""Bytes from the beginning of a document that are looked at."""

_HTML_TYPES = ("text/html", "application/xhtml+xml")
_VAGUE = ("", "application/octet-stream", "binary/octet-stream", "application/x-download", "application/force-download")
"""What servers say that do not know."""

_BLANK = b"\xef\xbb\xbf\xff\xfe \t\r\n\f\v"
"""Marks of an encoding and blanks, of which templates leave hundreds."""

_AHEAD = re.compile(rb"<!--.*?-->|<\?xml[^>]*>", re.DOTALL)
_HTML = re.compile(rb"<(!doctype\s+html|html)\b", re.IGNORECASE)
_NO_HTML = re.compile(
    r".*\.(pdf|docx|xlsx|pptx|odt|ods|odp|epub|djvu|zip|gz|tgz|bz2|xz|7z|rar|tar|png|jpe?g|gif|tiff?|webp|mp3|mp4)",
    re.IGNORECASE | re.DOTALL,
)
"""Names of documents that are never HTML; a .xls is at times."""


def why_wrong(start: bytes, told: str, names: tuple[str, ...], expected: str | None) -> str | None:
    """Why an answer is not the document, in words; None where it may be.

    Args:
        start: its first bytes.
        told: the ``Content-Type`` that the server told, without parameters; empty if it told none.
        names: what the document is called, at the server and here.
        expected: the type that the job expects, ``application/pdf`` or ``image/*``; None where it says nothing.
    """
    told = told.lower()
    is_html = _is_html(start, told)
    if expected is not None:
        if is_html and not any(fnmatchcase(kind, expected) for kind in _HTML_TYPES):
            return f"an HTML page came where {expected} is expected, such as a login or an error page"
        if told in _VAGUE or fnmatchcase(told, expected):
            return None
        return f"{said(told)} came where {expected} is expected"
    name = next((name for name in names if _NO_HTML.fullmatch(name)), None)
    if is_html and name is not None:
        ending = name.rpartition(".")[2].lower()
        return f"an HTML page came in place of a .{ending}, such as a login or an error page"
    return None


def _is_html(start: bytes, told: str) -> bool:
    text = start.replace(b"\0", b"").lstrip(_BLANK)  # without the half of UTF-16 that is zeros
    if told in _HTML_TYPES and (not text or text.startswith(b"<")):
        return True
    # One after the other: a pattern that repeats them takes time without end where a page has nothing but comments.
    while ahead := _AHEAD.match(text):
        text = text[ahead.end() :].lstrip(_BLANK)
    return _HTML.match(text) is not None


_OFFICE = "application/vnd.openxmlformats-officedocument"
_OPEN = "application/vnd.oasis.opendocument"
_FURTHER = {
    ".7z": "application/x-7z-compressed",
    ".djvu": "image/vnd.djvu",
    ".docx": f"{_OFFICE}.wordprocessingml.document",
    ".epub": "application/epub+zip",
    ".md": "text/markdown",
    ".msg": "application/vnd.ms-outlook",
    ".odp": f"{_OPEN}.presentation",
    ".ods": f"{_OPEN}.spreadsheet",
    ".odt": f"{_OPEN}.text",
    ".pptx": f"{_OFFICE}.presentationml.presentation",
    ".rtf": "application/rtf",
    ".webp": "image/webp",
    ".xlsx": f"{_OFFICE}.spreadsheetml.sheet",
}
"""What the standard library does not know in every version of Python."""

_PACKED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


@cache
def _types() -> MimeTypes:
    # A table of its own: the usual one is read from the machine, and documents would have other types elsewhere.
    types = MimeTypes()
    for ending, kind in _FURTHER.items():
        types.add_type(kind, ending)
    return types


def media_type_of(name: str) -> str | None:
    """The media type that a file name's ending tells, the same on every machine; None where it tells none."""
    return _type_of_ending(splitext(name)[1].lower())


@lru_cache(maxsize=1_000)
def _type_of_ending(ending: str) -> str | None:
    types = _types()
    ending = splitext(types.suffix_map.get(ending, ending))[1] or ending  # .tgz is .tar.gz
    packed = types.encodings_map.get(ending)
    if packed is not None:
        return _PACKED.get(packed, f"application/x-{packed}")
    return types.types_map[True].get(ending)
