"""``push``: from a metadir to a place, in the order in which a server publishes: segments, ``head.json``, the store.

So whoever pulls meanwhile has the revision before, or this one whole. What nobody has seen here is never overwritten: a revision
that another server has published, or one that was pulled nowhere.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import nullcontext

from mmmeta.documents.source import Deadline
from mmmeta.errors import ChangeLogError, DownloadError, MissingPackageError, SyncError, remedy_of
from mmmeta.layout import Layout, read_plain, why_misplaced
from mmmeta.metadata.changelog.head import LARGEST as LARGEST_HEAD
from mmmeta.metadata.changelog.head import SYNC_AGAIN, LogHead, Segment, parse_head, read_log
from mmmeta.metadata.changelog.packing import prove_file
from mmmeta.metadata.changelog.replay import digest_at, first_revision
from mmmeta.project.syncing import SyncConfig
from mmmeta.reports import Progress
from mmmeta.sync.command import command_line, run_command
from mmmeta.sync.copy import LARGEST, is_segment
from mmmeta.sync.elsewhere import place_at
from mmmeta.sync.fetch import LONGEST
from mmmeta.sync.patience import MINUTES, patiently, small_at
from mmmeta.sync.places import Place, Small
from mmmeta.sync.report import SyncReport
from mmmeta.sync.small import CONFIG, HEAD, SET_ASIDE, STORE, store_keys
from mmmeta.writing import refuse_legacy

ROUNDS = 3
"""How often a push is begun anew because something was published here meanwhile."""


def push(
    path: str | os.PathLike[str] | Layout,
    remote: str | SyncConfig,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
    stopped: threading.Event | None = None,
) -> SyncReport:
    """Publish a metadir at another place.

    First the segments that are missing there, each proved before, then ``config.yml``, then ``head.json``, and then the store,
    which wakes clients. ``head.json`` is written under the condition that it is still the one that was read, where the place
    knows conditions (S3), and else after it was read once more. Segments go away there at the push after the one that does not
    name them any more, for a client that is on its way with the ``head.json`` before. ``meta.db`` is not pushed, for the change
    log holds everything; ``local/`` never is.

    Args:
        path: base path of the metadir, or its layout.
        remote: base path elsewhere, as path or as URL that fsspec writes; or what the project file says of syncing.
        dry_run: look and count; write nothing there, and run no program.
        progress: called with bytes that have gone, and how many there are.
        stopped: set from another thread to end it.

    Raises:
        SyncError: there is nothing to publish, it cannot be written there, or there is something that was not seen here.
    """
    layout = path if isinstance(path, Layout) else Layout.at(path)
    config = SyncConfig(push=remote) if isinstance(remote, str) else remote
    stopped = stopped or threading.Event()
    started = time.monotonic()
    refuse_legacy(layout.metadir)
    log = _own_log(layout)  # before anything is asked or made there
    if config.push_command is not None:
        if dry_run:
            line = command_line(config.push_command, layout)
            return SyncReport(
                line, None, log.head.revision, True, 0, 0, 0, (), time.monotonic() - started, dry_run=True
            )
        ran = run_command(config.push_command, config.folder, layout, stopped)
        return SyncReport(ran.shown, None, log.head.revision, True, 0, 0, 0, (), time.monotonic() - started)
    if config.push is None:
        raise SyncError("nothing says where to push to: name it, or write sync: {push: …} into the project file")
    place = place_at(config.push, layout.base)
    try:
        return _Push(layout, place, progress, stopped, dry_run=dry_run).run(started)
    except MissingPackageError as error:
        raise SyncError(str(error)) from error
    except DownloadError as error:
        again = "" if error.is_refused else ". Push again, and it goes on with what is missing there"
        raise SyncError(f"{str(error).rstrip('.')}{again}") from error
    except OSError as error:  # what is elsewhere raises DownloadError
        what = error.filename or layout.metadir
        raise SyncError(f"{what} cannot be read: {error.strerror}; {remedy_of(error)}, and push again") from error
    finally:
        place.close()


def _own_log(layout: Layout) -> LogHead:
    try:
        log = read_log(layout)
    except ChangeLogError as error:
        raise SyncError(f"{error}; at the server `mmmeta generate` writes it anew") from error
    if log is None:
        reason = why_misplaced(layout.base)
        what = f": {reason}" if reason else "; run `mmmeta generate` first, which publishes"
        raise SyncError(f"{layout.head} is not there{what}")
    return log


class _Push:
    """One push."""

    def __init__(
        self, layout: Layout, place: Place, progress: Progress | None, stopped: threading.Event, *, dry_run: bool
    ) -> None:
        self._layout = layout
        self._place = place
        self._progress = progress
        self._stopped = stopped
        self._dry_run = dry_run
        self._files = self._bytes = self._total = 0

    def run(self, started: float) -> SyncReport:
        with nullcontext() if self._dry_run else self._place.alone():
            for left in reversed(range(ROUNDS)):
                try:
                    return self._run(started)
                except ChangeLogError as error:
                    # A publication has merged segments meanwhile, and swept away what head.json named before.
                    if not left:
                        reason = str(error).partition(f"; {SYNC_AGAIN}")[0]
                        raise SyncError(
                            f"{reason}. At the server, remove that file if it is there: `mmmeta generate` writes it anew, and then "
                            "push again. At a client, sync it again"
                        ) from error
        raise AssertionError("the last round returns or raises")

    def _run(self, started: float) -> SyncReport:
        log = _own_log(self._layout)
        head = read_plain(self._layout.head, LARGEST_HEAD)
        if parse_head(head, self._layout.head) != log:
            raise ChangeLogError(f"{self._layout.head} is being published")
        there = self._small(HEAD, LARGEST_HEAD)
        before = None if there is None else self._parsed(there.content)
        self._require(log, before)
        is_new = before is None or before.head != log.head
        missing = self._missing(log, before)
        if self._dry_run:
            return self._report(started, log, before, len(missing), sum(segment.bytes for segment in missing), 0)
        self._total = sum(segment.bytes for segment in missing)
        for segment in missing:
            self._put_segment(segment)
        self._put_small(CONFIG)
        self._put_small(SET_ASIDE)
        if there is None or there.content != head:
            self._swap(head, there)
        removed = self._sweep(log, before) if is_new else 0
        for key in store_keys(self._own_keys()):
            self._put_small(f"{STORE}/{key}")
        return self._report(started, log, before, self._files, self._bytes, removed)

    def _report(
        self, started: float, log: LogHead, before: LogHead | None, files: int, size: int, removed: int
    ) -> SyncReport:
        return SyncReport(
            place=self._place.shown,
            revision_before=None if before is None else before.head.revision,
            revision=log.head.revision,
            is_new=before is None or before.head != log.head,
            files=files,
            bytes=size,
            removed=removed,
            notes=(),
            duration=time.monotonic() - started,
            dry_run=self._dry_run,
        )

    def _parsed(self, content: bytes) -> LogHead:
        try:
            return parse_head(content, f"{self._place.shown}: {HEAD}")
        except ChangeLogError as error:
            text = str(error).removesuffix(f"; {SYNC_AGAIN}")
            raise SyncError(
                f"{text}, so nobody can say which revision is there. If what is here shall count, move that file away there first"
            ) from error

    # What may be overwritten

    def _require(self, log: LogHead, before: LogHead | None) -> None:
        if before is None:
            names = self._names("")
            if names is not None and (found := {"meta.db", "state.db"} & set(names)):
                raise SyncError(
                    f"{self._place.shown}: there is a metadir without head.json ({', '.join(sorted(found))}), and nobody can say "
                    "which revision it holds. If it shall be replaced, move that away there first"
                )
            return
        reason = self._why_not_seen(log, before)
        if reason is not None:
            raise SyncError(
                f"{self._place.shown}: {reason}. Nothing was overwritten. If what is here shall count, move head.json there away "
                "first"
            )

    def _why_not_seen(self, log: LogHead, before: LogHead) -> str | None:
        """Why what is there may not be overwritten, as a sentence without its end; None where it was seen here."""
        ours, theirs = log.head, before.head
        if theirs.id == ours.id:
            if theirs.revision > ours.revision:
                return f"revision {theirs.revision} is there, and here {ours.revision}: another server has published, or this is an older copy"
            if digest_at(self._layout, log, theirs.revision) == theirs.digest:
                return None
            return f"the revision {theirs.revision} that is there was never here: two servers publish from one metadir"
        if theirs.id in log.replaces:
            # Revisions go on counting where a metadata db is replaced, so those of the one before are smaller.
            first = first_revision(self._layout, log)
            if first is None or theirs.revision < first:
                return None
            return f"revision {theirs.revision} of the metadata db that was replaced here is there: another server went on with it"
        if ours.id in before.replaces:
            return "the metadata db here was replaced by the one that is there"
        return f"it is of the metadata db {theirs.id}, and here is {ours.id}: another archive's"

    # Writing there

    def _missing(self, log: LogHead, before: LogHead | None) -> list[Segment]:
        """The segments that are not there; one that no head.json there names may be anybody's."""
        there = self._names("changes") or {}
        known = set() if before is None else set(before.segments)
        return [one for one in log.segments if not (one in known and there.get(one.name) == one.bytes)]

    def _put_segment(self, segment: Segment) -> None:
        path = self._layout.changes / segment.name
        prove_file(path, segment)
        deadline = Deadline(f"{self._place.shown}: changes/{segment.name}", LONGEST, self._stopped)
        patiently(lambda: self._place.put(f"changes/{segment.name}", path, deadline), self._stopped)
        self._count(segment.bytes)

    def _put_small(self, name: str) -> None:
        """Write a small file where it is another one there."""
        try:
            content = read_plain(self._layout.metadir / name, LARGEST)
        except FileNotFoundError:
            return
        except OSError as error:
            raise SyncError(f"{self._layout.metadir / name} cannot be read: {error.strerror}") from error
        there = self._small(name, LARGEST)
        if there is not None and there.content == content:
            return
        deadline = self._deadline(name)
        if not patiently(lambda: self._place.swap(name, content, there, deadline), self._stopped):
            raise self._overtaken(name)
        self._count(len(content))

    def _swap(self, head: bytes, there: Small | None) -> None:
        deadline = self._deadline(HEAD)

        def swap() -> bool:
            if self._place.swap(HEAD, head, there, deadline):
                return True
            # An attempt before this one may have come through although no answer did.
            now = self._small(HEAD, LARGEST_HEAD)
            return now is not None and now.content == head

        if not patiently(swap, self._stopped):
            raise self._overtaken(HEAD)
        self._count(len(head))

    def _overtaken(self, name: str) -> SyncError:
        return SyncError(
            f"{self._place.shown}: {name} was written by somebody else meanwhile: two servers publish there. Nothing of theirs "
            "was overwritten; look which of them counts"
        )

    def _sweep(self, log: LogHead, before: LogHead | None) -> int:
        """Remove there what neither this ``head.json`` names nor the one before it."""
        named = {one.name for one in (*log.segments, *(before.segments if before is not None else ()))}
        gone = [name for name in self._names("changes") or {} if is_segment(name) and name not in named]
        for name in gone:
            deadline = self._deadline(name)
            self._place.remove(f"changes/{name}", deadline)
        return len(gone)

    # Reading

    def _small(self, name: str, most: int) -> Small | None:
        return small_at(self._place, name, most, self._stopped)

    def _names(self, folder: str) -> dict[str, int | None] | None:
        deadline = self._deadline(folder)
        return patiently(lambda: self._place.names(folder, deadline), self._stopped)

    def _own_keys(self) -> list[str]:
        try:
            return [entry.name for entry in os.scandir(self._layout.store) if entry.is_file(follow_symlinks=False)]
        except FileNotFoundError:
            return []

    def _deadline(self, name: str) -> Deadline:
        return Deadline(f"{self._place.shown}: {name}", MINUTES, self._stopped)

    def _count(self, size: int) -> None:
        self._files += 1
        self._bytes += size
        if self._progress is not None:
            self._progress("pushing bytes", self._bytes, self._total or None)
