"""Where a metadir is synced from or to: a folder of this machine, a web server, or whatever fsspec reads and writes.

The names of files are relative to the metadir (``changes/1-840.jsonl.gz``) and made here, never read from what a remote says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from mmmeta.documents.source import Deadline


class Piece(Protocol):
    """A file at the place, open for reading from a byte on.

    Attributes:
        start: that byte, which is 0 where the place cannot leave out the beginning.
        size: bytes of the whole file, where the place tells.
        version: what tells this version of the file from others; None where the place does not say.
    """

    @property
    def start(self) -> int: ...

    @property
    def size(self) -> int | None: ...

    @property
    def version(self) -> str | None: ...

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The content from ``start`` on; a piece is only good until the next one is asked for."""

    def verify(self, size: int) -> None:
        """Raise DownloadError unless the file has this size, and was read in one version."""


class Small(NamedTuple):
    """A small file as it was read.

    Attributes:
        version: what the place calls this version, where it can write under the condition that it is still the one.
    """

    content: bytes
    version: str | None = None


class Place(Protocol):
    """A metadir elsewhere.

    Every method raises DownloadError where it does not work; ``is_missing`` tells what is not there, ``is_refused`` what need
    not be tried again.

    Attributes:
        shown: the base path, without secrets.
        at_once: how many files may be moved at the same time.
    """

    shown: str
    at_once: int

    def open(self, name: str, deadline: Deadline, start: int = 0) -> AbstractContextManager[Piece]:
        """A file, for reading."""

    def small(self, name: str, most: int, deadline: Deadline) -> Small:
        """A file of at most so many bytes."""

    def names(self, folder: str, deadline: Deadline) -> dict[str, int | None] | None:
        """The files of a folder with their sizes; none where there is no such folder, None where nobody can tell."""

    def put(self, name: str, source: Path, deadline: Deadline) -> None:
        """Write a file, which is there as a whole or not at all."""

    def swap(self, name: str, content: bytes, before: Small | None, deadline: Deadline) -> bool:
        """Write a small file if it still is what was read ``before``; whether it was."""

    def remove(self, name: str, deadline: Deadline) -> None:
        """Remove a file; nothing where it is not there."""

    def alone(self) -> AbstractContextManager[None]:
        """A block in which nobody else writes here, as far as the place knows such a thing."""

    def close(self) -> None:
        """Close connections."""


def read_all(piece: Piece, name: str, most: int) -> bytes:
    """The content of a small file.

    Raises:
        DownloadError: it has more bytes.
    """
    from mmmeta.errors import DownloadError

    content = bytearray()
    if piece.size is None or piece.size <= most:
        for chunk in piece.chunks():
            content += chunk
            if len(content) > most:
                break
        else:
            piece.verify(len(content))
            return bytes(content)
    raise DownloadError(f"{name}: has more than {most:,} bytes, which nothing of its kind has", is_refused=True)
