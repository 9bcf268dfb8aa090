"""Claims for people with a loop of their own: claim, then say how each file ended."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from mmmeta.action import failed
from mmmeta.bench import Bench
from mmmeta.errors import JobError
from mmmeta.file import File
from mmmeta.ledger import Outcome
from mmmeta.runner import Keeper
from mmmeta.workers import Worker


class Hands:
    """The files of one job that this process holds outside of a run.

    As long as it holds any, a thread prolongs its leases and says that the job lives. When the process dies they are
    free at once.
    """

    def __init__(self, bench: Bench, run_id: str | None = None) -> None:
        self._bench = bench
        self._run_id = run_id
        self._lock = threading.RLock()
        self._held: dict[str, File] = {}
        self._worker: Worker | None = None
        self._keeper: Keeper | None = None

    def claim(self, count: int) -> list[File]:
        """Take up to so many pending files; none when nothing is pending."""
        with self._lock:
            if self._worker is None:
                self._worker = Worker(self._bench.workers)
                self._worker.start()
                self._keeper = Keeper(self._bench, self._worker, self._run_id)
                self._keeper.__enter__()
            files: list[File] | None = []
            while files is not None and not files:  # those that were deleted meanwhile are settled on the way
                files = self._bench.claim(count, self._worker.name, self._run_id)
            self._held.update({file.unique_value: file for file in files or ()})
            self._rest_if_empty()
        return files or []

    def settle(self, files: Sequence[File], error: Exception | None = None, size: int | None = None) -> list[str]:
        """Record that files were done, or failed with an error; returns each one's status in the ledger.

        ``lost``: the lease had ended and another worker has the file; what it says counts.

        Raises:
            JobError: a file is not held here.
        """
        if not files:
            return []
        with self._lock:
            outcomes = []
            for file in files:
                if file.claim is None or self._held.get(file.unique_value) is not file:
                    raise JobError(f"job {self._bench.config.name!r}: {file.unique_value!r} is not claimed here")
                outcomes.append(Outcome(file.claim, bytes=size) if error is None else failed(file.claim, error))
            assert self._worker is not None
            with self._bench.ledger(self._bench.backend.catalog(warn=False)) as ledger:
                settled = ledger.settle(outcomes, run_id=self._run_id, worker=self._worker.name)
            self._let_go(files)
        return [entry.status for entry in settled]

    def release(self, files: Sequence[File]) -> None:
        """Give files back untried; all that are held, if none are named."""
        with self._lock:
            files = files or list(self._held.values())
            claims = [file.claim for file in files if file.claim is not None]
            with self._bench.ledger(self._bench.backend.catalog(warn=False)) as ledger:
                ledger.release(claims)
            self._let_go(files)

    def _let_go(self, files: Sequence[File]) -> None:
        for file in files:
            self._held.pop(file.unique_value, None)
        self._rest_if_empty()

    def _rest_if_empty(self) -> None:
        if self._held or self._worker is None or self._keeper is None:
            return
        self._keeper.__exit__()
        self._worker.stop()
        self._worker = self._keeper = None
        self._bench.backend.write_status()
