"""Claims for people with a loop of their own: claim, then say how each file ended."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType

from mmmeta.errors import JobError, MmmetaError, is_exhausted
from mmmeta.files.file import File
from mmmeta.jobs.actions.action import failed
from mmmeta.jobs.bench import Bench
from mmmeta.jobs.keeper import Keeper
from mmmeta.project.fields import MOST
from mmmeta.state.ledger.outcomes import Outcome
from mmmeta.state.liveness import Alive

_log = logging.getLogger(__name__)


class Hands:
    """The files of one job that this process holds outside of a run.

    As long as it holds any, a thread prolongs its leases and says that the job lives. When the process dies they are
    free at once. When nobody has this object any more, nobody can say how its files ended: they are given back.
    """

    def __init__(self, bench: Bench, run_id: str | None = None) -> None:
        self._bench = bench
        self._run_id = run_id
        self._lock = threading.RLock()
        self._held: dict[str, File] = {}
        self._worker: Alive | None = None
        self._keeper: Keeper | None = None
        self._abandoned: weakref.finalize[[Bench, Alive, Keeper], Hands] | None = None

    def claim(self, count: int) -> list[File]:
        """Take up to so many pending files; none when nothing is pending.

        Raises:
            JobError: fewer than one are asked for.
        """
        if count < 1:
            raise JobError(f"job {self._bench.config.name!r}: claim takes a number from 1 on, not {count}")
        with self._lock:
            if self._worker is None:
                self._worker = self._bench.worker()
                self._worker.start()
                self._keeper = Keeper(self._bench, self._worker, self._run_id)
                self._keeper.__enter__()
                self._abandoned = weakref.finalize(self, _abandon, self._bench, self._worker, self._keeper)
                self._abandoned.atexit = False  # a process that ends gives back by letting go of its lock
            else:
                self._worker.stay(wait=True)
            files: list[File] | None = []
            while files is not None and not files:  # those that were deleted meanwhile are settled on the way
                files = self._bench.claim(min(count, MOST), self._worker.name, self._run_id)
            self._held.update({file.unique_value: file for file in files or ()})
            self._rest_if_empty()
        return files or []

    def settle(self, files: Sequence[File], error: Exception | None = None, size: int | None = None) -> list[str]:
        """Record that files were done, or failed with an error; returns each one's status in the ledger.

        ``lost``: the lease had ended and another worker has the file; what it says counts.

        Raises:
            JobError: a file is not held here.
        """
        self._check(files)
        if not files:
            return []
        with self._lock:
            once = {file.unique_value: file for file in files}
            outcomes = []
            for name, file in once.items():
                if file.claim is None or self._held.get(name) is not file:
                    raise JobError(f"job {self._bench.config.name!r}: {name!r} is not claimed here")
                outcomes.append(Outcome(file.claim, bytes=size) if error is None else failed(file.claim, error))
            assert self._worker is not None
            settled = self._bench.settle(outcomes, self._run_id, self._worker.name)
            self._let_go(files)
        statuses = dict(zip(once, (entry.status for entry in settled), strict=True))
        return [statuses[file.unique_value] for file in files]

    def holds(self, file: File) -> bool:
        """Whether a file was claimed here, and not settled or given back since."""
        with self._lock:
            return self._held.get(file.unique_value) is file

    def release(self, files: Sequence[File], *, broken_off: bool = False) -> None:
        """Give files back untried; or as those that somebody was at when he was ended from outside."""
        self._check(files)
        with self._lock:
            claims = [file.claim for file in files if file.claim is not None]
            if broken_off:
                self._bench.break_off(claims)
            else:
                self._bench.release(claims)
            self._let_go([file for file in files if self.holds(file)])

    def release_all(self) -> None:
        """Give back untried all that is held."""
        with self._lock:
            self.release(list(self._held.values()))

    def _check(self, files: Sequence[File]) -> None:
        """Refuse what is no file, such as the name of one."""
        for file in files:
            if not isinstance(file, File):
                raise JobError(f"job {self._bench.config.name!r}: {file!r} is not a file that claim() gave")

    def _let_go(self, files: Sequence[File]) -> None:
        for file in files:
            self._held.pop(file.unique_value, None)
        self._rest_if_empty()

    def _rest_if_empty(self) -> None:
        if self._held or self._worker is None or self._keeper is None:
            return
        if self._abandoned is not None:
            self._abandoned.detach()
        self._keeper.__exit__()
        self._worker.stop()
        self._worker = self._keeper = self._abandoned = None
        with self._bench.changing() as ledger:
            ledger.trim_history()
        self._bench.state.write_status()


class Several:
    """Up to so many files, claimed for a block: done at its end, failed if it raises an ``Exception``, given back
    untried if this process can open no more files, and given back if it is broken off by anything else; they come alone
    then, and the second time this uses up an attempt.

    What the block settled or gave back itself is left as it is.
    """

    def __init__(self, hands: Hands, claim: Callable[[], list[File]]) -> None:
        self._hands = hands
        self._claim = claim
        self._files: list[File] = []

    def __enter__(self) -> list[File]:
        self._files = self._claim()
        return list(self._files)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held = [file for file in self._files if self._hands.holds(file)]
        if error is None or (isinstance(error, Exception) and not is_exhausted(error)):
            self._hands.settle(held, error)
        else:  # a generator that is closed was waiting for its caller, and not at a file
            self._hands.release(held, broken_off=not isinstance(error, GeneratorExit))


class One:
    """The same for one file; None when nothing is pending."""

    def __init__(self, several: Several) -> None:
        self._several = several

    def __enter__(self) -> File | None:
        return next(iter(self._several.__enter__()), None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._several.__exit__(kind, error, trace)


def _abandon(bench: Bench, worker: Alive, keeper: Keeper) -> None:
    """Give back what is held by hands that are gone.

    In a thread of its own: this is called wherever the last reference went, in the middle of a transaction perhaps, or
    in the keeper's thread.
    """
    threading.Thread(target=_give_back, args=(bench, worker, keeper), name=f"mmmeta {bench.config.name}").start()


def _give_back(bench: Bench, worker: Alive, keeper: Keeper) -> None:
    keeper.__exit__()
    holds = True
    try:
        if bench.state.has_ledger():
            bench.give_back(worker.name)
            holds = False
            bench.state.write_status()
    except (MmmetaError, OSError) as error:
        _log.warning("job %s could not give back what it held: %s", bench.config.name, error)
    finally:
        worker.stop(holds=holds)
