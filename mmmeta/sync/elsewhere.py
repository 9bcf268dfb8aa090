"""A metadir at a web server, which is only read, or in whatever fsspec reads and writes: object stores, servers by SFTP.

An object store makes an object visible when it is whole. Everywhere else a file is written under a name that begins with a dot,
which no client reads, and renamed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, cast

from mmmeta.documents.hosts import Hosts
from mmmeta.documents.source import Deadline, is_local, protocol_of
from mmmeta.documents.web import HTTP, ObjectSource, WebSources, below
from mmmeta.errors import DownloadError, SyncError
from mmmeta.layout import METADIR
from mmmeta.masking import shown
from mmmeta.sync.patience import pause
from mmmeta.sync.places import Piece, Place, Small, read_all

_PACKED = ".gz"
"""What a web server sends encoded as well is taken as it is where the file itself is packed."""


class WebPlace:
    """A metadir below a URL of a web server. It is read, and files are not listed.

    Attributes:
        base: the URL.
    """

    at_once = 4
    """As many connections as a browser would open, about."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.shown: str = shown(base)
        protocol = protocol_of(base)
        # From a plain address a redirect may lead to a safe one, and not the other way.
        self._web = WebSources(HTTP if protocol == "http" else (protocol,), by_url=True, hosts=Hosts(pause(1)))

    def _url(self, name: str) -> str:
        return below(self.base, f"{METADIR}/{name}")

    @contextmanager
    def open(self, name: str, deadline: Deadline, start: int = 0) -> Iterator[Piece]:
        with self._web.open(self._url(name), deadline, start=start, decoded=not name.endswith(_PACKED)) as source:
            yield source

    def small(self, name: str, most: int, deadline: Deadline) -> Small:
        with self.open(name, deadline) as piece:
            content = read_all(piece, shown(self._url(name)), most)
            return Small(content, piece.etag if isinstance(piece, ObjectSource) else None)

    def names(self, folder: str, deadline: Deadline) -> dict[str, int | None] | None:
        return None

    def put(self, name: str, source: Path, deadline: Deadline) -> None:
        raise self._read_only()

    def swap(self, name: str, content: bytes, before: Small | None, deadline: Deadline) -> bool:
        raise self._read_only()

    def remove(self, name: str, deadline: Deadline) -> None:
        raise self._read_only()

    def alone(self) -> AbstractContextManager[None]:
        raise self._read_only()

    def close(self) -> None:
        self._web.close()

    def _read_only(self) -> DownloadError:
        return DownloadError(
            f"{self.shown}: a web server is only read. Push to the place that it serves: a folder, s3://, gs://, sftp://",
            is_refused=True,
        )


class StorePlace(WebPlace):
    """A metadir in a file system of fsspec's."""

    @property
    def _is_object_store(self) -> bool:
        """Whether a file is written as a whole or not at all, and renaming would copy it."""
        return bool(self._web.system(self.base).system.async_impl)

    def _ask(self, method: str, name: str, deadline: Deadline, *arguments: Any, **options: Any) -> Any:
        url = self._url(name)
        return self._web.system(url).ask(method, url, deadline, *arguments, **options)

    def names(self, folder: str, deadline: Deadline) -> dict[str, int | None]:
        system = self._web.system(self._url(folder)).system
        system.invalidate_cache()
        try:
            entries = self._ask("ls", folder, deadline, detail=True)
        except DownloadError as error:
            if not error.is_missing:
                raise
            return {}
        finally:
            system.invalidate_cache()  # what was listed once would be taken for what is there later
        found: dict[str, int | None] = {}
        for entry in entries:
            name, size = str(entry.get("name", "")).rstrip("/").rpartition("/")[2], entry.get("size")
            if entry.get("type") == "file" and name:
                found[name] = size if isinstance(size, int) else None
        return found

    def put(self, name: str, source: Path, deadline: Deadline) -> None:
        if self._is_object_store:
            self._put(name, source, deadline)
            return
        self._make_folder(name, deadline)
        aside = _aside(name)
        self._put(aside, source, deadline)
        self._rename(aside, name, deadline)

    def swap(self, name: str, content: bytes, before: Small | None, deadline: Deadline) -> bool:
        if not self._is_object_store:
            self._make_folder(name, deadline)
            self._ask("pipe_file", _aside(name), deadline, content)
            if not self._is_still(name, before, deadline):
                with suppress(DownloadError):
                    self.remove(_aside(name), deadline)
                return False
            self._rename(_aside(name), name, deadline)
            return True
        if not self._is_still(name, before, deadline):
            return False
        condition = self._condition(before)
        if condition:
            try:
                self._ask("pipe_file", name, deadline, content, **condition)
                return True
            except DownloadError:
                # Somebody was faster, or the store knows no conditions.
                if not self._is_still(name, before, deadline):
                    return False
        self._ask("pipe_file", name, deadline, content)
        return True

    def remove(self, name: str, deadline: Deadline) -> None:
        try:
            self._ask("rm_file", name, deadline)
        except DownloadError as error:
            if not error.is_missing:
                raise

    def alone(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _condition(self, before: Small | None) -> dict[str, str]:
        """What S3 is asked to look at before it writes; other stores are only read again."""
        if protocol_of(self.base) not in ("s3", "s3a"):
            return {}
        if before is None:
            return {"IfNoneMatch": "*"}
        return {} if before.version is None else {"IfMatch": before.version}

    def _is_still(self, name: str, before: Small | None, deadline: Deadline) -> bool:
        try:
            now = self.small(name, max(1, len(before.content) if before is not None else 1), deadline)
        except DownloadError as error:
            if error.is_missing:
                return before is None
            if error.is_refused:  # it has more bytes, or may not be read any more
                return False
            raise
        return before is not None and now.content == before.content

    def _put(self, name: str, source: Path, deadline: Deadline) -> None:
        url = self._url(name)
        asked = self._web.system(url)
        # The path here comes first, and the one there second.
        asked.call("put_file", url, deadline, str(source), asked.path_of(url))

    def _rename(self, name: str, to: str, deadline: Deadline) -> None:
        asked = self._web.system(self._url(to))
        self._ask("mv", name, deadline, asked.path_of(self._url(to)))

    def _make_folder(self, name: str, deadline: Deadline) -> None:
        folder = name.rpartition("/")[0]
        self._ask("makedirs", folder, deadline, exist_ok=True)


def place_at(base: str, own: Path) -> Place:
    """The place that a base path or a URL means; nothing is asked yet.

    Args:
        own: base path of the metadir here.

    Raises:
        SyncError: it is the very same.
    """
    from urllib.parse import unquote, urlsplit

    from mmmeta.sync.folder import FolderPlace

    if is_local(base) or "://" not in base:
        path = unquote(urlsplit(base).path) if base[:5].lower() == "file:" else base
        folder = Path(path).expanduser().absolute()
        if os.path.realpath(folder) == os.path.realpath(own):
            raise SyncError(f"{base}: is the folder here, with which it cannot be synced. Name another one")
        return cast(Place, FolderPlace(folder))
    return cast(Place, WebPlace(base) if protocol_of(base) in HTTP else StorePlace(base))


def _aside(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}.{last}.tmp"
