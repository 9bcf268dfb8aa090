"""Fetches files of a metadir into a folder aside: whole, proved, and from where they were cut off."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mmmeta.documents.source import CHUNK, Deadline
from mmmeta.errors import DownloadError, SyncError, remedy_of
from mmmeta.sync.patience import patiently
from mmmeta.sync.places import Piece, Place
from mmmeta.writing import write_atomic

LONGEST = 7 * 86_400.0
"""Seconds that one file may take; a server that is silent is given up long before."""


@dataclass(frozen=True)
class Wanted:
    """A file to fetch.

    Attributes:
        name: in the metadir.
        path: where to; what was fetched of it before lies there.
        size: bytes; None where only the place knows.
        sha256: hexadecimal; None where nothing says it, and then a part is known by its version alone.
    """

    name: str
    path: Path
    size: int | None = None
    sha256: str | None = None


class _GivenUp(threading.Event):
    """Set where one file could not be had, for the others; and where somebody ends the whole pull."""

    def __init__(self, whole: threading.Event) -> None:
        super().__init__()
        self._whole = whole

    def is_set(self) -> bool:
        return super().is_set() or self._whole.is_set()


MEND_THERE = (
    "It may be written there just now: pull again. If that does not help, it is damaged there: remove it there, run `mmmeta "
    "generate` at the server, and `mmmeta sync push` there if that is what brings it, which write it anew"
)
"""What to do about a file of the remote that is missing, or another one; who pulls can only wait."""


class NotAsNamed(DownloadError):
    """The place has another file under a name than its ``head.json`` says: it was published anew meanwhile, or is damaged."""

    def __init__(self, message: str) -> None:
        super().__init__(message, is_refused=True)


class Fetcher:
    """Fetches from one place.

    Args:
        moved: called with the bytes that have come, from any thread.
        stopped: set from elsewhere to end all of it.
    """

    def __init__(self, place: Place, moved: Callable[[int], None], stopped: threading.Event) -> None:
        self._place = place
        self._moved = moved
        self._stopped = _GivenUp(stopped)

    def all(self, files: Sequence[Wanted]) -> None:
        """Fetch files, some at the same time; those that are whole stay when another one fails.

        Raises:
            DownloadError, SyncError: the first failure; the others are given up with it.
        """
        with ThreadPoolExecutor(self._place.at_once, "mmmeta-sync") as threads:
            running = [threads.submit(self.one, wanted) for wanted in files]
            try:
                for one in running:
                    one.result()
            except BaseException:
                self._stopped.set()
                for one in running:
                    one.cancel()
                raise

    def one(self, wanted: Wanted) -> None:
        """Fetch a file, and prove it.

        Raises:
            NotAsNamed: it is there, and another one.
            DownloadError: it cannot be had.
            SyncError: it cannot be written.
        """
        try:
            if wanted.sha256 is not None and _size(wanted.path) == wanted.size:
                if _sha256(wanted.path) == wanted.sha256:
                    return
                wanted.path.unlink()
            patiently(lambda: self._once(wanted), self._stopped, lambda: _size(wanted.path))
        except OSError as error:
            if wanted.size is None:  # nobody has said how much it would be
                wanted.path.unlink(missing_ok=True)
            raise SyncError(f"{wanted.path} cannot be written: {error.strerror}; {remedy_of(error)}") from error

    def _once(self, wanted: Wanted) -> None:
        there = _size(wanted.path)
        if wanted.size is not None and there > wanted.size:
            there = 0
        deadline = Deadline(f"{self._place.shown}: {wanted.name}", LONGEST, self._stopped)
        with self._place.open(wanted.name, deadline, there) as piece:
            if wanted.size is not None and piece.size is not None and piece.size != wanted.size:
                raise self._odd(wanted, f"has {piece.size:,} bytes and not the {wanted.size:,} that head.json says")
            start = piece.start if self._goes_on(wanted, piece) else 0
            if start != piece.start:  # what is here is of another version, and the beginning is needed as well
                wanted.path.unlink()
                raise DownloadError(f"{self._place.shown}: {wanted.name} has changed meanwhile")
            self._write(wanted, piece, start)

    def _goes_on(self, wanted: Wanted, piece: Piece) -> bool:
        """Whether what is here already is the beginning of this version; notes the version otherwise."""
        if wanted.sha256 is not None:
            return True
        note = wanted.path.with_name(f"{wanted.path.name}.version")
        version = f"{piece.version}\n{piece.size}" if piece.version is not None else None
        with suppress(OSError):
            if version is not None and note.read_text("utf-8") == version:
                return True
        if version is None:
            note.unlink(missing_ok=True)
        else:
            write_atomic(note, version.encode())
        return False

    def _write(self, wanted: Wanted, piece: Piece, start: int) -> None:
        digest = hashlib.sha256()
        with open(wanted.path, "r+b" if start else "wb") as file:
            left = start
            while left and (chunk := file.read(min(CHUNK, left))):
                digest.update(chunk)
                left -= len(chunk)
            size = start
            file.seek(start)
            for part in piece.chunks():
                size += len(part)
                if wanted.size is not None and size > wanted.size:
                    file.truncate(0)
                    raise self._odd(wanted, f"has more than the {wanted.size:,} bytes that head.json says")
                file.write(part)
                digest.update(part)
                self._moved(len(part))
            file.truncate()
            piece.verify(size)
            if wanted.size is not None and size < wanted.size:
                raise DownloadError(
                    f"{self._place.shown}: {wanted.name} was cut short: {size:,} of {wanted.size:,} bytes"
                )
            if wanted.sha256 is not None and digest.hexdigest() != wanted.sha256:
                file.truncate(0)
                raise self._odd(wanted, "has another SHA-256 than head.json says")
            file.flush()
            os.fsync(file.fileno())

    def _odd(self, wanted: Wanted, reason: str) -> NotAsNamed:
        return NotAsNamed(f"{self._place.shown}: {wanted.name} {reason}")


def _sha256(path: Path) -> str:
    """Of a file that is here; it is flushed as well, for who fetched it may have been killed before that."""
    digest = hashlib.sha256()
    with open(path, "r+b") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
        os.fsync(file.fileno())
    return digest.hexdigest()


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
