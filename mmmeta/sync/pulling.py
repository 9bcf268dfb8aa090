"""``pull``: from a place to a client's copy. ``head.json`` first, then what is missing, then ``head.json`` and the store in place.

So whoever looks at the copy sees the revision that was there before, or the new one whole; whatever a pull that was cut off has
fetched is used by the next one.
"""

from __future__ import annotations

import os
import threading
import time

from mmmeta.documents.source import Deadline
from mmmeta.errors import ChangeLogError, DownloadError, FormatError, LegacyMetadirError, MissingPackageError, SyncError
from mmmeta.layout import Layout
from mmmeta.metadata.changelog.head import LARGEST as LARGEST_HEAD
from mmmeta.metadata.changelog.head import SYNC_AGAIN, parse_head, why_not_there
from mmmeta.project.syncing import SyncConfig
from mmmeta.reports import Progress
from mmmeta.sync.command import command_line, run_command
from mmmeta.sync.copy import Content, Copy, is_after, read_content
from mmmeta.sync.elsewhere import place_at
from mmmeta.sync.fetch import MEND_THERE, Fetcher, NotAsNamed, Wanted
from mmmeta.sync.history import names_of, why_not_after, why_not_of_history
from mmmeta.sync.patience import ATTEMPTS, MINUTES, patiently, pause, small_at
from mmmeta.sync.places import Place
from mmmeta.sync.report import SyncReport
from mmmeta.sync.small import CONFIG, HEAD, MOST_BYTES, SET_ASIDE, STORE, small_names, wake_last
from mmmeta.writing import write_atomic


def pull(
    path: str | os.PathLike[str] | Layout,
    remote: str | SyncConfig,
    *,
    accept_older: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    stopped: threading.Event | None = None,
) -> SyncReport:
    """Bring a client's copy of a metadir to what a remote has published.

    Segments are fetched several at a time, as a stream, and proved by length and SHA-256 before they get their names; then
    ``config.yml``, ``head.json`` and the store get theirs, in this order. Segments that ``head.json`` does not name any more are
    removed then. ``meta.db`` is fetched only where the remote has no change log. ``local/`` is neither read nor written. What is
    here already does not move; what fails for a moment is tried again; what was cut off goes on where it was.

    Args:
        path: base path of the copy, or its layout; the folder is made where it is missing.
        remote: base path of the remote, as path or as URL that fsspec reads; or what the project file says of syncing.
        accept_older: take an older revision than the copy has.
        dry_run: look and count; write nothing, and run no program.
        progress: called with bytes that have come, and how many there are.
        stopped: set from another thread to end it.

    Raises:
        SyncError: the remote cannot be read, is not whole, is another archive's, older, or of another history. The copy is as it
            was.
        ReadOnlyMetadirError: metadata is written here, so this is no copy.
        LegacyMetadirError: a metadir of mmmeta 0.1-0.4 lies here.
    """
    layout = path if isinstance(path, Layout) else Layout.at(path)
    config = SyncConfig(pull=remote) if isinstance(remote, str) else remote
    stopped = stopped or threading.Event()
    started = time.monotonic()
    copy = Copy(layout)
    with copy.alone(dry_run=dry_run):
        if config.command is not None:
            return _by_command(config, copy, started, stopped, accept_older=accept_older, dry_run=dry_run)
        if config.pull is None:
            raise SyncError("nothing says from where to pull: name it, or write sync: {pull: …} into the project file")
        place = place_at(config.pull, layout.base)
        try:
            return _Pull(copy, place, progress, stopped, accept_older=accept_older, dry_run=dry_run).run(started)
        except MissingPackageError as error:
            raise SyncError(str(error)) from error
        except DownloadError as error:
            raise SyncError(f"{str(error).rstrip('.')}. Nothing was changed here{_next_step(error)}") from error
        finally:
            place.close()


def _next_step(error: DownloadError) -> str:
    """How the sentence goes on that says that nothing was changed."""
    if isinstance(error, NotAsNamed) or error.is_missing:
        return f". {MEND_THERE}"
    return "" if error.is_refused else ", and what has come is kept: pull again, and it goes on"


def _by_command(
    config: SyncConfig, copy: Copy, started: float, stopped: threading.Event, *, accept_older: bool, dry_run: bool
) -> SyncReport:
    """Let a program pull, and look at what it has left."""
    assert config.command is not None
    before = copy.content()
    if dry_run:
        revision = None if before is None else before.head.revision
        line = command_line(config.command, copy.layout)
        notes = ("what a program would bring is not known before it has run",)
        return SyncReport(line, revision, revision, False, 0, 0, 0, notes, time.monotonic() - started, dry_run=True)
    ran = run_command(config.command, config.folder, copy.layout, stopped)
    after, log = copy.content(), copy.log()
    if after is None:
        raise SyncError(
            f"{ran.shown}: has brought no metadir into {copy.layout.base}: neither head.json nor meta.db can be read in "
            f"{copy.layout.metadir}"
        )
    reason = why_not_after(after, before) if before is not None and names_of(after) != names_of(before) else None
    if reason is not None and not accept_older:
        raise SyncError(f"{ran.shown}: what it brought is not what was expected: {reason}")
    missing = None
    if log is not None and log.head == after.head:
        missing = why_not_there(copy.layout, log, 0)
        reason = None if missing is not None else why_not_of_history(copy.layout, log, {}, None)
        if reason is not None:
            raise SyncError(f"{ran.shown}: what it brought is not whole: {reason}")
    return SyncReport(
        place=ran.shown,
        revision_before=None if before is None else before.head.revision,
        revision=after.head.revision,
        is_new=before is None or names_of(before) != names_of(after),
        files=0,
        bytes=0,
        removed=0,
        notes=() if missing is None else (missing,),
        duration=time.monotonic() - started,
    )


class _Pull:
    """One pull."""

    def __init__(
        self,
        copy: Copy,
        place: Place,
        progress: Progress | None,
        stopped: threading.Event,
        *,
        accept_older: bool,
        dry_run: bool,
    ) -> None:
        self._copy = copy
        self._layout = copy.layout
        self._place = place
        self._accept_older = accept_older
        self._dry_run = dry_run
        self._stopped = stopped
        self._progress = progress
        self._counted = threading.Lock()
        self._total = 0
        self._files = self._bytes = 0
        self._notes: list[str] = []

    def run(self, started: float) -> SyncReport:
        before = self._copy.content()
        after, removed = self._content(before)
        if not self._dry_run:
            self._copy.leave()
        return SyncReport(
            place=self._place.shown,
            revision_before=None if before is None else before.head.revision,
            revision=None if after is None else after.head.revision,
            is_new=after is not None and (before is None or names_of(before) != names_of(after)),
            files=self._files,
            bytes=self._bytes,
            removed=removed,
            notes=tuple(self._notes),
            duration=time.monotonic() - started,
            dry_run=self._dry_run,
        )

    def _content(self, before: Content | None) -> tuple[Content | None, int]:
        """Bring the copy up to date; a remote that is published anew meanwhile is read again."""
        tried = 0
        last: bytes | None = None
        while True:
            head = self._small(HEAD, LARGEST_HEAD)
            if head is None:
                return self._by_meta_db(before), 0
            try:
                return self._by_log(head, before)
            except DownloadError as error:
                if not (isinstance(error, NotAsNamed) or error.is_missing):
                    raise
                # What is published anew is begun anew; what is not there yet may come, for a remote is synced, too.
                tried = tried + 1 if head == last else 1
                last = head
                if tried >= ATTEMPTS or self._stopped.wait(pause(tried)):
                    raise

    # By the change log

    def _by_log(self, head: bytes, before: Content | None) -> tuple[Content, int]:
        try:
            log = parse_head(head, f"{self._place.shown}: {HEAD}")
        except ChangeLogError as error:  # it may be written just now, by a sync of the remote's own
            raise NotAsNamed(str(error).removesuffix(f"; {SYNC_AGAIN}")) from error
        content = Content(log.head, log.replaces)
        went_back = self._require(content, before)
        if log.segments and log.segments[0].first != 1:
            raise SyncError(
                f"{self._place.shown}: its change log begins with revision {log.segments[0].first}, and holds not everything: "
                "run `mmmeta generate` at the server, which writes it anew"
            )
        copy, lacks = self._copy, self._copy.lacks(log)
        if self._dry_run:
            self._files, self._bytes = len(lacks), sum(segment.bytes for segment in lacks)
            return content, 0
        self._total = sum(segment.bytes for segment in lacks)
        aside = copy.aside(self._total)
        wanted = [
            Wanted(f"changes/{segment.name}", aside / f"{segment.sha256}.gz", segment.bytes, segment.sha256)
            for segment in lacks
        ]
        self._fetcher().all(wanted)
        came = {segment.name: one.path for segment, one in zip(lacks, wanted, strict=True)}
        accepted = went_back or self._accept_older
        reason = why_not_of_history(copy.layout, log, came, None if accepted else before)
        if reason is not None:
            copy.leave()
            raise SyncError(f"{self._place.shown}: {reason}. Nothing was changed here")
        smalls = self._smalls()
        for name, path in came.items():
            copy.place(path, self._layout.changes / name)
        self._files += len(wanted)
        self._put(smalls, CONFIG, SET_ASIDE)
        copy.sync_folders()
        if head == copy.small(HEAD):
            if lacks:
                os.utime(self._layout.head)  # what was mended is proved now
        else:
            self._write(HEAD, head)
        if went_back and os.path.lexists(self._layout.meta_db):
            self._layout.meta_db.unlink()  # it would go on being the newer one
        self._put(smalls, *wake_last(smalls))
        return content, copy.sweep(log)

    # By meta.db, from a server that writes no change log

    def _by_meta_db(self, before: Content | None) -> Content | None:
        smalls = self._smalls()
        if before is not None and self._is_announced(smalls, before):
            return before
        if self._dry_run:
            self._notes.append("its meta.db would be fetched whole, for it has no change log")
            return before
        aside = self._copy.aside(0)
        path = aside / "meta.db"
        wanted = Wanted("meta.db", path)
        try:
            self._fetcher().one(wanted)
        except DownloadError as error:
            if not error.is_missing:
                raise
            raise SyncError(
                f"{self._place.shown}: there is no metadir, neither _mmmeta/{HEAD} nor _mmmeta/meta.db: name the folder that "
                "holds _mmmeta, or run `mmmeta generate` at the server"
            ) from error
        try:
            content = read_content(path)
        except FormatError as error:
            path.unlink()
            if isinstance(error, LegacyMetadirError):
                raise SyncError(
                    f"{self._place.shown}: its metadir was written by mmmeta 0.1-0.4: `mmmeta migrate` at the server makes one of "
                    "today beside it, which can be pulled"
                ) from error
            raise SyncError(
                f"{self._place.shown}: its meta.db is of a newer version of mmmeta: upgrade the one here"
            ) from error
        if content is None:
            path.unlink()
            raise SyncError(
                f"{self._place.shown}: its meta.db is not whole, or was copied while it was written; pull again"
            )
        self._require(content, before)
        self._put(smalls, CONFIG, SET_ASIDE)
        self._copy.place(path, self._layout.meta_db)
        self._files += 1
        self._copy.sync_folders()
        self._put(smalls, *wake_last(smalls))
        return content

    def _is_announced(self, smalls: dict[str, bytes], before: Content) -> bool:
        """Whether the store there speaks of what is here."""
        names = (f"{STORE}/remote_last_updated", f"{STORE}/remote_revision")
        return (
            all(name in smalls and smalls[name] == self._copy.small(name) for name in names)
            and smalls[names[1]].strip() == str(before.head.revision).encode()
        )

    # Small files

    def _small(self, name: str, most: int) -> bytes | None:
        small = small_at(self._place, name, most, self._stopped)
        return None if small is None else small.content

    def _smalls(self) -> dict[str, bytes]:
        """The small files of the remote besides ``head.json``."""
        deadline = Deadline(self._place.shown, MINUTES, self._stopped)
        listed = patiently(lambda: self._place.names(STORE, deadline), self._stopped)
        found: dict[str, bytes] = {}
        room = MOST_BYTES
        for name, most in small_names(listed):
            try:
                content = self._small(name, min(most, room))
            except DownloadError as error:
                if not error.is_refused:
                    raise
                self._notes.append(f"{error}. It was left out")
                continue
            if content is not None:
                found[name] = content
                room -= len(content)
        return found

    def _put(self, smalls: dict[str, bytes], *names: str) -> None:
        for name in names:
            if name in smalls and smalls[name] != self._copy.small(name):
                self._write(name, smalls[name])

    def _write(self, name: str, content: bytes) -> None:
        write_atomic(self._layout.metadir / name, content)
        self._files += 1
        self._bytes += len(content)

    # What is told

    def _fetcher(self) -> Fetcher:
        return Fetcher(self._place, self._moved, self._stopped)

    def _moved(self, count: int) -> None:
        with self._counted:
            self._bytes += count
            if self._progress is not None:
                self._progress("pulling bytes", self._bytes, self._total or None)

    def _require(self, content: Content, before: Content | None) -> bool:
        """Refuse what does not follow what is here; whether it goes back, as asked."""
        if before is None or names_of(content) == names_of(before):
            return False
        reason = why_not_after(content, before)
        if reason is None:
            return False
        if self._accept_older and is_after(before, content):
            return True
        raise SyncError(f"{self._place.shown}: {reason}. Nothing was changed here")
