"""What PostgreSQL keeps of a value: text without NUL, names that fit into an index, and keys that order as SQLite's values do."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable
from typing import Any

LONGEST_NAME = 2_000
"""Bytes of a unique value. A key of a B-tree ends at 2,704 bytes, and holds the job's name and an ordering key as well."""

LONGEST_PAIR = 2_600
"""Bytes of a unique value and of a key that is set of it, which are one key of a B-tree."""

_LONGEST_KEY = 255
"""Bytes of a text by which files are ordered; what differs behind them only is ordered by name."""

_LONGEST_ONCE = 1_000

_LARGEST = (1 << 63) - 1
"""Of integers, in SQLite."""

_EXACT = 1 << 53
"""Below it a float tells whole numbers apart."""

_DOUBLE = struct.Struct(">d").pack

_NO_REST = struct.pack(">Q", 1 << 63)


def why_unfit(name: str) -> str | None:
    """Why a unique value cannot be kept, None if it can."""
    if len(name) <= LONGEST_NAME and name.isascii() and "\0" not in name:
        return None
    if "\0" in name:
        return "it has a NUL character in it, which PostgreSQL does not take"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it is no Unicode"
    return f"it has {size:,} bytes, and {LONGEST_NAME:,} fit into an index" if size > LONGEST_NAME else None


def why_no_pair(name: str, key: str) -> str | None:
    """Why what is set under a key of a file cannot be kept, None if it can: each may fit, and both together not."""
    for what, text in (("file", name), ("key", key)):
        if (reason := why_unfit(text)) is not None:
            return f"of the {what}: {reason}"
    size = len(name.encode()) + len(key.encode())
    if size <= LONGEST_PAIR:
        return None
    return f"file and key have {size:,} bytes together, and {LONGEST_PAIR:,} fit into an index"


def fitting(names: Iterable[str]) -> list[str]:
    """Those of these names that a ledger here can have, each once."""
    return [name for name in dict.fromkeys(names) if why_unfit(name) is None]


def kept(text: str | None) -> str | None:
    """A text as it can be stored: what PostgreSQL refuses as an escape."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def once_key(text: str | None) -> str | None:
    """What ``once_per`` compares, short enough for an index."""
    if text is None or len(text.encode("utf-8", "backslashreplace")) <= _LONGEST_ONCE:
        return kept(text)
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'backslashreplace')).hexdigest()}"


def place_key(*parts: str) -> bytes:
    """A place as an index has it, whatever its length."""
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "backslashreplace"), digest_size=20).digest()


def sort_key(value: Any) -> bytes:
    """Bytes that order as SQLite orders values: nothing, numbers, texts by their bytes, blobs."""
    if type(value) is int and 0 <= value < _EXACT:  # the same as below; what files are ordered by most often
        return b"\x01" + _DOUBLE(-float(value)) + _NO_REST
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return b""
    if isinstance(value, int | float):
        try:
            near = float(value) + 0.0  # -0.0 is 0
        except OverflowError:
            near = math.inf if value > 0 else -math.inf
        (bits,) = struct.unpack(">Q", struct.pack(">d", near))
        bits = bits ^ 0xFFFFFFFFFFFFFFFF if bits >> 63 else bits | 1 << 63
        # A float does not tell whole numbers beyond 2^53 apart.
        rest = value - int(near) if isinstance(value, int) and math.isfinite(near) else 0
        return b"\x01" + struct.pack(">QQ", bits, rest + (1 << 63))
    if isinstance(value, str):
        return b"\x02" + value.encode("utf-8", "surrogatepass")[:_LONGEST_KEY]
    return b"\x03" + bytes(value)[:_LONGEST_KEY]


def sort_value(key: bytes) -> Any:
    """A value that has this key. Whole numbers come as integers, and of a long text only its beginning."""
    kind, rest = key[:1], key[1:]
    if kind == b"\x01":
        return _number(*struct.unpack(">QQ", rest))
    if kind == b"\x02":
        return rest.decode("utf-8", "ignore")  # it may have been cut within a character
    return rest if kind else None


def _number(bits: int, rest: int) -> int | float:
    bits = bits ^ 1 << 63 if bits >> 63 else bits ^ 0xFFFFFFFFFFFFFFFF
    (near,) = struct.unpack(">d", struct.pack(">Q", bits))
    if not math.isfinite(near) or not near.is_integer():
        return float(near)
    whole = int(near) + rest - (1 << 63)
    return whole if -_LARGEST - 1 <= whole <= _LARGEST else float(near)
