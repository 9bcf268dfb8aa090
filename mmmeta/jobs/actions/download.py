"""The action ``download``: documents into a folder."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from mmmeta.config.model import Config
from mmmeta.documents.digests import Digest
from mmmeta.documents.folder import clear_parts, find_place, folder_trouble, remove_document
from mmmeta.documents.hosts import BACKOFF, Closed, Hosts
from mmmeta.documents.rendering import render_name
from mmmeta.documents.source import TIMEOUT, Deadline, reason
from mmmeta.documents.transfer import difference, download_into
from mmmeta.documents.web import WebSources
from mmmeta.errors import DownloadError, JobError, MissingPackageError, MmmetaError, PostponedError
from mmmeta.files.file import File
from mmmeta.jobs.actions.action import Action, Done, claim_of, file_failed
from mmmeta.jobs.actions.document import digest_in, source_of
from mmmeta.layout import Layout
from mmmeta.masking import shown
from mmmeta.project.actions import DownloadAction
from mmmeta.state.ledger.outcomes import Outcome, Place, Postponed
from mmmeta.state.ledger.rules import POSTPONED

PROMISED_SIZE_KEYS = ("size", "file_size", "_file_size")
"""Where metadata promises the bytes of a document. Not a crawler's header, which tells what went over the line."""


class Places(Protocol):
    """Who has which place, and which hosts are not to be asked; the ledger knows."""

    def reserve(self, places: Mapping[str, Place]) -> dict[str, File]:
        """Give claimed files their places; file → whose place it is, for those that could not have theirs."""

    def put_there(self, places: Mapping[str, Place]) -> set[str]:
        """Those of these files at whose place jobs work, or have worked: what stands there a job has put there."""

    def hosts(self) -> dict[str, Closed]:
        """The hosts that are not to be asked for a time."""

    def note_hosts(self, news: Mapping[str, Closed | None]) -> None:
        """Tell all runs of these, and of those that answer again."""


class Download(Action):
    """Fetches documents into a folder; checked against the content digest where that is a known one, else against the
    size that the metadata tells. A document takes the place of its earlier version, never that of another file, nor of what
    no job has put there: what stands there already is taken for it if it is just that, and is left otherwise.

    Args:
        timeout: seconds for one document.
        places: asked before anything is written; without it nobody's place is looked at.
        backoff: seconds that a host gets which is silent, or asks to wait and does not say for how long.
    """

    batched = False
    keeps_time = True

    def __init__(
        self,
        action: DownloadAction,
        config: Config,
        layout: Layout,
        timeout: float | None = None,
        places: Places | None = None,
        backoff: float = BACKOFF,
    ) -> None:
        self._root = Path(action.to)
        self._name = action.name
        self._config = config
        self._layout = layout
        self._timeout = timeout or TIMEOUT
        self._content_type = action.content_type
        self._largest = action.max
        self._hosts = Hosts(backoff)
        self._web = WebSources(action.protocols, headers=action.sent_headers, hosts=self._hosts)
        self._stopped = threading.Event()
        self._places = places
        self._rivals: dict[str, File] = {}
        self._strange: set[str] = set()
        self._cleared = False
        self._free = threading.Condition()
        self._busy: set[str] = set()
        self._target: str | None = None

    def prepare(self, files: Sequence[File]) -> None:
        """Reserve the places of a batch at once, which costs a commit."""
        self._target = None
        if not self._cleared:
            self._cleared = True
            clear_parts(self._root)
        if self._places is None:
            return
        self._hosts.learn(self._places.hosts())
        wanted = {}
        for file in files:
            claim = claim_of(file)
            try:
                wanted[file.unique_value] = claim.place if claim.retract and claim.place else self.place(file)
            except MmmetaError:
                continue  # its own failure, when its turn comes
        standing = {file: place for file, place in wanted.items() if _stands(place)}
        self._strange = set(standing) - self._places.put_there(standing) if standing else set()
        self._rivals = self._places.reserve(wanted) if wanted else {}

    def place(self, file: File) -> Place:
        if self._target is None:  # followed once for a batch: that costs as much as a rename
            self._target = str(self._root.resolve(strict=False))
        return Place(self._target, render_name(self._name, file.get))

    def process(self, files: Sequence[File]) -> list[Outcome]:
        outcomes = [self._download(file) for file in files]
        if self._places is not None and (news := self._hosts.news()):
            self._places.note_hosts(news)
        return [outcome for outcome in outcomes if outcome is not None]

    def _download(self, file: File) -> Outcome | None:
        """How a file ended; None where the run was stopped meanwhile."""
        claim = claim_of(file)
        place = None
        try:
            source = source_of(file, self._config, self._layout)
            place = self.place(file)
            digest, size = self._promised(file)
            with self._own_place(file, place, source):
                result = download_into(
                    self._root,
                    place.name,
                    source,
                    allowed_roots=[self._layout.files_root],
                    expected_digest=digest,
                    expected_size=size,
                    expected_type=self._content_type,
                    largest=self._largest,
                    replace=file.unique_value not in self._strange,
                    web=self._web,
                    deadline=Deadline(shown(source), self._timeout, self._stopped),
                )
        except MissingPackageError as error:
            # No file is to blame: the run ends, and nobody's attempts are used up.
            raise JobError(f"documents cannot be downloaded: {error}") from error
        except PostponedError as error:
            return Outcome(claim, POSTPONED, str(error), postponed=Postponed(error.until, error.asked))
        except (MmmetaError, OSError) as error:
            if self._stopped.is_set():
                return None
            outcome = file_failed(claim, error)
            self._require_folder(error)
            return replace(outcome, vacant=place)
        rival = self._rivals.get(file.unique_value)
        return Outcome(claim, bytes=result.bytes, place=place, over=None if rival is None else rival.unique_value)

    def _require_folder(self, error: Exception) -> None:
        """After a failure: without a folder that can be written no file can succeed, so the run ends and uses up
        nobody's attempts."""
        trouble = folder_trouble(self._root, error)
        if trouble is not None:
            raise JobError(f"{self._root}: nothing can be downloaded into this folder: {trouble}. Mend it, or mend to:")

    @contextmanager
    def _own_place(self, file: File, place: Place, source: str) -> Iterator[None]:
        """Refuse the place of another file's document; one thread at a time is at a place.

        Raises:
            DownloadError: names the other file and the remedy.
        """
        key = place.key
        with self._free:
            self._free.wait_for(lambda: key not in self._busy)
            self._busy.add(key)
        try:
            rival = self._rivals.get(file.unique_value)
            if rival is not None and not self._same_document(rival, file, source):
                raise DownloadError(
                    f"{self._root / place.name}: belongs to another file of this name, {rival.unique_value}; was left. Give the job a "
                    "`name` that tells them apart, such as {content_hash}-{_file_name}"
                )
            yield
        finally:
            with self._free:
                self._busy.remove(key)
                self._free.notify_all()

    def _same_document(self, other: File, file: File, source: str) -> bool:
        """Whether two files are versions of one document: from one metadata file, or from one address; or equal."""
        if file.source is not None and file.source == other.source:
            return True
        try:
            digest = digest_in(file, self._config)
            if digest is not None and digest == digest_in(other, self._config):
                return True
            return source_of(other, self._config, self._layout) == source
        except MmmetaError:
            return False

    def retract(self, files: Sequence[File]) -> list[Outcome]:
        return [self._remove(file) for file in files]

    def _remove(self, file: File) -> Outcome:
        """Remove the document from where it was put, if what is there is the file's own."""
        claim = claim_of(file)
        if file.unique_value in self._rivals:
            return Outcome(claim)  # another file has the place by now, and its document is there
        try:
            if not any(self._take_away(file, place) for place in self._places_of(file)):
                self._require_gone(claim.place or self.place(file))
        except (MmmetaError, OSError) as error:
            return file_failed(claim, error)
        return Outcome(claim, vacant=claim.place)

    def _places_of(self, file: File) -> Iterator[Place]:
        """Where a file's document may be: where it was put, else where the job puts it now, as far as a digest can tell that
        it is this file's, for the folder may have been moved."""
        known = claim_of(file).place
        if known is not None:
            yield known
        if known is None or self._promised(file)[0] is not None:
            yield self.place(file)

    def _take_away(self, file: File, place: Place) -> bool:
        """Remove a file's document from a place; False where nothing is there.

        Raises:
            DownloadError: what is there is not, or may not be, this file's.
        """
        root = Path(place.target)
        if not root.is_absolute():
            raise DownloadError(f"what was done with it is in {place.target}, which is no folder; undo it by hand")
        path = find_place(root, place.name)
        try:
            mode = path.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise DownloadError(
                f"{path}: cannot be looked at, so the document may still be there: {reason(error)}. Nothing was removed"
            ) from error
        if not stat.S_ISREG(mode):
            # A link may lead to the document, wherever a person has moved it.
            raise DownloadError(
                f"{path}: is {_kind_of(mode)} where a document was; nothing was removed. Undo it by hand"
            )
        other = difference(path, *self._promised(file))
        if other is not None:
            # A version that the metadata tells no more of, somebody's own, or one that cannot be read: only a person can tell.
            raise DownloadError(f"{other}, so it may not be this file's; was left. Remove it by hand")
        remove_document(root, path)
        return True

    def _require_gone(self, place: Place) -> None:
        """A document that is not where it was put is as good as removed, unless its folder is away."""
        root = Path(place.target)
        if not root.is_dir():
            raise DownloadError(
                f"{place.target}: the folder is not there, so the document may be somewhere else with it; bring it back, or "
                "make an empty one if it is really gone"
            )
        remove_document(root, find_place(root, place.name))  # the folders that are empty now

    def missing(self, done: Sequence[Done]) -> dict[str, str] | None:
        result = {}
        for file, known in done:
            try:
                place = known or self.place(file)
                path = find_place(Path(place.target), place.name)
                trouble = difference(path, *self._promised(file))
            except MmmetaError as error:
                result[file.unique_value] = str(error)
            else:
                if trouble is not None:
                    result[file.unique_value] = trouble
        return result

    def _promised(self, file: File) -> tuple[Digest | None, int | None]:
        """Digest and size that the metadata promises. A digest proves enough; sizes are at times those of a listing."""
        digest = digest_in(file, self._config)
        if digest is not None:
            return digest, None
        sizes = (file.meta.get(key) for key in PROMISED_SIZE_KEYS)
        known = (size for size in sizes if isinstance(size, int) and not isinstance(size, bool) and size >= 0)
        return None, next(known, None)

    def interrupt(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        if self._cleared:
            clear_parts(self._root)
        self._web.close()


def _kind_of(mode: int) -> str:
    return "a folder" if stat.S_ISDIR(mode) else "a link" if stat.S_ISLNK(mode) else "no regular file"


def _stands(place: Place) -> bool:
    """Whether something is at a place, be it a link to nowhere."""
    try:
        return os.path.lexists(find_place(Path(place.target), place.name))
    except MmmetaError:
        return False  # its own failure, when its turn comes
