"""``head.json``: what names the content of a metadata db, and the segments that lead to it.

It is read before anything else of a metadir and believed in nothing: what is not just as a server writes it is refused. Names of
files are made of numbers and never read, so that no path can lead out of ``changes/``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from mmmeta.errors import ChangeLogError, FormatError, remedy_of
from mmmeta.layout import Layout, read_plain
from mmmeta.metadata.db import Head
from mmmeta.sqlite.damage import LARGEST_COUNT
from mmmeta.values import RESERVED_PREFIX

FORMAT = 1
"""Of ``head.json`` and the segments; a larger one is refused."""

LARGEST = 4_000_000
"""Bytes of ``head.json``; some hundred segments take 20,000."""

SYNC_AGAIN = "sync the metadir again"

_DIGEST = re.compile(r"[0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Segment:
    """One file of the log.

    Attributes:
        first, last: the revisions that it holds.
        rows: how many files.
        keys: how many metadata keys there had been by ``last``.
        bytes: of the file.
        size: of what it unpacks to.
        sha256: of the file, hexadecimal.
    """

    first: int
    last: int
    rows: int
    keys: int
    bytes: int
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """In the folder ``changes``."""
        return segment_name(self.first, self.last)


SEGMENT_NAME = re.compile(r"([1-9]\d{0,18})-([1-9]\d{0,18})\.jsonl\.gz")
"""How a segment is called: its first and its last revision."""


def segment_name(first: int, last: int) -> str:
    """The name of the file with these revisions."""
    return f"{first}-{last}.jsonl.gz"


@dataclass(frozen=True)
class LogHead:
    """What ``head.json`` says.

    Attributes:
        head: of the metadata db.
        deleted: how many files are marked deleted, for people.
        published: when its revision was made, as text; empty before the first.
        replaces: ids of the metadata dbs that this one replaced.
        told: the last revision that was told to delete more than half of all files; 0 if none was.
        segments: the oldest first.
    """

    head: Head
    deleted: int
    published: str
    replaces: tuple[str, ...]
    told: int
    segments: tuple[Segment, ...]

    def after(self, revision: int) -> tuple[Segment, ...]:
        """The segments that lead from a revision to this one; those that a client at that revision needs."""
        return tuple(segment for segment in self.segments if segment.last > revision)

    def reaches(self, revision: int) -> bool:
        """Whether the log leads on from a revision; from 0 where it holds everything."""
        return self.head.revision == 0 or (bool(self.segments) and self.segments[0].first <= revision + 1)


def why_not_there(layout: Layout, log: LogHead, revision: int) -> str | None:
    """What of the log a client at a revision will miss, as a part of a sentence; None where all is there with its length."""
    for segment in log.after(revision):
        path = layout.changes / segment.name
        try:
            size = path.lstat().st_size
        except FileNotFoundError:
            return f"{path} is not there yet, which head.json names; a sync may be under way"
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"
        if size != segment.bytes:
            return f"{path} has {size:,} of {segment.bytes:,} bytes that head.json says; a sync may be under way"
    return None


def head_bytes(log: LogHead) -> bytes:
    """The content of ``head.json``: one line for each segment, for people and for tools that compare."""
    head = log.head
    entries = {
        "format": FORMAT,
        "id": head.id,
        "unique": head.unique,
        "revision": head.revision,
        "digest": head.digest.hex(),
        "alive": head.alive,
        "deleted": log.deleted,
        "published": log.published,
        "replaces": list(log.replaces),
        "told": log.told,
    }
    lines = [f" {json.dumps(name)}: {json.dumps(value)}," for name, value in entries.items()]
    segments = ",\n".join("  " + json.dumps(asdict(segment), separators=(",", ":")) for segment in log.segments)
    return "\n".join(["{", *lines, ' "segments": [', segments, " ]", "}", ""]).encode()


def read_log(layout: Layout) -> LogHead | None:
    """What ``head.json`` of a metadir says; None where there is none.

    Raises:
        ChangeLogError: it cannot be read, or is no such file.
        FormatError: it is of a newer version.
    """
    try:
        content = read_plain(layout.head, LARGEST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ChangeLogError(f"{layout.head} cannot be read: {error.strerror}; {remedy_of(error)}") from error
    return parse_head(content, layout.head)


def parse_head(content: bytes, path: str | Path) -> LogHead:
    """What the content of a ``head.json`` says.

    Args:
        path: named in errors.

    Raises:
        ChangeLogError: it is cut off, or not what a server writes.
        FormatError: it is of a newer version.
    """
    try:
        entries = json.loads(content)
        if not isinstance(entries, dict):
            raise ValueError("it is no object")
        version = entries.get("format")
        if type(version) is int and version > FORMAT:
            raise FormatError(f"{path} has format {version}, this version reads up to {FORMAT}: upgrade mmmeta")
        return _checked(entries)
    except (ValueError, RecursionError) as error:
        raise ChangeLogError(
            f"{path} is not whole, or not what a server writes ({str(error)[:200]}); {SYNC_AGAIN}"
        ) from None


def _checked(entries: Mapping[str, Any]) -> LogHead:
    """``head.json`` with names; raises ValueError."""
    if entries.get("format") != FORMAT:
        raise ValueError("it names no format")
    unique = _text(entries, "unique")
    if not unique or unique.startswith(RESERVED_PREFIX):
        raise ValueError("unique is no metadata key")
    head = Head(
        _matching(entries, "id", _DIGEST),
        _count(entries, "revision"),
        bytes.fromhex(_matching(entries, "digest", _DIGEST)),
        unique,
        _count(entries, "alive"),
    )
    replaces, found = entries.get("replaces"), entries.get("segments")
    if not (isinstance(replaces, list) and all(isinstance(one, str) and _DIGEST.fullmatch(one) for one in replaces)):
        raise ValueError("replaces is no list of ids")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError("segments is no list of segments")
    segments = tuple(_segment(one) for one in found)
    for before, after in pairwise(segments):
        if after.first != before.last + 1:
            raise ValueError(f"after revision {before.last} its segments go on with {after.first}")
    if (segments[-1].last if segments else 0) != head.revision:
        raise ValueError(f"its segments do not end at revision {head.revision}")
    deleted, told = _count(entries, "deleted"), _count(entries, "told")
    return LogHead(head, deleted, _text(entries, "published"), tuple(replaces), told, segments)


def _segment(entries: Mapping[str, Any]) -> Segment:
    first, last, rows, keys, length, size = (
        _count(entries, name) for name in ("first", "last", "rows", "keys", "bytes", "size")
    )
    segment = Segment(first, last, rows, keys, length, size, _matching(entries, "sha256", _SHA256))
    if not 1 <= segment.first <= segment.last:
        raise ValueError(f"it has a segment of the revisions {segment.first} to {segment.last}")
    return segment


def _count(entries: Mapping[str, Any], name: str) -> int:
    value = entries.get(name)
    if type(value) is not int or not 0 <= value < LARGEST_COUNT:
        raise ValueError(f"{name} is {value!r:.60}")
    return value


def _text(entries: Mapping[str, Any], name: str) -> str:
    value = entries.get(name)
    if type(value) is not str or len(value) > 100_000:
        raise ValueError(f"{name} is {value!r:.60}")
    return value


def _matching(entries: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = _text(entries, name)
    if not pattern.fullmatch(value):
        raise ValueError(f"{name} is {value!r:.60}")
    return value
