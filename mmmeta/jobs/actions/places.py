"""Who else is at the places of a batch of documents: strangers, other versions of the same document, equal ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from mmmeta.config.model import Config
from mmmeta.documents.hosts import Closed
from mmmeta.errors import DownloadError, MmmetaError
from mmmeta.files.file import File
from mmmeta.jobs.actions.action import claim_of
from mmmeta.jobs.actions.document import digest_in, source_of
from mmmeta.layout import Layout
from mmmeta.metadata.generate.line_keys import split_source
from mmmeta.state.ledger.outcomes import Place


class Rival(NamedTuple):
    """A file that has the place which another one wants.

    Attributes:
        job: whose document is there, or is going to be.
        claimed: it is in a worker's hands.
    """

    file: File
    job: str
    claimed: bool


class Places(Protocol):
    """Who has which place, and which hosts are not to be asked; the ledger knows."""

    def reserve(self, places: Mapping[str, Place]) -> dict[str, list[Rival]]:
        """Give claimed files their places; file → who has its place, for those that could not have theirs."""

    def others(self, places: Mapping[str, Sequence[Place]]) -> dict[str, list[Place]]:
        """Where other files are done by now that are at these places of files."""

    def put_there(self, places: Mapping[str, Place]) -> set[str]:
        """Those of these files at whose place jobs work, or have worked: what stands there a job has put there."""

    def hosts(self) -> dict[str, Closed]:
        """The hosts that are not to be asked for a time."""

    def note_hosts(self, news: Mapping[str, Closed | None]) -> None:
        """Tell all runs of these, and of those that answer again."""


class Standing(NamedTuple):
    """What is to be done about others at a file's place, where it may be put there.

    Attributes:
        over: earlier versions of the document, which have no place any more then.
        beside: files with an equal document, which keep it.
        newer: a later version that is there: nothing is to be done for this one.
        wait: another worker is just at another version: whoever comes second would not know which document is there.
    """

    over: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    newer: str | None = None
    wait: bool = False


class SharedPlaces:
    """The places of the batch at hand. A document takes the place of an earlier version, never that of a later one or of
    another file.

    Args:
        places: asked before anything is written; without it nobody's place is looked at.
    """

    def __init__(self, places: Places | None, config: Config, layout: Layout) -> None:
        self._places = places
        self._config = config
        self._layout = layout
        self._rivals: dict[str, list[Rival]] = {}
        self._behind: dict[str, list[File]] = {}
        self._others: dict[str, list[Place]] = {}
        self._batch: set[str] = set()
        self._written: set[str] = set()
        self._free = threading.Condition()
        self._busy: set[str] = set()

    def reserve(self, wanted: Mapping[str, Place], files: Sequence[File]) -> None:
        """Reserve the places of a batch at once, which costs a commit."""
        if self._places is None:
            return
        self._batch, self._written = {file.unique_value for file in files}, set()
        self._rivals = self._places.reserve(wanted) if wanted else {}
        self._behind = {}
        for file in files:
            for rival in self._rivals.get(file.unique_value, ()):
                self._behind.setdefault(rival.file.unique_value, []).append(file)

    def look_at(self, places: Mapping[str, Sequence[Place]]) -> None:
        """Before a batch is undone: see who else is at these places."""
        if self._places is not None:
            self._others = self._places.others(places)

    def others(self, file: File) -> Sequence[Place]:
        """Where other files are done that are at places of a file which is to be undone."""
        return self._others.get(file.unique_value, ())

    @contextmanager
    def turn(self, place: Place) -> Iterator[None]:
        """One thread at a time is at a place."""
        with self._free:
            self._free.wait_for(lambda: place.key not in self._busy)
            self._busy.add(place.key)
        try:
            yield
        finally:
            with self._free:
                self._busy.remove(place.key)
                self._free.notify_all()

    def written(self, file: File) -> None:
        """The document of a file of this batch is at its place."""
        self._written.add(file.unique_value)

    def standing(self, file: File, place: Place, source: str) -> Standing:
        """What others at its place mean for a file.

        Raises:
            DownloadError: the place is another file's; names it, and the remedy.
        """
        over, beside = [], []
        for rival in self._rivals.get(file.unique_value, ()):
            name = rival.file.unique_value
            here = name in self._batch and rival.job == claim_of(file).job
            if self._are_equal(rival.file, file):
                beside.append(name)
            elif not self._are_versions(rival.file, file, source):
                raise DownloadError(_taken(place, file, rival))
            elif rival.claimed and not here:
                return Standing(wait=True)
            elif rival.file.revision <= file.revision:
                over.append(name)
            elif not rival.claimed or name in self._written:
                return Standing(newer=name)
        for other in self._behind.get(file.unique_value, ()):  # they came second
            name = other.unique_value
            if self._are_equal(other, file):
                beside.append(name)
            elif self._are_versions(other, file, source):
                if other.revision <= file.revision:
                    over.append(name)
                elif name in self._written:
                    return Standing(newer=name)
        return Standing(tuple(over), tuple(beside))

    def _are_equal(self, one: File, other: File) -> bool:
        try:
            digest = digest_in(one, self._config)
            return digest is not None and digest == digest_in(other, self._config)
        except MmmetaError:
            return False

    def _are_versions(self, other: File, file: File, source: str) -> bool:
        """Whether two files are versions of one document: from one metadata file, or from one address."""
        # Not from one line of JSON Lines: which record stands there changes with the others.
        if file.source is not None and file.source == other.source and not split_source(file.source)[1]:
            return True
        try:
            return source_of(other, self._config, self._layout) == source
        except MmmetaError:
            return False


def _taken(place: Place, file: File, rival: Rival) -> str:
    path = f"{place.target}/{place.name}"
    if rival.job == claim_of(file).job:
        return (
            f"{path}: belongs to another file of this name, {rival.file.unique_value}; was left. Give the job a "
            "`name` that tells them apart, such as {content_hash}-{_file_name}"
        )
    return (
        f"{path}: belongs to another file of this name, {rival.file.unique_value}, of the job {rival.job!r}; was left. Give "
        "the jobs folders of their own, or a `name` that tells the files apart; if there is no such job any more, `mmmeta "
        f"jobs forget {rival.job}` gives up its places"
    )
