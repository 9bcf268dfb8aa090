"""Digests in metadata: what is one, of which kind, and in which of the usual spellings.

``sha1:…``, ``sha256-…`` and the like say it themselves; bare hexadecimal digits are only a digest where the key is named
for one or config.yml says so, for an ETag has 32 of them, too.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from functools import lru_cache

from mmmeta.errors import DownloadError

DIGESTS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
"""Length of a hexadecimal digest → the function that most likely made it."""

SIZES = {"md5": 16, "sha1": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64}
"""The functions that are known by name → bytes of their digests."""

NOT_ONE = "none"
"""What config.yml says of a content key that holds no digest."""

_HEXADECIMAL = re.compile(r"[0-9a-fA-F]*")
_PREFIX = re.compile(r"(md5|sha-?1|sha-?224|sha-?256|sha-?384|sha-?512)[:=-](.*)", re.IGNORECASE | re.DOTALL)
_USUAL = re.compile(
    r"_*((content|file|document|payload|body)_?)?(hash|checksum|digest|(md5|sha_?(1|224|256|384|512))_?(sum|hash|hex|digest)?)",
    re.IGNORECASE,
)
"""Names under which bare hexadecimal digits are a digest of the document."""


@dataclass(frozen=True)
class Digest:
    """What a document's bytes must give.

    Attributes:
        kind: the function, by hashlib's name.
        text: lower-case hexadecimal.
    """

    kind: str
    text: str


def digest_of(value: object, *, key: str, said: str | None) -> Digest | None:
    """The digest that the content key of a file holds; None where it holds none.

    Args:
        value: the metadata's.
        key: the name of the key.
        said: what config.yml says of the key: a kind, ``none``, or nothing.

    Raises:
        DownloadError: it is said to be a digest, by itself or in config.yml, and is none of that kind.
    """
    if said == NOT_ONE or value is None or value == "":
        return None
    if said is None:
        found = _PREFIX.fullmatch(value) if isinstance(value, str) else None
        if found is not None:
            return _of_kind(_name(found[1]), found[2], value, key)
        return bare(value) if is_usual(key) else None
    found = _PREFIX.fullmatch(value) if isinstance(value, str) else None
    if found is not None and _name(found[1]) == said:
        return _of_kind(said, found[2], value, key)
    return _of_kind(said, value if isinstance(value, str) else "", value, key)


def bare(value: object) -> Digest | None:
    """Hexadecimal digits alone, told by their number; None where it is anything else."""
    kind = digest_kind(value)
    return Digest(kind, str(value).lower()) if kind else None


def digest_kind(value: object) -> str | None:
    """The digest function that a metadata value looks like (by length, hexadecimal digits only), or None."""
    return DIGESTS.get(len(value)) if isinstance(value, str) and _HEXADECIMAL.fullmatch(value) else None


@lru_cache(maxsize=64)
def is_usual(key: str) -> bool:
    """Whether a key is named as digests of documents are: ``content_hash``, ``checksum``, ``file:sha256`` …"""
    return _USUAL.fullmatch(key.rpartition(":")[2].replace("-", "_")) is not None


def _name(prefix: str) -> str:
    return prefix.lower().replace("-", "")


def _of_kind(kind: str, text: str, value: object, key: str) -> Digest:
    """A digest written in hexadecimal, base64 (as in web pages and headers) or base32 (as in web archives)."""
    size = SIZES[kind]
    plain = text.strip()
    for decode, length in (
        (binascii.unhexlify, 2 * size),
        (_base32, len(base64.b32encode(bytes(size)).rstrip(b"="))),
        (_base64, len(base64.b64encode(bytes(size)).rstrip(b"="))),
    ):
        if len(plain.rstrip("=")) != length:
            continue
        try:
            return Digest(kind, decode(plain).hex())
        except ValueError:
            continue
    raise DownloadError(
        f"the metadata's {key!r} is no {kind} digest: {value!r:.80}. If it is none, say so in config.yml: "
        f"`metadata: {{digest: {NOT_ONE}}}`, or else which it is: `digest: sha1`"
    )


def _base64(text: str) -> bytes:
    plain = text.rstrip("=").translate(str.maketrans("-_", "+/"))
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)


def _base32(text: str) -> bytes:
    plain = text.rstrip("=")
    return base64.b32decode(plain + "=" * (-len(plain) % 8), casefold=True)
