"""Documents on this machine: regular files below the folders that a caller allows, and nothing else."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path
from urllib.parse import unquote_to_bytes

from mmmeta.documents.reserved import is_reserved
from mmmeta.documents.source import CHUNK, is_path, reason
from mmmeta.documents.spelling import as_on_disk, same_name
from mmmeta.errors import DownloadError


class LocalSource:
    """A file of this machine, open.

    Args:
        source: an absolute path (taken as it is) or a ``file:`` URL (percent-decoded).
        allowed_roots: it must be a regular file below one of these, links resolved, and not in a metadir.

    Raises:
        DownloadError: it is of another kind, not allowed, or cannot be read.
    """

    encoding: str | None = None
    content_type: str | None = None
    may_be_empty = True

    def __init__(self, source: str, allowed_roots: Sequence[Path]) -> None:
        path = allowed_path(source, allowed_roots)
        self._source = source
        try:
            self.stream: FileIO = open_regular(path)
        except OSError as error:
            raise DownloadError(f"{source}: cannot be read: {reason(error)}") from error
        self._before = os.fstat(self.stream.fileno())
        self.size: int | None = self._before.st_size

    def __enter__(self) -> LocalSource:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stream.close()

    def chunks(self) -> Iterator[memoryview]:
        return chunks(self.stream)

    def verify(self, size: int) -> None:
        """Refuse a document that changed under the reader."""
        after = os.fstat(self.stream.fileno())
        if (size, self._before.st_mtime_ns) != (self._before.st_size, after.st_mtime_ns):
            raise DownloadError(f"{self._source}: changed while it was read; the next attempt takes the new content")


def allowed_path(source: str, allowed_roots: Sequence[Path]) -> Path:
    """The real path of a source, if it lies where reading is allowed; it need not be there.

    Names that are there in another Unicode form are those that are meant.

    Raises:
        DownloadError: it is no path, or lies elsewhere.
    """
    path = _path_of(source)
    try:
        resolved = path.resolve(strict=False)
        roots = [root.resolve(strict=False) for root in allowed_roots]
    except (OSError, RuntimeError, ValueError) as error:
        raise DownloadError(f"{source}: {reason(error)}") from error
    kept = False
    for root in roots:
        below = _below(root, resolved)
        if below is None or any(map(is_reserved, below)):
            kept = kept or below is not None
            continue
        there = as_on_disk(root, below)
        if there != resolved:
            below = _below(root, there := there.resolve(strict=False))
        # A metadir holds databases and local state, never documents: a value must not fetch those either.
        if below is not None and not any(map(is_reserved, below)):
            return there
    places = ", ".join(str(root) for root in roots) or "none"
    if kept:
        raise DownloadError(
            f"{source}: lies in a folder of mmmeta's own, which is outside the folders that may be read ({places}); was not opened"
        )
    raise DownloadError(
        f"{source}: lies outside the folders that may be read ({places}); was not opened. If documents of this archive lie "
        f"there, name the folder as files_root (`files_root:` in the project file, --files-root, MMMETA_FILES_ROOT)"
    )


def _below(root: Path, path: Path) -> tuple[str, ...] | None:
    """What follows ``root`` in a path, None where it leads elsewhere."""
    above, parts = root.parts, path.parts
    if len(parts) < len(above) or not all(map(same_name, above, parts)):
        return None
    return parts[len(above) :]


def _path_of(source: str) -> Path:
    """The path that a source names: percent-decoded for a ``file:`` URL, as it is for an absolute path."""
    if "\0" in source:
        raise DownloadError(f"{source!r}: not a path: holds a NUL character")
    if is_path(source):
        return Path(source)
    if source[:5].lower() != "file:":
        raise DownloadError(f"{source}: is not on this machine: neither an absolute path nor a file:// URL")
    rest = source[5:]
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise DownloadError(
                f"{source}: names the host {host!r}; file:// URLs are read from this machine only, "
                "as file:///folder/name"
            )
        rest = slash + rest
    if not rest.startswith("/"):
        raise DownloadError(f"{source}: not an absolute file:// URL, as file:///folder/name")
    if "?" in rest or "#" in rest:
        raise DownloadError(f"{source}: a ? or # in a file:// URL must be written %3F or %23")
    decoded = unquote_to_bytes(rest)
    if b"\0" in decoded:
        raise DownloadError(f"{source}: not a path: holds a NUL character")
    return Path(os.fsdecode(decoded))


def open_regular(path: Path | bytes) -> FileIO:
    """Open for reading. Neither through a link, nor a pipe that would block, nor a device."""
    return FileIO(regular_handle(path)[0])


def regular_handle(path: Path | bytes) -> tuple[int, os.stat_result]:
    """As ``open_regular``: what the system calls the open file, and how it is. The caller closes it."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "is not a regular file", os.fsdecode(path))
    return handle, found


def chunks(stream: FileIO) -> Iterator[memoryview]:
    """What is left of a stream, in one buffer that is used again for every chunk."""
    view = memoryview(bytearray(CHUNK))
    while count := stream.readinto(view):
        yield view[:count]
