"""Where documents come from: which place metadata names, how long reading may take, and how an address is shown.

A source is a value that came from the remote, so nothing in it is trusted. ``local`` reads documents of this machine,
``web`` all others; ``transfer`` writes what they give.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from mmmeta.documents.spelling import as_on_disk
from mmmeta.errors import DownloadError
from mmmeta.masking import said, without_login_of
from mmmeta.quantities import format_duration

CHUNK = 256 * 1024
"""Bytes read at once. Larger costs memory per worker and gains nothing on local disks."""

TIMEOUT = 3600.0
"""Seconds that one document may take, where the job has no ``timeout``; ends what drips without an end."""

LARGEST = 10**18
"""Bytes that a document is believed to have at most; what a server says may have thousands of digits."""

LONGEST_REASON = 500
"""Characters of what an error says."""

PUBLIC_URL = "public_url"
"""The metadata key that holds where anybody can get the document."""

PATH = "path"
"""The metadata key that holds where the document lies below the files root; generate derives it."""

_PROTOCOL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


class Source(Protocol):
    """One document, open for reading.

    Attributes:
        size: bytes, where the place tells before they are read.
        encoding: what the place says the bytes are encoded with on top of what they are, such as ``gzip``; else None.
        content_type: what a web server says of it, without parameters, empty if it says nothing; None from elsewhere.
        may_be_empty: whether a document of 0 bytes is believed without size or digest in the metadata.
    """

    size: int | None
    encoding: str | None
    content_type: str | None
    may_be_empty: bool

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The content, piece by piece; a piece is only good until the next one is asked for."""

    def verify(self, size: int) -> None:
        """Raise DownloadError unless the ``size`` bytes that were read are the whole document, in one version."""


class Deadline:
    """Until when a document has to be there.

    Args:
        what: the source as it may be shown.
        seconds: from now on.
        stopped: set when the run is ended from outside.
    """

    def __init__(self, what: str, seconds: float = TIMEOUT, stopped: threading.Event | None = None) -> None:
        self._what = what
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._stopped = stopped

    def is_stopped(self) -> bool:
        """Whether the run was ended from outside."""
        return self._stopped is not None and self._stopped.is_set()

    def left(self) -> float:
        """Seconds that are left.

        Raises:
            DownloadError: none are, or the run was stopped.
        """
        if self.is_stopped():
            raise DownloadError(f"{self._what}: given up because the run was stopped")
        left = self._end - time.monotonic()
        if left <= 0:
            raise DownloadError(
                f"{self._what}: not there after {format_duration(self._seconds)} and given up; "
                "the job's timeout: says how long one document may take"
            )
        return left


def document_source(
    get: Callable[[str], Any],
    *,
    remote_url: str | None,
    file_name: str | None,
    source: str | None,
    files_root: Path,
) -> str:
    """Where a file's document is: an absolute path or a URL, not yet checked. The first of these that exists:

    1. ``public_url`` of the metadata, if it is a ``file:`` URL or an absolute path,
    2. what the template ``remote.url`` of config.yml gave,
    3. the document beside its metadata file, if it is there: files root / folder of the metadata file / file name; else
       below the files root: files root / ``path``, which generate has found, or / file name,
    4. ``public_url``, if it is a web address,
    5. the place of 3 nevertheless.

    Args:
        get: gives the value of a metadata key, None where it is absent.
        remote_url: the filled ``remote.url`` template, where config.yml has one.
        file_name: the document's name, usually under ``_file_name``.
        source: path of the metadata file relative to the files root; None for a file that was inserted without one.
        files_root: absolute folder of the metadata files.

    Raises:
        DownloadError: none of them is there.
    """
    public = get(PUBLIC_URL)
    if isinstance(public, str):
        public = public.strip()  # no address begins or ends with a space, whatever a scraper has cut out
    if isinstance(public, str) and is_local(public):
        return public
    if remote_url:
        return remote_url
    folder = PurePosixPath(source or "").parent
    beside = as_on_disk(files_root, (folder / file_name).parts) if file_name else None
    if not (beside and os.path.isfile(beside)):
        elsewhere = _elsewhere(files_root, get(PATH), file_name if folder.parts else None)
        if elsewhere is None and isinstance(public, str) and protocol_of(public):
            return public
        beside = elsewhere or beside
    if beside:
        return str(beside)
    raise DownloadError(
        "nothing says where the document is: the metadata has neither file name nor `public_url`, "
        "and config.yml no template `remote: url:`"
    )


def _elsewhere(files_root: Path, *names: object) -> Path | None:
    """The first of these paths below the files root that is there."""
    for name in names:
        if isinstance(name, str) and name and "\0" not in name and not is_path(name):
            there = as_on_disk(files_root, PurePosixPath(name).parts)
            if os.path.isfile(there):
                return there
    return None


def is_path(text: str) -> bool:
    """An absolute path; ``//host/x`` is a web address without its scheme."""
    return text.startswith("/") and not text.startswith("//")


def is_local(source: str) -> bool:
    """Whether a source is a path or a ``file:`` URL."""
    return is_path(source) or source[:5].lower() == "file:"


def protocol_of(source: str) -> str:
    """``https`` of ``HTTPS://…``; empty where a source has none."""
    found = _PROTOCOL.match(source)
    return found[1].lower() if found else ""


def reason(error: Exception, address: str = "") -> str:
    """What an error says, in one line without secrets, also those of the address that it is about."""
    # Other packages put more into the text of their own OSErrors.
    own = error.strerror if isinstance(error, OSError) and type(error).__module__ == "builtins" else None
    text = own or str(error)
    return said(without_login_of(address, text) or type(error).__name__, LONGEST_REASON)
