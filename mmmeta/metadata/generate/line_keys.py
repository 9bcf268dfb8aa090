"""Records of JSON Lines: how one is named, ``crawl.jsonl:17``, and the walk's keys that stand for it.

Such a key is that of the file, two NULs (no path has a part without a name) and the number of the line.
"""

from __future__ import annotations

import re

MARK = b"\0\0"
LINES_FILES = b".jsonl"
"""How the names of files end that are JSON Lines whatever config.yml says, in small letters."""

_SOURCE = re.compile(r"(.*\.jsonl?):([1-9]\d{0,17})", re.IGNORECASE | re.DOTALL)


def line_key(key: bytes, line: int) -> bytes:
    """The key of a line of a file."""
    return key + MARK + str(line).encode()


def whole(key: bytes) -> bytes:
    """The key of the file, of which a key may be a line."""
    return key.partition(MARK)[0]


def line_of(key: bytes) -> int | None:
    """The number of the line that a key stands for; None for a file."""
    number = key.partition(MARK)[2]
    return int(number) if number else None


def split_source(source: str | None) -> tuple[str, int]:
    """The metadata file and the line, 0 where it is all of the file."""
    found = _SOURCE.fullmatch(source or "")
    return (found.group(1), int(found.group(2))) if found is not None else (source or "", 0)


def same_file(one: str | None, other: str | None) -> bool:
    """Whether two records come from one metadata file, be it from two lines."""
    return split_source(one)[0] == split_source(other)[0]
