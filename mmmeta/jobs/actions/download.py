"""The action ``download``: documents into a folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mmmeta.config.model import Config
from mmmeta.documents.digests import Digest
from mmmeta.documents.folder import clear_parts, find_place, folder_trouble
from mmmeta.documents.hosts import BACKOFF, Hosts
from mmmeta.documents.rendering import render_name
from mmmeta.documents.source import TIMEOUT, Deadline
from mmmeta.documents.transfer import difference, download_into
from mmmeta.documents.web import WebSources
from mmmeta.errors import JobError, MissingPackageError, MmmetaError, PostponedError
from mmmeta.files.file import File
from mmmeta.jobs.actions.action import Action, Done, claim_of, file_failed
from mmmeta.jobs.actions.document import digest_in, source_of
from mmmeta.jobs.actions.places import Places, SharedPlaces
from mmmeta.jobs.actions.removal import Removal, mark_of
from mmmeta.layout import Layout
from mmmeta.masking import shown
from mmmeta.project.actions import DownloadAction
from mmmeta.state.ledger.outcomes import Outcome, Place, Postponed
from mmmeta.state.ledger.rules import POSTPONED

PROMISED_SIZE_KEYS = ("size", "file_size", "_file_size")
"""Where metadata promises the bytes of a document. Not a crawler's header, which tells what went over the line."""


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
        self._ledger = places
        self._places = SharedPlaces(places, config, layout)
        self._removal = Removal(self.place, self._promised)
        self._strange: set[str] = set()
        self._wanted: dict[str, Place] = {}
        self._cleared = False
        self._target: str | None = None

    def prepare(self, files: Sequence[File]) -> None:
        """Reserve the places of a batch; of what is to be undone, see who else is there."""
        self._target = None
        if not self._cleared:
            self._cleared = True
            clear_parts(self._root)
        if self._ledger is not None:
            self._hosts.learn(self._ledger.hosts())
        undo: dict[str, tuple[Place, ...]] = {}
        self._wanted = wanted = {}
        for file in files:
            claim = claim_of(file)
            if claim.retract:
                undo[file.unique_value] = claim.places
            with suppress(MmmetaError):  # its own failure, when its turn comes
                place = self.place(file)
                if claim.retract:
                    undo[file.unique_value] += (place,)  # its folder may have been moved
                else:
                    wanted[file.unique_value] = place
        if undo:
            self._places.look_at(undo)
        if wanted:
            self._strange = self._standing_alone(wanted)
            self._places.reserve(wanted, files)

    def _standing_alone(self, wanted: Mapping[str, Place]) -> set[str]:
        """The files at whose place something stands that no job has put there."""
        standing = {file: place for file, place in wanted.items() if _stands(place)}
        return set(standing) - self._ledger.put_there(standing) if standing and self._ledger is not None else set()

    def place(self, file: File) -> Place:
        name = render_name(self._name, file.get)
        if self._target is None:  # followed once for a batch: that costs as much as a rename
            self._target = str(self._root.resolve(strict=False))
        digest: Digest | None = None
        with suppress(MmmetaError):  # a digest that is none: the document fails by it
            digest = digest_in(file, self._config)
        return Place(self._target, name, mark_of(digest, None), self._name)

    def process(self, files: Sequence[File]) -> list[Outcome]:
        outcomes = [self._download(file) for file in files]
        if self._ledger is not None and (news := self._hosts.news()):
            self._ledger.note_hosts(news)
        return [outcome for outcome in outcomes if outcome is not None]

    def _download(self, file: File) -> Outcome | None:
        """How a file ended; None where the run was stopped meanwhile, or another worker is at its place: it stays for the
        next run then."""
        claim = claim_of(file)
        place = None
        try:
            source = source_of(file, self._config, self._layout)
            place = self._wanted.get(file.unique_value) or self.place(file)
            digest, size = self._promised(file)
            with self._places.turn(place):
                standing = self._places.standing(file, place, source)
                if standing.wait:
                    return None
                if standing.newer is not None:
                    return Outcome(claim, replaced_by=standing.newer)
                result = download_into(
                    Path(place.target),
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
                self._places.written(file)
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
        mark = mark_of(digest, result.bytes)
        return Outcome(
            claim, bytes=result.bytes, place=place._replace(mark=mark), over=standing.over, beside=standing.beside
        )

    def _require_folder(self, error: Exception) -> None:
        """After a failure: without a folder that can be written no file can succeed, so the run ends and uses up
        nobody's attempts."""
        trouble = folder_trouble(self._root, error)
        if trouble is not None:
            raise JobError(f"{self._root}: nothing can be downloaded into this folder: {trouble}. Mend it, or mend to:")

    def retract(self, files: Sequence[File]) -> list[Outcome]:
        return [self._remove(file) for file in files]

    def _remove(self, file: File) -> Outcome:
        """Remove the documents of a file from wherever they were put."""
        try:
            self._removal.remove(file, self._places.others(file))
        except (MmmetaError, OSError) as error:
            return file_failed(claim_of(file), error)
        return Outcome(claim_of(file))

    def missing(self, done: Sequence[Done]) -> dict[str, str] | None:
        result = {}
        for file, known in done:
            if known is not None and not Path(known.target).is_absolute():
                continue  # in a database, from before the job had this action
            try:
                trouble = self._difference(file, known or self.place(file))
                if trouble is not None and known is not None:
                    now = self.place(file)
                    # Its folder may have been moved to where the job points by now.
                    if now.target != known.target and self._difference(file, now) is None:
                        trouble = None
            except MmmetaError as error:
                trouble = str(error)
            if trouble is not None:
                result[file.unique_value] = trouble
        return result

    def _difference(self, file: File, place: Place) -> str | None:
        """Why the document at a place is not the file's, in its present version."""
        return difference(find_place(Path(place.target), place.name), *self._promised(file))

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


def _stands(place: Place) -> bool:
    """Whether something is at a place, be it a link to nowhere."""
    return os.path.lexists(f"{place.target}/{place.name}")  # a link that leads outside fails when its turn comes
