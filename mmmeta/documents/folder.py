"""The folder that documents are downloaded into: names that stay inside it, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from mmmeta.documents.source import reason
from mmmeta.errors import DownloadError, UnsafeNameError

ROOM = 32_000_000
"""Bytes; a disk that has less is full for everybody, else it is only so for a document that does not fit."""


def make_place(root: Path, name: str) -> Path:
    """``root / name`` with its folders made, which lies inside ``root`` whatever the links on the way say.

    Raises:
        UnsafeNameError: the name is absolute, climbs out with ``..``, or a symbolic link in its way leads outside.
        DownloadError: a folder cannot be made.
    """
    parts = _parts(root, name)
    try:
        root.mkdir(parents=True, exist_ok=True)
        resolved = root.resolve(strict=True)
        folder = _inside(resolved, resolved.joinpath(*parts[:-1]), name)
        folder.mkdir(parents=True, exist_ok=True)
        # Once more: what was there may have been a link to nowhere, and what is there now counts.
        folder = _inside(resolved, folder, name)
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


def remove_parts(path: Path) -> None:
    """Remove what killed downloads of a document have left beside it; what somebody is writing just now stays."""
    for part in path.parent.glob(f".{_mark(path)}.*part"):
        with suppress(FileNotFoundError):
            handle = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if _lock(handle) and _names(part, handle):
                    part.unlink()
            finally:
                os.close(handle)


def _mark(target: Path) -> str:
    """By which the temporary files of a document are known."""
    return hashlib.blake2b(os.fsencode(target.name), digest_size=8).hexdigest()


def _parts(root: Path, name: str) -> tuple[str, ...]:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or name.endswith("/") or ".." in parts or "\0" in name:
        raise UnsafeNameError(f"{name!r} is not a file name below {root}")
    return parts


def _inside(root: Path, folder: Path, name: str) -> Path:
    resolved = folder.resolve(strict=False)
    if not resolved.is_relative_to(root):
        raise UnsafeNameError(f"{name!r} leads through a symbolic link to {resolved}, outside {root}; was not written")
    return resolved


@contextmanager
def temporary(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A temporary file beside the target, gone at the end unless it was renamed.

    Its name follows from the target's, so that a killed process leaves at most one, which the next attempt takes over.
    A lock says whether somebody is still writing it; then another name is used.
    """
    mark = _mark(target)
    name = target.parent / f".{mark}.part"
    handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    if not _lock(handle) or not _names(name, handle):
        os.close(handle)
        name = target.parent / f".{mark}.{secrets.token_hex(8)}.part"
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with os.fdopen(handle, "wb") as part:
        try:
            os.ftruncate(handle, 0)
            yield part, name
        finally:
            # Still under the lock: after it, the name may be somebody else's.
            if _names(name, handle):
                name.unlink()


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
        here, there = os.fstat(handle), name.lstat()
    except FileNotFoundError:
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def sync_folder(folder: Path) -> None:
    """Make the rename durable: the ledger says "done" durably right after it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
