"""The action ``download``: documents into a folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmmeta.config.model import Config
from mmmeta.documents.folder import find_place, folder_trouble, remove_document
from mmmeta.documents.rendering import render_name
from mmmeta.documents.source import TIMEOUT, Deadline, document_source
from mmmeta.documents.templates import Placeholder, parse_template
from mmmeta.documents.transfer import difference, digest_kind, download_into
from mmmeta.documents.web import WebSources
from mmmeta.errors import DownloadError, JobError, MmmetaError
from mmmeta.files.file import File
from mmmeta.filters import All, Compare, Condition
from mmmeta.jobs.actions.action import Item, failed
from mmmeta.layout import Layout
from mmmeta.masking import shown
from mmmeta.project.actions import DownloadAction
from mmmeta.state.ledger.sqlite import Outcome

SIZE_KEYS = ("size", "file_size", "_file_size")
"""Where metadata promises the bytes of a document. Not a crawler's header, which tells what went over the line."""


FindFiles = Callable[[Condition], Iterable[File]]
"""Gives the files, not deleted ones, that a condition means."""


class Download:
    """Fetches documents into a folder; checked against the content digest where that is a known one, else against the
    size that the metadata tells. A document takes the place of its earlier version, never that of another file.

    Args:
        timeout: seconds for one document.
        find: looks for the files that have the same name; without it nobody's place is looked at.
    """

    batched = False
    keeps_time = True

    def __init__(
        self,
        action: DownloadAction,
        config: Config,
        layout: Layout,
        timeout: float | None = None,
        find: FindFiles | None = None,
    ) -> None:
        self._root = Path(action.to)
        self._name = action.name
        self._config = config
        self._layout = layout
        self._timeout = timeout or TIMEOUT
        self._web = WebSources(action.protocols)
        self._stopped = threading.Event()
        self._find = find
        self._free = threading.Condition()
        self._busy: set[Path] = set()

    def process(self, items: Sequence[Item]) -> list[Outcome]:
        outcomes = [self._download(item) for item in items]
        return [outcome for outcome in outcomes if outcome is not None]

    def _download(self, item: Item) -> Outcome | None:
        """How a file ended; None where the run was stopped meanwhile."""
        file = item.file
        try:
            source = source_of(file, self._config, self._layout)
            name = render_name(self._name, file.get)
            digest, size = self._promised(file)
            with self._own_place(file, name, source):
                result = download_into(
                    self._root,
                    name,
                    source,
                    allowed_roots=[self._layout.files_root],
                    expected_digest=digest,
                    expected_size=size,
                    web=self._web,
                    deadline=Deadline(shown(source), self._timeout, self._stopped),
                )
        except (MmmetaError, OSError) as error:
            if self._stopped.is_set():
                return None
            self._require_folder(error)
            return failed(item.claim, error)
        return Outcome(item.claim, bytes=result.bytes)

    def _require_folder(self, error: Exception) -> None:
        """After a failure: without a folder that can be written no file can succeed, so the run ends and uses up
        nobody's attempts."""
        trouble = folder_trouble(self._root, error)
        if trouble is not None:
            raise JobError(f"{self._root}: nothing can be downloaded into this folder: {trouble}. Mend it, or mend to:")

    @contextmanager
    def _own_place(self, file: File, name: str, source: str) -> Iterator[None]:
        """Refuse a place where another file's document stands; one thread at a time is at a place.

        Raises:
            DownloadError: names the other file and the remedy.
        """
        path = find_place(self._root, name)
        with self._free:
            self._free.wait_for(lambda: path not in self._busy)
            self._busy.add(path)
        try:
            other = self._owner(path, file, source)
            if other is not None:
                raise DownloadError(
                    f"{path}: belongs to another file of this name, {other.unique_value}; was left. Give the job a `name` "
                    "that tells them apart, such as {content_hash}-{_file_name}"
                )
            yield
        finally:
            with self._free:
                self._busy.remove(path)
                self._free.notify_all()

    def _owner(self, path: Path, file: File, source: str) -> File | None:
        """The other file whose document stands there; None for nobody's, or one that this file's may replace."""
        keys = {part.key for part in parse_template(self._name).parts if isinstance(part, Placeholder)}
        if self._find is None or self._config.metadata.unique in keys or not path.is_file():
            return None
        if digest_kind(self._promised(file)[0]) and difference(path, *self._promised(file)) is None:
            return None
        # Two names are the same where all that they are made of is the same.
        for other in self._find(All(tuple(Compare(key, "=", file.get(key)) for key in sorted(keys)))):
            if other.unique_value == file.unique_value or self._same_document(other, file, source):
                continue
            if difference(path, *self._promised(other)) is None:
                return other
        return None

    def _same_document(self, other: File, file: File, source: str) -> bool:
        """Whether two files are versions of one document: from one metadata file, or from one address; or equal."""
        digest = self._promised(file)[0]
        if (file.source is not None and file.source == other.source) or (digest and digest == self._promised(other)[0]):
            return True
        try:
            return source_of(other, self._config, self._layout) == source
        except MmmetaError:
            return False

    def retract(self, items: Sequence[Item]) -> list[Outcome]:
        return [self._remove(item) for item in items]

    def _remove(self, item: Item) -> Outcome:
        """Remove the document, if what is there is the file's own."""
        try:
            path = find_place(self._root, render_name(self._name, item.file.get))
            if path.is_dir() and not path.is_symlink():
                raise DownloadError(f"{path}: is a folder where a document was; nothing was removed")
            other = difference(path, *self._promised(item.file)) if path.exists() else None
            if other is None:
                remove_document(self._root, path)
            elif self._config.metadata.content != self._config.metadata.unique:
                # A version that the metadata tells no more of, or another file's: only a person can tell.
                raise DownloadError(f"{other}, so it may not be this file's; was left. Remove it by hand")
            # Else another file came under this name, such as the next version, and took the document's place.
        except (MmmetaError, OSError) as error:
            return failed(item.claim, error)
        return Outcome(item.claim)

    def missing(self, files: Sequence[File]) -> dict[str, str] | None:
        result = {}
        for file in files:
            try:
                path = find_place(self._root, render_name(self._name, file.get))
                reason = difference(path, *self._promised(file))
            except MmmetaError as error:
                result[file.unique_value] = str(error)
            else:
                if reason is not None:
                    result[file.unique_value] = reason
        return result

    def _promised(self, file: File) -> tuple[object, int | None]:
        """Digest and size that the metadata promises. A digest proves enough; sizes are at times those of a listing."""
        digest = file.get(self._config.metadata.content)
        if digest_kind(digest):
            return digest, None
        sizes = (file.meta.get(key) for key in SIZE_KEYS)
        known = (size for size in sizes if isinstance(size, int) and not isinstance(size, bool) and size >= 0)
        return None, next(known, None)

    def interrupt(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        self._web.close()


def source_of(file: File, config: Config, layout: Layout) -> str:
    """Where a file's document is: an absolute path or a URL, not yet checked.

    Raises:
        DownloadError, RemoteTemplateError: nothing says where.
    """
    file_name = file.get(config.metadata.file_name)
    return document_source(
        file.get,
        remote_url=file.remote.url if "url" in config.remote else None,
        file_name=file_name if isinstance(file_name, str) else None,
        source=file.source,
        files_root=layout.files_root,
    )
