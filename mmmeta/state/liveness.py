"""Who works on this host, and the clock that leases are measured with.

A worker holds a lock on a file of its own for as long as it lives; the kernel drops the lock when the process dies,
however it dies. So a dead worker is known at once, by a lock and not by a process number. The locks lie beside the state
db, for all who share that share them. A lock that cannot be seen proves nothing: then only the lease tells. Leases count in
seconds since boot, which no one can set back.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmmeta.errors import StateDbError, remedy_of
from mmmeta.writing import make_folder

_held: set[int] = set()


def hold(handle: int) -> None:
    """Say that an open file holds a lock which tells that this process lives. A child that it forks lets go of it at once: one
    that outlives it, as a pool of processes does that a killed run leaves behind, must not look like it."""
    _held.add(handle)


def let_go(handle: int) -> bool:
    """Before it is closed. False in a forked child, where it is closed already and its number may be another file's."""
    if handle not in _held:
        return False
    _held.remove(handle)
    return True


def _let_go_in_child() -> None:
    for handle in _held:
        os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_let_go_in_child)


def boot_id() -> str:
    """Names this host and this boot of it."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{uuid.getnode():012x}"


def boot_seconds() -> float:
    """Seconds since this host booted, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Lease:
    """Until when a worker's claims are its own, as the worker itself knows it.

    A process that was stopped for longer than its lease finds its claims with others when it goes on. It asks here
    before each file, which costs nothing.
    """

    def __init__(self) -> None:
        self._until = 0.0
        self._ran_out = False

    def begin(self, until: float) -> None:
        """With a new batch; nothing else is held."""
        self._until, self._ran_out = until, False

    @property
    def ran_out(self) -> bool:
        """Whether others may have had the claims, if only for a moment; it stays so until the next batch."""
        if boot_seconds() > self._until:
            self._ran_out = True
        return self._ran_out

    def end(self) -> None:
        """Others may have the claims already."""
        self._ran_out = True

    def prolong(self, until: float) -> None:
        """What ran out before comes back to nobody."""
        if not self.ran_out:
            self._until = until


class Alive(ABC):
    """One worker: alive from ``start`` until ``stop`` or the end of the process.

    Attributes:
        name: as the ledger records it.
        lease: on the batch that it is at.
    """

    def __init__(self, name: str) -> None:
        self.lease: Lease = Lease()
        self.name: str = name

    @abstractmethod
    def start(self) -> None:
        """Show that it lives.

        Raises:
            StateDbError: that cannot be shown.
        """

    @abstractmethod
    def stop(self, *, holds: bool = False) -> None:
        """Show it no more.

        Args:
            holds: what it claimed may not have been given back. What tells that it is gone stays then.
        """

    def stay(self, *, wait: bool = False) -> None:
        """Now and then, and before each claim: look whether it is still to be seen, and show it again if not.

        Args:
            wait: for what may be there again in a moment.

        Raises:
            StateDbError: it cannot be seen.
        """
        return


class Worker(Alive):
    """A worker that the others on this host see by a lock; called ``<boot id>/<random>``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{boot_id()}/{uuid.uuid4().hex[:16]}")
        self._folder = folder
        self._handle: int | None = None

    def start(self) -> None:
        """Take the lock.

        Raises:
            StateDbError: the folder cannot be written.
        """
        try:
            self._take()
        except OSError as error:
            raise StateDbError(
                f"{self._folder} cannot be written: {error.strerror}; a run needs to write there: {remedy_of(error)}"
            ) from error

    def _take(self) -> None:
        make_folder(self._folder)
        path = _path(self._folder, self.name)
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.flock(handle, fcntl.LOCK_EX)
            # Another run's sweep may have come between the two lines above.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), path.stat()):
                    self._handle = handle
                    hold(handle)
                    return
            os.close(handle)

    def stop(self, *, holds: bool = False) -> None:
        """Let go of the lock; where it may hold claims the lock stays, free."""
        handle, self._handle = self._handle, None
        if handle is None or not let_go(handle):
            return
        if not holds:
            with suppress(OSError):  # one that stays is swept away by a later run
                _path(self._folder, self.name).unlink(missing_ok=True)
        os.close(handle)


def living(folder: Path) -> list[str]:
    """The names of the workers of this host that are at work now."""
    if not folder.is_dir():
        return []
    return [path.name for path in sorted(folder.iterdir()) if not is_dead(folder, f"{boot_id()}/{path.name}")]


def is_dead(folder: Path, name: str) -> bool:
    """Whether a worker is known to be gone: its lock is there, and free. False where there is no lock to be seen."""
    with _free(_path(folder, name)) as free:
        return free


def sweep(folder: Path, holders: Iterable[str]) -> None:
    """Remove the locks of dead workers, but for those who still hold files: their locks are what tells."""
    with suppress(OSError):
        kept = {name.rpartition("/")[2] for name in holders}
        for path in [path for path in folder.iterdir() if path.name not in kept]:
            with _free(path) as free:
                if free:
                    path.unlink(missing_ok=True)


@contextmanager
def _free(path: Path) -> Iterator[bool]:
    """Whether a lock is there and nobody's; as long as the block runs it is ours then."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another's sweep may have come between the two lines above, and somebody's own file stand in its place.
        free = os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        free = False
    try:
        yield free
    finally:
        os.close(handle)


def _path(folder: Path, name: str) -> Path:
    return folder / name.rpartition("/")[2]
