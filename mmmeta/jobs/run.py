"""One run of a job: claims files in batches, hands them to the action, and settles how they ended."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from queue import Empty, SimpleQueue

from mmmeta.errors import JobFailedError
from mmmeta.filters import Condition
from mmmeta.jobs.actions.action import Action, Interruptible, Item
from mmmeta.jobs.actions.caught import Caught
from mmmeta.jobs.bench import Bench
from mmmeta.jobs.threads import Threads
from mmmeta.quantities import format_duration
from mmmeta.reports import Progress
from mmmeta.state.candidates import Evaluation, told_size
from mmmeta.state.ledger.sqlite import Outcome, Settled
from mmmeta.state.liveness import Worker, boot_seconds

log = logging.getLogger(__name__)

SETTLE_EVERY = 1.0
"""Seconds after which outcomes are recorded even within a batch; what is not recorded runs again after a crash."""

BEAT_EVERY = 10.0
"""Seconds between two signs of life in the ledger and status.json; the sensor takes three missed ones for a death."""

FAILURES_KEPT = 1_000
"""Failures named in a report; all are counted."""

REDONE_AT_MOST = 3
"""How often one run does a file again because it changed meanwhile; an action that changes it each time would not end."""

LAST_WORDS = 1.0
"""Seconds that threads have to come to an end with the file at hand, when the run is to end at once."""

NAMED_AT_ONCE = 500
"""Files claimed at once where a run is for some files only."""

Work = Callable[[list[Item]], list[Outcome]]


@dataclass(frozen=True)
class Failure:
    """One file of a run that failed; ``status`` is ``failed`` (due again later) or ``dead``."""

    file: str
    error_type: str
    message: str
    attempts: int
    status: str


@dataclass(frozen=True)
class RunReport:
    """What a run did.

    Attributes:
        selected: files that were due when the run started, whenever they were selected; of those that it was for.
        left: files that were set aside unprocessed when it started: deleted, or not meant by a changed definition. Those
            that an update set aside before it are not among them.
        attempted: files that the action was given, each once, by how it ended last: ``done``, ``retracted`` (undone after
            they were deleted), ``failed`` (due again later) and ``dead``.
        lost: files whose claim passed to another worker while this one was at it.
        pending: files left for the next run; ``due_later`` ones failed and wait.
        bytes: of the documents.
        duration: seconds.
        failures: the first 1,000.
        stopped: whether the run was asked to stop before it was through.
    """

    job: str
    selected: int
    left: int
    attempted: int
    done: int
    retracted: int
    failed: int
    dead: int
    lost: int
    pending: int
    due_later: int
    bytes: int
    duration: float
    failures: tuple[Failure, ...]
    stopped: bool
    run_id: str | None

    @property
    def failed_share(self) -> float:
        """Share of the attempted files that failed, 0 to 1."""
        return (self.failed + self.dead) / self.attempted if self.attempted else 0.0

    def raise_for_failures(self) -> None:
        """Raise ``JobFailedError`` if any file failed."""
        if self.failed or self.dead:
            first = self.failures[0]
            raise JobFailedError(
                f"job {self.job!r}: {self.failed + self.dead} of {self.attempted} files failed, the first {first.file}: "
                f"{first.error_type}: {first.message}",
                self,
            )


class Keeper:
    """Says in the background that a run lives, and prolongs its leases, until the run ends."""

    def __init__(self, bench: Bench, worker: Worker, run_id: str | None) -> None:
        self._bench = bench
        self._worker = worker
        self._run_id = run_id
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"mmmeta {bench.config.name}", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _keep(self) -> None:
        lease = self._bench.config.lease
        while not self._over.wait(min(BEAT_EVERY, lease / 3)):
            try:
                with self._bench.ledger(self._bench.backend.catalog(warn=False)) as ledger:
                    until = boot_seconds() + lease
                    ledger.renew(self._worker.name, lease, self._run_id)
                self._worker.lease.prolong(until)
                self._bench.backend.write_status()
            except Exception as error:  # whatever it is: without a sign of life the claims pass to others
                log.warning("job %s could not say that it lives: %s", self._bench.config.name, error)


class Run:
    """One run: counts, and the loop."""

    def __init__(
        self,
        bench: Bench,
        action: Action,
        worker: Worker,
        run_id: str | None,
        limit: int | None,
        progress: Progress | None,
        stop: Callable[[], bool] | None,
        only: Condition | None = None,
    ) -> None:
        own = bench.config.limit
        self._bench = bench
        self._action = action
        self._worker = worker
        self._run_id = run_id
        self._files_left = limit if limit is not None else (own.files if own is not None else None)
        self._bytes_left = own.bytes if own is not None else None
        self._sizes: dict[str, int] = {}
        self._progress = progress
        self._stop = stop
        self._only = only
        self._names: list[str] = []
        self._had: set[str] = set()
        self._started = time.monotonic()
        self._counts = dict.fromkeys(("done", "retracted", "failed", "dead", "lost"), 0)
        self._bytes = 0
        self._failures: list[Failure] = []
        self._failed: dict[str, str] = {}
        self._stopped = False
        self._selected: int | None = None
        self._total = 0
        self._outcomes: list[Outcome] = []
        self._last_settled = time.monotonic()
        self._redone: Counter[str] = Counter()

    def work(self, evaluation: Evaluation) -> RunReport:
        try:
            while not self._finished():
                items = self._claim()
                if items is None:
                    break
                if self._selected is None:  # not before the first claim, which takes back what dead workers held
                    self._selected = len(items) + self._due()
                    self._total = self._selected if self._files_left is None else min(self._selected, self._files_left)
                self._process(items)
                self._settle()
                if self._overtaken():
                    self._let_go()
        finally:
            self._give_back()
        return self._report(evaluation)

    def _finished(self) -> bool:
        if self._stop is not None and self._stop():
            self._stopped = True
        spent = (self._files_left is not None and self._files_left <= 0) or (
            self._bytes_left is not None and self._bytes_left <= 0
        )
        return self._stopped or spent

    def _overtaken(self) -> bool:
        """Whether the lease on the batch ran out, as it does where the process was stopped: others may have its files."""
        return self._worker.lease.ran_out

    def _due(self) -> int:
        """How many of the files that this run is for wait beside those that it has claimed."""
        return self._bench.status().due if self._only is None else len(self._names)

    def _next_names(self, count: int) -> list[str]:
        """The next of the files that this run is for; none when it had all of them."""
        assert self._only is not None
        if not self._names:  # also later: a file that has to come alone left others behind
            self._names = [name for name in self._bench.due_among(self._only) if name not in self._had][::-1]
        return [self._names.pop() for _ in range(min(count, len(self._names)))]

    def _claim(self) -> list[Item] | None:
        """Claim a batch; None when nothing is pending."""
        size = self._bench.config.batch_size
        size = size if self._files_left is None else min(size, self._files_left)
        among = None if self._only is None else self._next_names(min(size, NAMED_AT_ONCE))
        if among == []:
            return None
        redone = [file for file, times in self._redone.items() if times >= REDONE_AT_MOST]
        until = boot_seconds() + self._bench.config.lease
        files = self._bench.claim(size, self._worker.name, self._run_id, redone, among)
        self._worker.lease.begin(until)
        if files is None and among is not None:
            return []  # another worker was faster; there may be more
        if among is not None:
            self._had.update(file.unique_value for file in files or ())
        if self._bytes_left is not None:
            self._sizes = {file.unique_value: told_size(file.get) for file in files or ()}
        return None if files is None else [Item(file, file.claim) for file in files if file.claim is not None]

    def _process(self, items: list[Item]) -> None:
        undo = [item for item in items if item.claim.retract]
        do = [item for item in items if not item.claim.retract]
        for work, part in ((self._action.retract, undo), (self._action.process, do)):
            if not part:
                continue
            if self._action.batched:
                while part and not (self._finished() or self._overtaken()):
                    count = self._affordable(part)
                    self._note(self._within_time(work, part[:count]))
                    part = part[count:]
            elif self._bench.config.workers == 1:
                for item in part:
                    if self._finished() or self._overtaken():
                        return
                    self._note(self._within_time(work, [item]))
            else:
                self._process_in_threads(work, part)

    def _affordable(self, items: list[Item]) -> int:
        """How many of a batch are done at once: all, unless their documents are more bytes than are left."""
        if self._bytes_left is None:
            return len(items)
        sums = accumulate(self._sizes.get(item.claim.file, 0) for item in items)
        return next((count for count, size in enumerate(sums, start=1) if size >= self._bytes_left), len(items))

    def _process_in_threads(self, work: Work, items: list[Item]) -> None:
        workers = self._bench.config.workers
        queue = iter(items)
        running: set[Future[list[Outcome]]] = set()
        with Threads[list[Outcome]](workers, f"mmmeta-{self._bench.config.name}") as threads, Caught() as caught:
            while True:
                while len(running) < workers and not (self._finished() or self._overtaken()):
                    item = next(queue, None)
                    if item is None:
                        break
                    running.add(threads.submit(partial(self._within_time, work, [item])))
                if not running:
                    return
                ready, running = wait(running, return_when=FIRST_COMPLETED)
                self._take(ready)
        # Ended early: what the threads have done, or cannot leave half done, must not count as untried.
        if isinstance(self._action, Interruptible):
            self._action.interrupt()
            ready = wait(running).done
        else:
            # Nothing can end a Python function from outside: who wants the end at once does not wait for it.
            ready = wait(running, None if isinstance(caught.error, Exception) else LAST_WORDS).done
        self._outcomes += [outcome for future in ready if future.exception() is None for outcome in future.result()]
        if caught.error is not None:
            raise caught.error

    def _take(self, ready: set[Future[list[Outcome]]]) -> None:
        """Note what threads have done; then raise what one of them has raised."""
        problems = [problem for future in ready if (problem := future.exception()) is not None]
        self._note([outcome for future in ready if future.exception() is None for outcome in future.result()])
        if problems:
            raise problems[0]

    def _within_time(self, work: Work, items: list[Item]) -> list[Outcome]:
        """Work on files, each no longer than the job's ``timeout``.

        Nothing can end a Python function from outside. So it runs in a thread that is left to itself when the time is
        over: the run goes on, and what that thread does later counts for nothing.
        """
        timeout = self._bench.config.timeout
        if timeout is None or self._action.keeps_time:
            return work(items)
        answer: SimpleQueue[tuple[list[Outcome], BaseException | None]] = SimpleQueue()

        def call() -> None:
            outcomes: list[Outcome] = []
            with Caught() as caught:  # raised again where the run can see it
                outcomes = work(items)
            answer.put((outcomes, caught.error))

        threading.Thread(target=call, name=f"mmmeta-{self._bench.config.name}", daemon=True).start()
        limit = timeout * len(items)
        try:
            outcomes, problem = answer.get(timeout=limit)
        except Empty:
            message = f"took longer than {format_duration(limit)}, the job's timeout, and was left behind"
            return [Outcome(item.claim, "TimeoutError", message) for item in items]
        if problem is not None:
            raise problem
        return outcomes

    def _note(self, outcomes: list[Outcome]) -> None:
        self._outcomes.extend(outcomes)
        if self._files_left is not None:
            self._files_left -= len(outcomes)
        if self._bytes_left is not None:
            # What the action reports, else, where it does not read documents itself, what the metadata tells.
            for outcome in outcomes:
                if outcome.ok and not outcome.claim.retract:
                    told = self._sizes.get(outcome.claim.file, 0)
                    self._bytes_left -= told if outcome.bytes is None else outcome.bytes
        if time.monotonic() - self._last_settled >= SETTLE_EVERY:
            self._settle()

    def _settle(self) -> None:
        if not self._outcomes:
            return
        with self._bench.ledger(self._bench.backend.catalog(warn=False)) as ledger:
            settled = ledger.settle(self._outcomes, run_id=self._run_id, worker=self._worker.name)
        self._outcomes = []  # not before they are committed: else what was done would be done again
        for entry in settled:
            self._count(entry)
        self._last_settled = time.monotonic()
        if self._progress is not None:
            self._progress(f"{self._bench.config.name}", sum(self._counts.values()), self._total)

    def _count(self, settled: Settled) -> None:
        outcome = settled.outcome
        status = settled.status
        if status in ("pending", "skipped"):  # it changed or went meanwhile; what was done was done nevertheless
            if status == "pending":
                self._redone[outcome.claim.file] += 1
            status = "done" if outcome.ok else "failed"
        if outcome.ok and outcome.claim.retract and status != "lost":
            status = "retracted"
        self._recount(settled)
        self._counts[status] += 1
        self._bytes += outcome.bytes or 0
        if status in ("failed", "dead") and len(self._failures) < FAILURES_KEPT:
            self._failures.append(
                Failure(
                    outcome.claim.file,
                    outcome.error_type or "",
                    outcome.error_message or "",
                    outcome.claim.attempt,
                    status,
                )
            )

    def _recount(self, settled: Settled) -> None:
        """Take back how a file was counted that failed before in this run, which happens where ``backoff`` is short.

        What an older version of it has met stays counted.
        """
        file = settled.outcome.claim.file
        before = self._failed.pop(file, None)
        if before is not None:
            self._counts[before] -= 1
            self._failures = [failure for failure in self._failures if failure.file != file]
        if settled.status in ("failed", "dead"):
            self._failed[file] = settled.status

    def _give_back(self) -> None:
        """Record what is finished and release what is not, also on the way out of an interrupted run."""
        try:
            self._settle()
        finally:  # what could not be recorded is at least not held until the lease ends
            self._let_go(trim=True)

    def _let_go(self, *, trim: bool = False) -> None:
        """Release what is still this worker's; ``trim`` the history as well."""
        with self._bench.ledger(self._bench.backend.catalog(warn=False)) as ledger:
            ledger.give_back(self._worker.name)
            if trim:
                ledger.trim_history()

    def _report(self, evaluation: Evaluation) -> RunReport:
        status = self._bench.status()
        return RunReport(
            job=self._bench.config.name,
            selected=self._due() if self._selected is None else self._selected,
            left=evaluation.left,
            attempted=sum(self._counts.values()),
            done=self._counts["done"],
            retracted=self._counts["retracted"],
            failed=self._counts["failed"],
            dead=self._counts["dead"],
            lost=self._counts["lost"],
            pending=status.pending,
            due_later=status.failed,
            bytes=self._bytes,
            duration=time.monotonic() - self._started,
            failures=tuple(self._failures),
            stopped=self._stopped,
            run_id=self._run_id,
        )
