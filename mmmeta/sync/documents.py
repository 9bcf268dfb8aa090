"""The documents of a selection, as they lie below the remote's base path, into the files root of a client.

They keep their places: what the remote has as ``2026/a.pdf`` is ``2026/a.pdf`` below the files root, where jobs look for it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit

from mmmeta.config.model import Config
from mmmeta.documents.digests import Digest, digest_of
from mmmeta.documents.folder import clear_parts, find_place
from mmmeta.documents.reserved import is_reserved
from mmmeta.documents.source import PATH, Deadline, is_local, protocol_of
from mmmeta.documents.transfer import difference, download_into
from mmmeta.documents.web import HTTP, WebSources, below
from mmmeta.errors import DownloadError, MissingPackageError, MmmetaError, SyncError, UnsafeNameError
from mmmeta.masking import shown
from mmmeta.project.download_targets import Kept, kept_from_remotes, why_no_target
from mmmeta.reports import FirstFew, Progress
from mmmeta.sync.patience import patiently

AT_ONCE = 4
"""Documents that are fetched at the same time."""

_WINDOW = 200
"""Files that are looked at together; so many are in memory."""

_SIZE_KEYS = ("size", "file_size", "_file_size")

_NAMED = 100
"""Failures that a report names."""


class Described(Protocol):
    """What is asked of a file: its metadata, and where its metadata file lay."""

    unique_value: str

    @property
    def revision(self) -> int: ...

    @property
    def source(self) -> str | None: ...

    def get(self, key: str, default: Any = None) -> Any: ...


@dataclass(frozen=True)
class DocumentsReport:
    """What was done about documents.

    Attributes:
        fetched: how many were brought.
        there: how many were there already.
        bytes: of those that were brought.
        failed: how many could not be had.
        failures: the first of them, and why.
        duration: seconds.
    """

    fetched: int
    there: int
    bytes: int
    failed: int
    failures: tuple[str, ...]
    duration: float


def pull_documents(
    files: Iterable[Described],
    base: str,
    files_root: Path,
    config: Config,
    *,
    since: int = 0,
    kept: Iterable[Kept] = (),
    progress: Progress | None = None,
    stopped: threading.Event | None = None,
) -> DocumentsReport:
    """Bring the documents of these files that are missing below the files root.

    A document that is there counts as there if it has the size that the metadata tells; of a file that changed after the
    revision ``since`` the digest is compared as well. Whatever else stands at its place is left, for nobody knows whose it is.
    What cannot be had is counted and named.

    Args:
        files: those whose documents are wanted; read as a stream.
        base: the remote's base path, as path or URL.
        config: of the metadir; names the keys of file name and digest.
        since: the revision that the copy had before.
        kept: what no name from a remote may come near, besides folders that Python imports from.
        progress: called with documents that were looked at.
        stopped: set from another thread to end it.

    Raises:
        SyncError: what reads the place is not installed, or the files root holds something that is no document.
    """
    reason = why_no_target(files_root, (*kept, *kept_from_remotes((), ())))
    if reason is not None:
        raise SyncError(
            f"{reason}. Give them a folder of their own: --files-root ./documents, or files_root: in the project file"
        )
    fetch = _Fetch(base, files_root, config, since, stopped or threading.Event())
    started = time.monotonic()
    fetched = there = size = done = 0
    failures: FirstFew[str] = FirstFew(_NAMED)
    many = iter(files)
    try:
        with ThreadPoolExecutor(AT_ONCE, "mmmeta-documents") as threads:
            while window := list(islice(many, _WINDOW)):
                for file, result in zip(window, threads.map(fetch.one, window), strict=True):
                    done += 1
                    if isinstance(result, str):
                        failures.add(f"{file.unique_value}: {result}")
                    elif result is None:
                        there += 1
                    else:
                        fetched, size = fetched + 1, size + result
                    if progress is not None:
                        progress("pulling documents", done, None)
    except MissingPackageError as error:
        raise SyncError(str(error)) from error
    finally:
        fetch.close()
    named = tuple(failures.named)
    return DocumentsReport(fetched, there, size, failures.count, named, time.monotonic() - started)


class _Fetch:
    """Brings documents from one place, in any thread."""

    def __init__(self, base: str, files_root: Path, config: Config, since: int, stopped: threading.Event) -> None:
        self._files_root = files_root
        self._rules = config.metadata
        self._since = since
        self._stopped = stopped
        self._folder: Path | None = None
        self._web: WebSources | None = None
        self._base = base
        if is_local(base) or "://" not in base:
            path = unquote(urlsplit(base).path) if base[:5].lower() == "file:" else base
            self._folder = Path(path).expanduser().absolute()
        else:
            protocol = protocol_of(base)
            self._web = WebSources(HTTP if protocol == "http" else (protocol,), by_url=True)

    def close(self) -> None:
        clear_parts(self._files_root)
        if self._web is not None:
            self._web.close()

    def one(self, file: Described) -> int | str | None:
        """Bytes that were fetched; None where it was there; why it could not be had."""
        try:
            name = self._name(file)
            digest, size = self._promised(file)
            place = find_place(self._files_root, name)
            is_news = file.revision > self._since
            if os.path.lexists(place):
                other = difference(place, digest if is_news else None, size)
                if other is None:
                    return None
                return f"{other}; was left. Move it away and pull again, or have a `download` job, which keeps documents up to date"
            source = self._source(name)
            found = patiently(
                lambda: download_into(
                    self._files_root,
                    name,
                    source,
                    allowed_roots=[self._folder] if self._folder is not None else [],
                    expected_digest=digest,
                    expected_size=None if digest is not None else size,
                    replace=False,
                    web=self._web,
                    deadline=Deadline(shown(source), stopped=self._stopped),
                ),
                self._stopped,
            )
            return found.bytes if found.fetched else None
        except MissingPackageError:
            raise
        except (MmmetaError, OSError) as error:
            return str(error)

    def _name(self, file: Described) -> str:
        """Where the document lies below the remote's base path: where generate has found it, else beside its metadata file."""
        found = file.get(PATH)
        if not (isinstance(found, str) and found):
            file_name = file.get(self._rules.file_name)
            if not (isinstance(file_name, str) and file_name):
                raise DownloadError(
                    f"nothing says where its document is: it has neither {PATH} nor {self._rules.file_name}"
                )
            found = str(PurePosixPath(file.source or "").parent / file_name)
        parts = PurePosixPath(found).parts
        # A remote may publish any name; hidden files steer programs, and a metadir is not brought this way.
        if found.startswith("/") or any(part.startswith(".") or is_reserved(part) for part in parts):
            raise UnsafeNameError(
                f"{found!r} is no place for a document: it is absolute, hidden, climbs out, or mmmeta's own"
            )
        return str(PurePosixPath(found))

    def _source(self, name: str) -> str:
        if self._folder is not None:
            return str(self._folder / name)
        return below(self._base, quote(name) if protocol_of(self._base) in HTTP else name)

    def _promised(self, file: Described) -> tuple[Digest | None, int | None]:
        rules = self._rules
        digest = digest_of(file.get(rules.content), key=rules.content, said=rules.digest)
        sizes = (file.get(key) for key in _SIZE_KEYS)
        return digest, next((one for one in sizes if type(one) is int and one >= 0), None)
