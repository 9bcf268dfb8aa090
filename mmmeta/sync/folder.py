"""A metadir in another folder of this machine, which may be a disk that many have mounted."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mmmeta.documents.source import CHUNK, Deadline
from mmmeta.errors import DownloadError, remedy_of
from mmmeta.layout import METADIR, open_plain
from mmmeta.sync.places import Small, read_all
from mmmeta.writing import make_folder, write_atomic, written_aside


class FolderPlace:
    """A metadir below a base path. What leads out of it by a link is not read."""

    at_once = 2
    """A disk gains little from more."""

    def __init__(self, base: Path) -> None:
        self.shown: str = str(base)
        self._metadir = base / METADIR

    @contextmanager
    def open(self, name: str, deadline: Deadline, start: int = 0) -> Iterator[_FolderPiece]:
        path = self._metadir / name
        with _translated(path):
            handle = open_plain(path)
        with os.fdopen(handle, "rb", buffering=0):
            yield _FolderPiece(path, handle, deadline, start)

    def small(self, name: str, most: int, deadline: Deadline) -> Small:
        with self.open(name, deadline) as piece:
            return Small(read_all(piece, str(self._metadir / name), most))

    def names(self, folder: str, deadline: Deadline) -> dict[str, int | None]:
        found: dict[str, int | None] = {}
        path = self._metadir / folder
        try:
            with _translated(path), os.scandir(path) as entries:
                for entry in entries:
                    with suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode):
                            found[entry.name] = status.st_size
        except DownloadError as error:
            if not error.is_missing:
                raise
        return found

    def put(self, name: str, source: Path, deadline: Deadline) -> None:
        path = self._metadir / name
        with _translated(path):
            make_folder(path.parent)
            with written_aside(path, by=path.parent, name=path.name) as file, source.open("rb") as content:
                shutil.copyfileobj(content, file, CHUNK)

    def swap(self, name: str, content: bytes, before: Small | None, deadline: Deadline) -> bool:
        path = self._metadir / name
        with _translated(path):
            try:
                known: bytes | None = path.read_bytes()
            except FileNotFoundError:
                known = None
            if known != (None if before is None else before.content):
                return False
            write_atomic(path, content)
        return True

    def remove(self, name: str, deadline: Deadline) -> None:
        with _translated(self._metadir / name):
            (self._metadir / name).unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        with ExitStack() as held:
            with _translated(self._metadir):
                make_folder(self._metadir)
                held.enter_context(locked(self._metadir))
            yield

    def close(self) -> None:
        """Nothing is open."""


class _FolderPiece:
    def __init__(self, path: Path, handle: int, deadline: Deadline, start: int) -> None:
        self._path = path
        self._handle = handle
        self._deadline = deadline
        status = os.fstat(handle)
        self.size: int | None = status.st_size
        self.start = start if start <= status.st_size else 0
        self.version: str | None = f"{status.st_ino} {status.st_mtime_ns} {status.st_size}"

    def chunks(self) -> Iterator[bytes]:
        with _translated(self._path):
            os.lseek(self._handle, self.start, os.SEEK_SET)
            while chunk := os.read(self._handle, CHUNK):
                self._deadline.left()
                yield chunk

    def verify(self, size: int) -> None:
        status = os.fstat(self._handle)
        if size != status.st_size or self.version != f"{status.st_ino} {status.st_mtime_ns} {status.st_size}":
            raise DownloadError(f"{self._path}: changed while it was read; the next attempt takes the new one")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's own lock while the block runs, which leaves nothing behind; two syncs of it follow each other.

    Raises:
        OSError: the folder is not there.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system that knows no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DownloadError(f"{path}: is not there", is_missing=True) from error
    except OSError as error:
        raise DownloadError(f"{path}: {error.strerror or error}; {remedy_of(error)}", is_refused=True) from error
