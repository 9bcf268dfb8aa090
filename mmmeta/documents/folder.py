"""The folder that documents are downloaded into: names that stay inside it, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from mmmeta.documents.source import reason
from mmmeta.errors import DownloadError, UnsafeNameError
from mmmeta.layout import PARTS

ROOM = 32_000_000
"""Bytes; a disk that has less is full for everybody, else it is only so for a document that does not fit."""


def make_place(root: Path, name: str) -> Path:
    """``root / name`` with its folders made, which lies inside ``root`` whatever the links on the way say; those of ``root``
    itself are its owner's, and followed by whoever opens the place.

    Raises:
        UnsafeNameError: the name is absolute, climbs out with ``..``, or a symbolic link in its way leads outside.
        DownloadError: a folder cannot be made.
    """
    parts = _parts(root, name)
    try:
        if not os.path.isdir(root):
            root.mkdir(parents=True, exist_ok=True)
        if len(parts) == 1:
            return root / parts[0]
        folder = _inside(root, root.joinpath(*parts[:-1]), name)
        if not os.path.isdir(folder):
            folder.mkdir(parents=True, exist_ok=True)
            # Once more: what was there may have been a link to nowhere, and what is there now counts.
            folder = _inside(root, folder, name)
    except (OSError, RuntimeError, ValueError) as error:
        raise DownloadError(f"{root / name}: the folder cannot be made: {reason(error)}") from error
    return folder / parts[-1]


def find_place(root: Path, name: str) -> Path:
    """As ``make_place``, but nothing is made; the folders need not be there.

    Raises:
        UnsafeNameError: as ``make_place``.
        DownloadError: the way there cannot be followed.
    """
    parts = _parts(root, name)
    try:
        resolved = root.resolve(strict=False)
        return _inside(resolved, resolved.joinpath(*parts[:-1]), name) / parts[-1]
    except (OSError, RuntimeError, ValueError) as error:
        raise DownloadError(f"{root / name}: cannot be looked for: {reason(error)}") from error


def folder_trouble(root: Path, error: BaseException) -> str | None:
    """Why nothing can be written into the folder, whatever its name and content; None where it can, or where
    ``error``, with which one document was not written, does not come from a file system."""
    numbers = {cause.errno for cause in _causes(error) if isinstance(cause, OSError)} - {None}
    if not numbers:
        return None
    try:
        root.mkdir(parents=True, exist_ok=True)
        # That the disk is too full for one document does not mean that it is for the others.
        _write_probe(root, ROOM if numbers & {errno.ENOSPC, errno.EDQUOT} else 1)
    except OSError as trouble:
        return reason(trouble)
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _write_probe(root: Path, size: int) -> None:
    with tempfile.TemporaryFile(dir=root) as probe:
        probe.write(os.urandom(size))  # some file systems store zeros in no space
        probe.flush()


def remove_document(root: Path, path: Path) -> None:
    """Remove a document (a link itself, not what it leads to) and the folders below ``root`` that are empty then."""
    with suppress(FileNotFoundError, NotADirectoryError):
        path.unlink()
    top = root.resolve(strict=False)
    for folder in path.parents:
        if folder == top or not folder.is_relative_to(top):
            break
        try:
            folder.rmdir()
        except FileNotFoundError:  # somebody else was faster, or it was never made
            continue
        except OSError:  # not empty
            break
    if path.parent.is_dir():
        sync_folder(path.parent)


def _parts(root: Path, name: str) -> tuple[str, ...]:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or name.endswith("/") or ".." in parts or "\0" in name:
        raise UnsafeNameError(f"{name!r} is not a file name below {root}")
    return parts


def _inside(root: Path, folder: Path, name: str) -> Path:
    resolved = folder.resolve(strict=False)
    # To follow the links of the root costs as much as a rename, and mostly there are none.
    if not resolved.is_relative_to(root) and not resolved.is_relative_to(root.resolve(strict=False)):
        raise UnsafeNameError(f"{name!r} leads through a symbolic link to {resolved}, outside {root}; was not written")
    return resolved


class Part:
    """A document that is being written, and has no name of its own yet.

    Attributes:
        file: open for writing.
        path: where it lies.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file = file
        self.path = path
        self.is_renamed: bool = False

    def rename(self, target: Path) -> None:
        """Give it its name, in place of whatever had it."""
        os.replace(self.path, target)
        self.is_renamed = True


@contextmanager
def temporary(target: Path, root: Path) -> Iterator[Part]:
    """A temporary file on the target's file system, gone at the end unless it was renamed.

    It lies where no name from a remote leads, and is locked as long as it is written.

    Args:
        root: the download folder, in which the target lies.
    """
    folder = parts_folder(target, root)
    while True:
        _make_parts(folder)
        name = folder / secrets.token_hex(12)
        with suppress(FileNotFoundError):  # an empty folder was cleared away just now
            handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            # Waits for whoever looks just now whether a killed process has left it; not every file system knows locks.
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
            if _names(name, handle):
                break
            os.close(handle)  # it was taken for what a killed process had left
    with os.fdopen(handle, "wb") as file:
        part = Part(file, name)
        try:
            yield part
        finally:
            if not part.is_renamed:
                with suppress(FileNotFoundError):
                    name.unlink()


def parts_folder(target: Path, root: Path) -> Path:
    """Where the temporary files of a target lie: below the root, or beside the target where another file system is mounted
    in between."""
    same = target.parent == root or os.stat(target.parent).st_dev == os.stat(root).st_dev
    return (root if same else target.parent) / PARTS


def _make_parts(folder: Path) -> None:
    """Make the folder, which another process may clear away at any moment."""
    try:
        mode = os.lstat(folder).st_mode
    except FileNotFoundError:
        with suppress(FileExistsError):  # another one was faster
            folder.mkdir()
        return
    if not stat.S_ISDIR(mode):
        raise DownloadError(
            f"{folder}: is in the way of temporary files, which lie in a folder of this name; move it away"
        )


def clear_parts(root: Path) -> None:
    """Remove the temporary files of processes that were killed, and their folder if it is empty then."""
    folder = root / PARTS
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        with suppress(OSError):
            handle = os.open(folder / name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if _lock(handle) and _names(folder / name, handle):
                    (folder / name).unlink()
            finally:
                os.close(handle)
    with suppress(OSError):  # others are at work in it
        folder.rmdir()


def _lock(handle: int) -> bool:
    """Whether the file was free; where the file system knows no locks it counts as taken."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _names(name: Path, handle: int) -> bool:
    """Whether the name still means the open file and was not renamed away."""
    try:
        here, there = os.fstat(handle), os.lstat(name)
    except FileNotFoundError:
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def sync_folder(folder: Path) -> None:
    """Make the rename durable: the ledger says "done" durably right after it.

    Raises:
        OSError: it names the folder.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        error.filename = str(folder)
        raise
    finally:
        os.close(handle)
