"""Fetches one document from where the remote keeps it into a local folder.

It is checked against the digest and size that the metadata promises while it is streamed, and appears whole or not at
all. What is there already in the right version is left alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO, FileIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, BinaryIO

from mmmeta.documents.content_types import START, why_wrong
from mmmeta.documents.digests import Digest, bare
from mmmeta.documents.encoded import DECODED, Decoded, is_encoded, is_packed
from mmmeta.documents.folder import clear_parts, make_place, sync_folder, temporary
from mmmeta.documents.local import LocalSource, chunks, open_regular
from mmmeta.documents.source import CHUNK, Deadline, Source, is_local, reason
from mmmeta.documents.standing import Standing
from mmmeta.documents.web import WebSources
from mmmeta.errors import DownloadError, is_exhausted
from mmmeta.masking import said, shown


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


@dataclass(frozen=True)
class Promised:
    """What the metadata promises of a document; None for what it does not tell.

    Attributes:
        kind: the digest's function; with one, ``digest`` in lower-case hexadecimal.
        size: bytes.
        largest: bytes that it may have, whatever the metadata promises.
    """

    kind: str | None
    digest: str | None
    size: int | None
    largest: int | None = None

    @classmethod
    def of(cls, digest: object, size: int | None, largest: int | None = None) -> Promised:
        known = digest if isinstance(digest, Digest) else bare(digest)
        return cls(None, None, size, largest) if known is None else cls(known.kind, known.text, size, largest)

    def require(self, name: str, size: int | None, *, so_far: bool = False) -> None:
        """Refuse a document of more bytes than it may have; None for a size that is not known yet."""
        if self.largest is not None and size is not None and size > self.largest:
            what = "has" if so_far else f"has {size:,} bytes,"
            raise DownloadError(f"{name}: {what} more than the {self.largest:,} bytes that `max` of the job allows")


def difference(path: Path, digest: object, size: int | None) -> str | None:
    """Why the document at ``path`` is not the one of this digest (where that is a known kind) and size, in a sentence that
    begins with the path; None where it is.

    Raises:
        DownloadError: nobody can tell, for this process has too many files open.
    """
    promised = Promised.of(digest, size)
    try:
        file = open_regular(path)
    except FileNotFoundError:
        return f"{path} is not there"
    except OSError as error:
        if is_exhausted(error):
            raise DownloadError(f"{path}: cannot be looked at: {reason(error)}") from error
        return f"{path} cannot be read: {reason(error)}"
    try:
        with file:
            if promised.size is not None and _size(file) != promised.size:
                return f"{path} has {_size(file)} bytes and not {promised.size}"
            if promised.kind is not None and _digest(file, promised.kind) != promised.digest:
                return f"{path} has another {promised.kind} than {promised.digest}"
    except OSError as error:
        return f"{path} cannot be read: {reason(error)}"
    return None


def download_into(
    root: Path,
    name: str,
    source: str,
    *,
    allowed_roots: Sequence[Path],
    expected_digest: object = None,
    expected_size: int | None = None,
    expected_type: str | None = None,
    replace: bool = True,
    largest: int | None = None,
    web: WebSources | None = None,
    deadline: Deadline | None = None,
) -> Downloaded:
    """Download to ``root / name``, which stays inside ``root`` whatever the name and the links in the folder say.

    Makes missing folders. Everything else as ``download``.

    Raises:
        UnsafeNameError: the name is absolute, climbs out with ``..``, or a symbolic link in its way leads outside.
        DownloadError: as ``download``.
    """
    return download(
        source,
        make_place(root, name),
        root=root,
        allowed_roots=allowed_roots,
        expected_digest=expected_digest,
        expected_size=expected_size,
        expected_type=expected_type,
        replace=replace,
        largest=largest,
        web=web,
        deadline=deadline,
    )


def download(
    source: str,
    target: Path,
    *,
    root: Path | None = None,
    allowed_roots: Sequence[Path],
    expected_digest: object = None,
    expected_size: int | None = None,
    expected_type: str | None = None,
    replace: bool = True,
    largest: int | None = None,
    web: WebSources | None = None,
    deadline: Deadline | None = None,
) -> Downloaded:
    """Copy one document to ``target``, whose folder exists.

    The document is streamed into a temporary file on the same file system, flushed to disk, checked and renamed, so that
    the target is the old or the new document whatever happens. An identical target is left as it is: with a known
    kind of digest it is compared by that (the source is not read), otherwise, on this machine, by size and content.
    A target that is a symbolic link is replaced by the document, never written through.

    A document of 0 bytes is one if digest or size say so, or if the source is a file or an object of a store; the
    empty answer of a web server is an error otherwise.

    Args:
        source: an absolute path (taken as it is), a ``file:`` URL (percent-decoded), or an address that ``web`` reads.
        target: the file to write.
        root: the download folder in which it lies; its own folder unless given. Temporary files lie there, in a folder of
            mmmeta's own, which whoever gives the root clears away.
        allowed_roots: a local source must be a regular file below one of these, links resolved, and not in a metadir.
        expected_digest: a ``Digest``, or MD5, SHA-1, SHA-256 or SHA-512 in hexadecimal; anything else is not checked.
        expected_size: bytes, where known.
        expected_type: the type of content that a web server must send, ``application/pdf`` or ``image/*``; a digest proves
            more. Without any of the three an HTML page in place of a ``.pdf`` or the like is refused.
        replace: whether the document may take the place of something else that stands there; otherwise that is an error.
        largest: bytes; what has more is not read to its end.
        web: reads what is not on this machine; nothing else is read without it.
        deadline: until when it has to be there; an hour from now unless given.

    Raises:
        DownloadError: the source is of another kind, not allowed, not readable, or not what was expected; the message
            names it. The target is as it was before.
    """
    deadline = deadline or Deadline(shown(source))
    folder = root or target.parent
    promised = Promised.of(expected_digest, expected_size, largest)
    try:
        if promised.kind is not None and (there := _identical_by_digest(target, promised)) is not None:
            return Downloaded(target, there, fetched=False)
        guard = None if replace else Standing(target)
        if guard is not None and guard.is_there and difference(target, expected_digest, expected_size) is not None:
            raise guard.refused()  # it is known before anything is fetched
        if web is not None and not is_local(source):
            with web.open(source, deadline) as opened:
                size = _write(opened, target, folder, shown(source), promised, deadline, expected_type, guard)
        else:
            with LocalSource(source, allowed_roots) as local:
                if promised.kind is None and (same := _identical_by_content(target, local, promised.size)) is not None:
                    return Downloaded(target, same, fetched=False)
                size = _write(local, target, folder, source, promised, deadline, standing=guard)
        sync_folder(target.parent)
    except OSError as error:
        raise DownloadError(f"{shown(source)}: cannot be copied to {target}: {reason(error)}") from error
    finally:
        if root is None:
            clear_parts(folder)
    return Downloaded(target, size, fetched=True)


def read_document(source: str, *, allowed_roots: Sequence[Path], largest: int, expected_digest: object = None) -> bytes:
    """One document of this machine, whole and checked.

    Args:
        source, allowed_roots, expected_digest: as in ``download``.
        largest: bytes; a larger document is not read.

    Raises:
        DownloadError: as ``download``, or it is too large.
    """
    document = BytesIO()
    try:
        with LocalSource(source, allowed_roots) as local:
            _copy(local, document, source, Promised.of(expected_digest, None, largest), Deadline(source))
    except OSError as error:
        raise DownloadError(f"{source}: cannot be read: {reason(error)}") from error
    return document.getvalue()


def _write(
    source: Source,
    target: Path,
    root: Path,
    name: str,
    promised: Promised,
    deadline: Deadline,
    expected_type: str | None = None,
    standing: Standing | None = None,
) -> int:
    """Stream into a temporary file and rename it; gives the size."""
    with temporary(target, root) as part:
        if source.encoding is None:
            size = _copy(source, part.file, name, promised, deadline)
        else:
            size = _copy_encoded(source, part.file, part.path.parent, target, name, promised, deadline)
        part.file.flush()
        if promised.kind is None and (promised.size is None or expected_type) and source.content_type is not None:
            names = (name.partition("?")[0].partition("#")[0], target.name)
            wrong = why_wrong(_start(part.path), source.content_type, names, expected_type)
            if wrong is not None:
                raise DownloadError(f"{name}: {wrong}")
        os.fsync(part.file.fileno())
        if standing is None or not standing.is_same(part.path):
            part.rename(target)
    return size


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(START)


def _copy_encoded(
    source: Source, part: BinaryIO, folder: Path, target: Path, name: str, promised: Promised, deadline: Deadline
) -> int:
    """The form of an encoded answer that is the document, raw or decoded; gives its size."""
    encoding = source.encoding or ""
    with TemporaryFile(dir=folder) as raw:
        size = _copy(source, raw, name, Promised(None, None, None, promised.largest), deadline)
        raw.seek(0)
        if promised.kind is not None:
            checksum = hashlib.new(promised.kind, usedforsecurity=False)
            while data := raw.read(CHUNK):
                checksum.update(data)
            is_raw = checksum.hexdigest() == promised.digest
        elif promised.size is not None:
            is_raw = size == promised.size
        else:
            packed = is_packed(name.partition("?")[0].partition("#")[0]) or is_packed(target.name)
            is_raw = packed or (encoding in DECODED and not is_encoded(raw.read(2), encoding))
        raw.seek(0)
        if is_raw:
            shutil.copyfileobj(raw, part, CHUNK)
            return size
        if encoding not in DECODED:
            raise DownloadError(f"{name}: was sent as Content-Encoding: {said(encoding)}, which cannot be decoded here")
        return _copy(Decoded(raw, encoding, name), part, name, promised, deadline)


def _copy(source: Source, part: IO[bytes], name: str, promised: Promised, deadline: Deadline) -> int:
    """Stream and check; gives the size."""
    checksum = hashlib.new(promised.kind, usedforsecurity=False) if promised.kind else None
    if promised.size is not None and source.size not in (None, promised.size):
        raise DownloadError(f"{name}: expected {promised.size} bytes, got {source.size}")
    promised.require(name, source.size)
    most = source.size if promised.size is None else promised.size
    size = 0
    for chunk in source.chunks():
        deadline.left()
        size += len(chunk)
        promised.require(name, size, so_far=True)
        part.write(chunk)
        if checksum:
            checksum.update(chunk)
        if most is not None and size > most:
            break
    source.verify(size)
    if promised.size is not None and size != promised.size:
        raise DownloadError(f"{name}: expected {promised.size} bytes, got {size}{' and more' * (size > promised.size)}")
    if checksum and checksum.hexdigest() != promised.digest:
        raise DownloadError(
            f"{name}: expected {promised.kind} {promised.digest}, got {checksum.hexdigest()} ({size} bytes)"
        )
    if size == 0 and not (source.may_be_empty or checksum or promised.size == 0):
        raise DownloadError(
            f"{name}: the answer is empty, and no digest or size in the metadata says that it should be"
        )
    return size


def _open_existing(target: Path, expected_size: int | None) -> FileIO | None:
    """The target, if it is a file of this size that can be compared."""
    try:
        file = open_regular(target)
    except OSError:
        return None
    if expected_size is not None and _size(file) != expected_size:
        file.close()
        return None
    return file


def _identical_by_digest(target: Path, promised: Promised) -> int | None:
    """The size of the target if it has this digest, else None."""
    file = _open_existing(target, promised.size)
    if file is None or promised.kind is None:
        return None
    with file:
        return _size(file) if _digest(file, promised.kind) == promised.digest else None


def _identical_by_content(target: Path, source: LocalSource, expected_size: int | None) -> int | None:
    """The size of the target if it holds what the source gives, else None; the source is at its start again."""
    if expected_size not in (None, source.size):
        return None
    file = _open_existing(target, source.size)
    if file is None:
        return None
    with file:
        same = all(bytes(chunk) == _read_exactly(file, len(chunk)) for chunk in source.chunks())
    source.stream.seek(0)
    return source.size if same else None


def _digest(file: FileIO, kind: str) -> str:
    checksum = hashlib.new(kind, usedforsecurity=False)
    for chunk in chunks(file):
        checksum.update(chunk)
    return checksum.hexdigest()


def _size(file: FileIO) -> int:
    return os.fstat(file.fileno()).st_size


def _read_exactly(stream: FileIO, count: int) -> bytes:
    parts = b""
    while len(parts) < count and (data := stream.read(count - len(parts))):
        parts += data
    return parts
