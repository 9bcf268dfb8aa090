"""What whoever asks for runs can see of a state: how it stands, and which runs and workers are at work.

Nothing of it needs the files: where a state is in a file, these are small files beside it; where machines share one, it is what
they have told its database.

Dagster calls a killed run "started" for ever, and status.json is written only now and then. So a run holds a file
``runs/<run id>`` locked. The kernel drops a lock when the process ends, however it ends, so a run whose file is locked lives,
whatever the clock says: one document may keep all threads of its process still for minutes. One whose file says that a step
works on this host, and is not locked, is gone. Where the lock tells nothing, between two steps or on another host, the file's
time does, which ``beat`` keeps fresh.
"""

from __future__ import annotations

import fcntl
import os
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from mmmeta.layout import Layout
from mmmeta.state.liveness import boot_id, hold, let_go
from mmmeta.state.status import Status, read_status
from mmmeta.writing import make_folder

KEPT = 24 * 3600.0
"""Seconds from the last sign of life of a run until a later run removes it."""


class Signs(ABC):
    """One state, as it is seen from outside.

    Attributes:
        are_shared: whether the signs of runs on all machines are seen, and not only those on this one.
    """

    are_shared: bool = False

    @abstractmethod
    def status(self) -> Status | None:
        """How it stands; None where nobody has merged anything, or that cannot be told."""

    @abstractmethod
    def somebody_works(self) -> bool:
        """Whether a worker, of whatever run and program, is known to live."""

    @abstractmethod
    def last_beat(self, run_id: str) -> datetime | None:
        """The last sign of life of a run, aware UTC; None where there is none."""

    @abstractmethod
    def latest_beat(self, but_of: str | None = None) -> datetime | None:
        """The last sign of life of any run but one, aware UTC; None where there is none."""

    @abstractmethod
    def is_at_work(self, run_id: str) -> bool | None:
        """Whether a step of a run is being worked on: True and False are certain, whatever the clock says.

        None where nobody can tell: it is between two steps, somewhere that cannot be seen from here, or has never been heard of.
        """


class RunSign(ABC):
    """The sign of life of one step of a run; no trouble with giving one is raised."""

    @abstractmethod
    def begin(self) -> bool:
        """Give the first one. False where none can be given: then a run counts as alive for as long as it takes to start, and
        the ledger's claims keep a second one from doing anything twice."""

    @abstractmethod
    def beat(self) -> None:
        """Give another one."""

    @abstractmethod
    def end(self) -> None:
        """The step is over. The run's next one may begin seconds later, in another process."""


class FileSigns(Signs):
    """Those beside a state db, of this host and of those that share its disk."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def status(self) -> Status | None:
        return read_status(self._layout.status)

    def somebody_works(self) -> bool:
        with suppress(OSError):
            return any(_is_locked(path) for path in self._layout.workers.iterdir())
        return False

    def last_beat(self, run_id: str) -> datetime | None:
        try:
            return datetime.fromtimestamp((self._layout.runs / run_id).stat().st_mtime, tz=timezone.utc)
        except OSError:
            return None

    def latest_beat(self, but_of: str | None = None) -> datetime | None:
        with suppress(OSError):
            beats = [self.last_beat(file.name) for file in self._layout.runs.iterdir() if file.name != but_of]
            return max((beat for beat in beats if beat is not None), default=None)
        return None

    def is_at_work(self, run_id: str) -> bool | None:
        try:
            handle = os.open(self._layout.runs / run_id, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Under the lock, so that no step begins meanwhile. What another host has locked may look free from here.
            return False if os.pread(handle, 200, 0).decode(errors="replace") == boot_id() else None
        except BlockingIOError:
            return True
        except OSError:
            return None
        finally:
            os.close(handle)


class FileRunSign(RunSign):
    """One beside a state db. Creates nothing where there is no metadir, and does without where the folder cannot be written."""

    def __init__(self, layout: Layout, run_id: str) -> None:
        self._layout = layout
        self._file = layout.runs / run_id
        self._handle = -1

    def begin(self) -> bool:
        # The function, because the method of the same name raises where a folder above cannot be entered.
        if not os.path.isdir(self._layout.metadir) or not _touch(self._file):
            return False
        self._sweep()
        with suppress(OSError):  # on a file system without locks only the clock tells
            self._handle = os.open(self._file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            hold(self._handle)
            # It says meanwhile on which host, in which boot of it. Steps that work at the same time hold it together.
            fcntl.flock(self._handle, fcntl.LOCK_SH)
            os.pwrite(self._handle, boot_id().encode(), 0)
        return True

    def beat(self) -> None:
        _touch(self._file)

    def end(self) -> None:
        _touch(self._file)
        handle, self._handle = self._handle, -1
        if handle >= 0 and let_go(handle):
            with suppress(OSError):
                os.ftruncate(handle, 0)
            os.close(handle)

    def _sweep(self) -> None:
        signs = FileSigns(self._layout)
        with suppress(OSError):
            for file in self._layout.runs.iterdir():
                if file.stat().st_mtime < time.time() - KEPT and not signs.is_at_work(file.name):
                    file.unlink(missing_ok=True)


def _touch(file: Path) -> bool:
    try:
        make_folder(file.parent)
        file.touch()
        os.utime(file)
    except OSError:
        return False
    return True


def _is_locked(path: Path) -> bool:
    """Whether a lock is known to be held. What was opened here is closed again, and nothing is removed."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False
