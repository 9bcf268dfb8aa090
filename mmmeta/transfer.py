"""Fetches one document from where the remote keeps it into a local folder.

This version reads local paths and ``file://`` URLs. A source is a value that came from the remote, so it is believed
nothing: it may only be a regular file below a folder that the caller allows, and it is checked against the digest and
size that the metadata promises while it is streamed. A target appears whole or not at all.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO, FileIO
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

from mmmeta.errors import DownloadError, UnsafeNameError
from mmmeta.layout import METADIR

CHUNK = 256 * 1024
"""Bytes read at once. Larger costs memory per worker and gains nothing on local disks."""

DIGESTS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
"""Length of a hexadecimal digest → the function that made it."""


@dataclass(frozen=True)
class Downloaded:
    """What a download left behind.

    Attributes:
        path: the document, complete.
        bytes: its size.
        fetched: False where an identical document was there already and nothing was written.
    """

    path: Path
    bytes: int
    fetched: bool


def digest_kind(value: object) -> str | None:
    """The digest function that a metadata value looks like (by length, hexadecimal digits only), or None."""
    if not isinstance(value, str) or not all(character in "0123456789abcdefABCDEF" for character in value):
        return None
    return DIGESTS.get(len(value))


def document_source(
    get: Callable[[str], Any],
    *,
    remote_url: str | None,
    file_name: str | None,
    source: str | None,
    files_root: Path,
) -> str:
    """Where a file's document is: an absolute path or a URL, not yet checked. First of these that there is:

    1. ``public_url`` of the metadata, if it is a ``file:`` URL or an absolute path (a web address is passed over),
    2. what the template ``remote.url`` of config.yml gave,
    3. the document beside its metadata file: files root / folder of the metadata file / file name.

    Args:
        get: gives the value of a metadata key, None where it is absent.
        remote_url: the filled ``remote.url`` template, where config.yml has one.
        file_name: the document's name, usually under ``_file_name``.
        source: path of the metadata file relative to the files root; None for a file that was inserted without one.
        files_root: absolute folder of the metadata files.

    Raises:
        DownloadError: none of the three is there.
    """
    public = get("public_url")
    if isinstance(public, str) and (_is_path(public) or public[:5].lower() == "file:"):
        return public
    if remote_url:
        return remote_url
    if file_name:
        return str(files_root / PurePosixPath(source or "").parent / file_name)
    raise DownloadError(
        "nothing says where the document is: the metadata has no file name and no local `public_url`, "
        "and config.yml no template `remote: url:`"
    )


def download_into(
    root: Path,
    name: str,
    source: str,
    *,
    allowed_roots: Sequence[Path],
    expected_digest: object = None,
    expected_size: int | None = None,
) -> Downloaded:
    """Download to ``root / name``, which stays inside ``root`` whatever the name and the links in the folder say.

    Makes missing folders. Everything else as ``download``.

    Raises:
        UnsafeNameError: the name is absolute, climbs out with ``..``, or a symbolic link in its way leads outside.
        DownloadError: as ``download``.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or name.endswith("/") or ".." in parts or "\0" in name:
        raise UnsafeNameError(f"{name!r} is not a file name below {root}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        resolved = root.resolve(strict=True)
        folder = _inside(resolved, resolved.joinpath(*parts[:-1]), name)
        folder.mkdir(parents=True, exist_ok=True)
        # Once more: what was there may have been a link to nowhere, and what is there now counts.
        folder = _inside(resolved, folder, name)
    except (OSError, RuntimeError, ValueError) as error:
        raise DownloadError(f"{root / name}: the folder cannot be made: {_reason(error)}") from error
    return download(
        source,
        folder / parts[-1],
        allowed_roots=allowed_roots,
        expected_digest=expected_digest,
        expected_size=expected_size,
    )


def download(
    source: str,
    target: Path,
    *,
    allowed_roots: Sequence[Path],
    expected_digest: object = None,
    expected_size: int | None = None,
) -> Downloaded:
    """Copy one document to ``target``, whose folder exists.

    The document is streamed into a temporary name in the same folder, flushed to disk, checked and renamed, so that
    the target is the old or the new document whatever happens. An identical target is left as it is: with a known
    kind of digest it is compared by that (the source is not read), otherwise by size and content. A target that is a
    symbolic link is replaced by the document, never written through.

    Args:
        source: an absolute path (taken as it is) or a ``file:`` URL (percent-decoded).
        target: the file to write.
        allowed_roots: the source must be a regular file below one of these, links resolved, and not in a metadir.
        expected_digest: MD5, SHA-1, SHA-256 or SHA-512 in hexadecimal; anything else is not checked.
        expected_size: bytes, where known.

    Raises:
        DownloadError: the source is of another kind, not allowed, not readable, or not what was expected; the message
            names it. The target is as it was before.
    """
    origin = _allowed(source, allowed_roots)
    kind = digest_kind(expected_digest)
    digest = str(expected_digest).lower() if kind else None
    try:
        if kind is not None and (size := _identical_by_digest(target, kind, digest, expected_size)) is not None:
            return Downloaded(target, size, fetched=False)
        with _open_source(origin, source) as stream:
            if kind is None and (size := _identical_by_content(target, stream, expected_size)) is not None:
                return Downloaded(target, size, fetched=False)
            with _temporary(target) as (part, name):
                size = _copy(stream, part, source, kind, digest, expected_size)
                part.flush()
                os.fsync(part.fileno())
                name.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise DownloadError(f"{source}: cannot be copied to {target}: {_reason(error)}") from error
    return Downloaded(target, size, fetched=True)


def read_document(source: str, *, allowed_roots: Sequence[Path], largest: int, expected_digest: object = None) -> bytes:
    """One document, whole and checked.

    Args:
        source, allowed_roots, expected_digest: as in ``download``.
        largest: bytes; a larger document is not read.

    Raises:
        DownloadError: as ``download``, or it is too large.
    """
    origin = _allowed(source, allowed_roots)
    kind = digest_kind(expected_digest)
    document = BytesIO()
    try:
        with _open_source(origin, source) as stream:
            if (size := _size(stream)) > largest:
                raise DownloadError(f"{source}: has {size} bytes, more than the {largest} that `max` allows")
            _copy(stream, document, source, kind, str(expected_digest).lower() if kind else None, None)
    except OSError as error:
        raise DownloadError(f"{source}: cannot be read: {_reason(error)}") from error
    return document.getvalue()


def _copy(
    stream: FileIO, part: BinaryIO, source: str, kind: str | None, digest: str | None, expected_size: int | None
) -> int:
    """Stream and check; gives the size. Refuses a document that changed under the reader."""
    checksum = hashlib.new(kind, usedforsecurity=False) if kind else None
    before = os.fstat(stream.fileno())
    if expected_size is not None and before.st_size != expected_size:
        raise DownloadError(f"{source}: expected {expected_size} bytes, got {before.st_size}")
    size = 0
    for chunk in _chunks(stream):
        part.write(chunk)
        size += len(chunk)
        if checksum:
            checksum.update(chunk)
        if size > before.st_size:
            break
    after = os.fstat(stream.fileno())
    if (size, before.st_mtime_ns) != (before.st_size, after.st_mtime_ns):
        raise DownloadError(f"{source}: changed while it was read; the next attempt takes the new content")
    if checksum and checksum.hexdigest() != digest:
        raise DownloadError(f"{source}: expected {kind} {digest}, got {checksum.hexdigest()} ({size} bytes)")
    return size


def _allowed(source: str, allowed_roots: Sequence[Path]) -> Path:
    """The real path of a source, if it lies where reading is allowed."""
    path = _local_path(source)
    try:
        resolved = path.resolve(strict=False)
        roots = [root.resolve(strict=False) for root in allowed_roots]
    except (OSError, RuntimeError, ValueError) as error:
        raise DownloadError(f"{source}: {_reason(error)}") from error
    for root in roots:
        # A metadir holds databases and local state, never documents: a value must not fetch those either.
        if resolved.is_relative_to(root) and METADIR not in resolved.relative_to(root).parts:
            return resolved
    places = ", ".join(str(root) for root in roots) or "none"
    raise DownloadError(f"{source}: lies outside the folders that may be read ({places}); was not opened")


def _local_path(source: str) -> Path:
    """The path that a source names: percent-decoded for a ``file:`` URL, as it is for an absolute path."""
    if "\0" in source:
        raise DownloadError(f"{source!r}: not a path: holds a NUL character")
    if _is_path(source):
        return Path(source)
    if source[:5].lower() != "file:":
        raise DownloadError(f"{source}: this version reads absolute local paths and file:// URLs only")
    rest = source[5:]
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise DownloadError(f"{source}: names the host {host!r}; file:// URLs are read from this machine only")
        rest = slash + rest
    if not rest.startswith("/"):
        raise DownloadError(f"{source}: not an absolute file:// URL, as file:///folder/name")
    if "?" in rest or "#" in rest:
        raise DownloadError(f"{source}: a ? or # in a file:// URL must be written %3F or %23")
    decoded = unquote_to_bytes(rest)
    if b"\0" in decoded:
        raise DownloadError(f"{source}: not a path: holds a NUL character")
    return Path(os.fsdecode(decoded))


def _is_path(text: str) -> bool:
    """An absolute path; ``//host/x`` is a web address without its scheme."""
    return text.startswith("/") and not text.startswith("//")


def _inside(root: Path, folder: Path, name: str) -> Path:
    resolved = folder.resolve(strict=False)
    if not resolved.is_relative_to(root):
        raise UnsafeNameError(f"{name!r} leads through a symbolic link to {resolved}, outside {root}; was not written")
    return resolved


def _open_regular(path: Path) -> FileIO:
    """Open for reading. Neither through a link, nor a pipe that would block, nor a device."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return FileIO(handle)


def _open_source(path: Path, source: str) -> FileIO:
    try:
        return _open_regular(path)
    except OSError as error:
        raise DownloadError(f"{source}: cannot be read: {_reason(error)}") from error


def _open_existing(target: Path, expected_size: int | None) -> FileIO | None:
    """The target, if it is a file of this size that can be compared."""
    try:
        file = _open_regular(target)
    except OSError:
        return None
    if expected_size is not None and _size(file) != expected_size:
        file.close()
        return None
    return file


def _identical_by_digest(target: Path, kind: str, digest: str | None, expected_size: int | None) -> int | None:
    """The size of the target if it has this digest, else None."""
    file = _open_existing(target, expected_size)
    if file is None:
        return None
    checksum = hashlib.new(kind, usedforsecurity=False)
    with file:
        for chunk in _chunks(file):
            checksum.update(chunk)
        return _size(file) if checksum.hexdigest() == digest else None


def _identical_by_content(target: Path, stream: FileIO, expected_size: int | None) -> int | None:
    """The size of the target if it holds what the stream gives, else None; the stream is at its start again."""
    size = _size(stream)
    if expected_size not in (None, size):
        return None
    file = _open_existing(target, size)
    if file is None:
        return None
    with file:
        same = all(bytes(chunk) == _read_exactly(file, len(chunk)) for chunk in _chunks(stream))
    stream.seek(0)
    return size if same else None


def _size(file: FileIO) -> int:
    return os.fstat(file.fileno()).st_size


def _chunks(stream: FileIO) -> Iterator[memoryview]:
    """What is left of a stream, in one buffer that is used again for every chunk."""
    view = memoryview(bytearray(CHUNK))
    while count := stream.readinto(view):
        yield view[:count]


def _read_exactly(stream: FileIO, count: int) -> bytes:
    parts = b""
    while len(parts) < count and (data := stream.read(count - len(parts))):
        parts += data
    return parts


@contextmanager
def _temporary(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A temporary file beside the target, gone at the end unless it was renamed.

    Its name follows from the target's, so that a killed process leaves at most one, which the next attempt takes over.
    A lock says whether somebody is still writing it; then another name is used.
    """
    mark = hashlib.blake2b(os.fsencode(target.name), digest_size=8).hexdigest()
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


def _sync_folder(folder: Path) -> None:
    """Make the rename durable: the ledger says "done" durably right after it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
