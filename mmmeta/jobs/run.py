"""One run of a job: claims files in batches, hands them to the action, and settles how they ended."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue

from mmmeta.files.file import File
from mmmeta.filters import Condition
from mmmeta.jobs.actions.action import Action, Interruptible, claim_of
from mmmeta.jobs.actions.caught import Caught
from mmmeta.jobs.bench import Bench
from mmmeta.jobs.budget import Budget
from mmmeta.jobs.report import RunReport, Tally
from mmmeta.jobs.results import look_for_results
from mmmeta.jobs.threads import Threads
from mmmeta.project.fields import MOST
from mmmeta.quantities import format_duration
from mmmeta.reports import Progress
from mmmeta.state.evaluation import Evaluation
from mmmeta.state.ledger.outcomes import Outcome
from mmmeta.state.liveness import Alive, boot_seconds

SETTLE_EVERY = 1.0
"""Seconds after which outcomes are recorded even within a batch; what is not recorded runs again after a crash."""

REDONE_AT_MOST = 3
"""How often one run does a file again because it changed meanwhile; an action that changes it each time would not end."""

LAST_WORDS = 1.0
"""Seconds that threads have to come to an end with the file at hand, when the run is to end at once."""

INTERRUPTED = 15.0
"""Seconds that threads have for the same where the action ends what they are at; only what nobody can end takes longer, such
as finding a host's address."""

LONGEST_WAIT = 0.5
"""Seconds that the main thread waits at once. Python does not wake it for a signal that comes in the moment before it
waits, so a longer wait could hold up Ctrl-C for as long."""

NAMED_AT_ONCE = 500
"""Files claimed at once where a run is for some files only."""

Work = Callable[[list[File]], list[Outcome]]


class Run:
    """One run: the loop.

    Args:
        worker: that the files are claimed for; it lives.
        run_id: recorded in the ledger.
        limit: files at most; the definition's own limit unless given.
        progress: called with the job's name, how many files are done, and of how many.
        stop: asked between files; True ends the run early.
        only: of the pending files those that this condition means.
    """

    def __init__(
        self,
        bench: Bench,
        action: Action,
        worker: Alive,
        *,
        run_id: str | None,
        limit: int | None,
        progress: Progress | None,
        stop: Callable[[], bool] | None,
        only: Condition | None = None,
    ) -> None:
        self._bench = bench
        self._action = action
        self._worker = worker
        self._run_id = run_id
        self._budget = Budget(bench.config.limit, limit)
        self._progress = progress
        self._stop = stop
        self._only = only
        self._names: list[str] = []
        self._had: set[str] = set()
        self._started = time.monotonic()
        self._tally = Tally()
        self._stopped = False
        self._selected: int | None = None
        self._total = 0
        self._outcomes: list[Outcome] = []
        self._at_hand: dict[str, File] = {}
        self._broken_off = False
        self._last_settled = time.monotonic()
        self._redone: Counter[str] = Counter()

    def work(self, evaluation: Evaluation) -> RunReport:
        try:
            self._work_through()
            if self._tally.behind and self._ask_for_what_is_missing():
                self._work_through()
        except BaseException as error:
            self._broken_off = not isinstance(error, Exception)
            raise
        finally:
            self._give_back()
        return self._report(evaluation)

    def _work_through(self) -> None:
        while not self._finished():
            files = self._claim()
            if files is None:
                break
            if self._selected is None:  # not before the first claim, which takes back what dead workers held
                self._selected = len(files) + self._due()
                self._total = self._budget.at_most(self._selected)
            self._process(files)
            self._settle()
            if self._overtaken():
                self._bench.give_back(self._worker.name)
            self._at_hand.clear()

    def _ask_for_what_is_missing(self) -> bool:
        """Where the ledger has turned out to be an older copy: make due what it calls done and what was removed from the
        target since, or is there in another version. Gives whether there is any."""
        missing = look_for_results(self._bench, keep=MOST).named
        with self._bench.changing() as ledger:
            return ledger.retry(dead=False, files=list(missing)) > 0

    def _finished(self) -> bool:
        if self._stop is not None and self._stop():
            self._stopped = True
        return self._stopped or self._budget.spent

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

    def _claim(self) -> list[File] | None:
        """Claim a batch; None when nothing is pending."""
        size = self._budget.at_most(self._bench.config.batch_size)
        among = None if self._only is None else self._next_names(min(size, NAMED_AT_ONCE))
        if among == []:
            return None
        redone = [file for file, times in self._redone.items() if times >= REDONE_AT_MOST]
        self._worker.stay(wait=True)
        # Before it claims, for it may end at any time from here on.
        self._worker.lease.begin(boot_seconds() + self._bench.config.lease)
        files = self._bench.claim(size, self._worker.name, self._run_id, redone, among)
        if files is None and among is not None:
            return []  # another worker was faster; there may be more
        if among is not None:
            self._had.update(file.unique_value for file in files or ())
        self._budget.look_at(files or ())
        return files

    def _process(self, files: list[File]) -> None:
        undo = [file for file in files if claim_of(file).retract]
        do = [file for file in files if not claim_of(file).retract]
        for work, part in ((self._action.retract, undo), (self._action.process, do)):
            if not part:
                continue
            self._settle()  # what was undone frees its place for what comes
            self._action.prepare(part)
            if self._action.batched:
                while part and not (self._finished() or self._overtaken()):
                    count = self._budget.affordable(part)
                    self._take_up(part[:count])
                    self._note(self._within_time(work, part[:count]))
                    part = part[count:]
            elif self._bench.config.workers == 1:
                for file in part:
                    if self._finished() or self._overtaken():
                        return
                    self._take_up([file])
                    self._note(self._within_time(work, [file]))
            else:
                self._process_in_threads(work, part)

    def _process_in_threads(self, work: Work, files: list[File]) -> None:
        workers = self._bench.config.workers
        # As many wait as are at work, so that no thread has to wait for this one.
        ahead = workers if self._budget.counts_bytes else 2 * workers
        queue = iter(files)
        running: set[Future[list[Outcome]]] = set()
        ended: SimpleQueue[Future[list[Outcome]]] = SimpleQueue()
        with Threads[list[Outcome]](workers, f"mmmeta-{self._bench.config.name}") as threads, Caught() as caught:
            while True:
                over = self._finished() or self._overtaken()
                if over:
                    running = _begun(running)
                while not over and len(running) < ahead and (file := next(queue, None)) is not None:
                    future = threads.submit(partial(self._take_up_and_work, work, file))
                    running.add(future)
                    future.add_done_callback(ended.put)  # waiting for the first of them would cost more than many files
                if not running:
                    return
                ready = {future for future in _all_of(ended) if not future.cancelled()}
                running -= ready
                self._take(ready)
        running = _begun(running)
        # Ended early: what the threads have done, or cannot leave half done, must not count as untried.
        if isinstance(self._action, Interruptible):
            self._action.interrupt()
            ready = wait(running, INTERRUPTED).done
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

    def _within_time(self, work: Work, files: list[File]) -> list[Outcome]:
        """Work on files, each no longer than the job's ``timeout``.

        Nothing can end a Python function from outside. So it runs in a thread that is left to itself when the time is
        over: the run goes on, and what that thread does later counts for nothing.
        """
        timeout = self._bench.config.timeout
        if timeout is None or self._action.keeps_time:
            return work(files)
        answer: SimpleQueue[tuple[list[Outcome], BaseException | None]] = SimpleQueue()

        def call() -> None:
            outcomes: list[Outcome] = []
            with Caught() as caught:  # raised again where the run can see it
                outcomes = work(files)
            answer.put((outcomes, caught.error))

        thread = threading.Thread(target=call, name=f"mmmeta-{self._bench.config.name}", daemon=True)
        thread.start()
        limit = timeout * len(files)
        over = time.monotonic() + limit
        while thread.is_alive() and (left := over - time.monotonic()) > 0:
            thread.join(min(left, LONGEST_WAIT))
        try:
            outcomes, problem = answer.get_nowait()
        except Empty:
            message = f"took longer than {format_duration(limit)}, the job's timeout, and was left behind"
            return [Outcome(claim_of(file), "TimeoutError", message) for file in files]
        if problem is not None:
            raise problem
        return outcomes

    def _take_up(self, files: list[File]) -> None:
        """Before work on files begins; until their outcomes are recorded they are at hand."""
        self._at_hand.update({file.unique_value: file for file in files})

    def _take_up_and_work(self, work: Work, file: File) -> list[Outcome]:
        """In a thread: what waits for one is not at hand yet."""
        self._take_up([file])
        return self._within_time(work, [file])

    def _note(self, outcomes: list[Outcome]) -> None:
        self._outcomes.extend(outcomes)
        self._budget.spend(outcomes)
        if time.monotonic() - self._last_settled >= SETTLE_EVERY:
            self._settle()

    def _settle(self) -> None:
        if not self._outcomes:
            return
        settled = self._bench.settle(self._outcomes, self._run_id, self._worker.name)
        self._outcomes = []  # not before they are committed: else what was done would be done again
        for entry in settled:
            self._at_hand.pop(entry.outcome.claim.file, None)
            if entry.status == "pending":
                self._redone[entry.outcome.claim.file] += 1
            self._tally.count(entry)
        self._last_settled = time.monotonic()
        if self._progress is not None:
            self._progress(self._bench.config.name, self._tally.total, self._total)

    def _give_back(self) -> None:
        """Record what is finished and release what is not, also on the way out of an interrupted run."""
        try:
            self._settle()
            if self._broken_off and self._at_hand:
                self._bench.break_off([claim_of(file) for file in self._at_hand.values()])
        finally:  # what could not be recorded is at least not held until the lease ends
            self._bench.give_back(self._worker.name, trim=True)

    def _report(self, evaluation: Evaluation) -> RunReport:
        status = self._bench.status()
        return RunReport(
            job=self._bench.config.name,
            selected=self._due() if self._selected is None else self._selected,
            left=evaluation.left,
            attempted=self._tally.attempted,
            **self._tally.counts,
            pending=status.pending,
            due_later=status.due_later,
            all_dead=status.dead,
            bytes=self._tally.bytes,
            duration=time.monotonic() - self._started,
            failures=tuple(self._tally.failures),
            stopped=self._stopped,
            run_id=self._run_id,
            behind=self._tally.behind,
            waiting=self._bench.waiting() if status.postponed else (),
            elsewhere=self._bench.elsewhere(),
        )


def _begun(futures: set[Future[list[Outcome]]]) -> set[Future[list[Outcome]]]:
    """Those that were begun; the others are called off."""
    return {future for future in futures if not future.cancel()}


def _all_of(queue: SimpleQueue[Future[list[Outcome]]]) -> set[Future[list[Outcome]]]:
    """What is in a queue; waits a moment where it is empty."""
    found: set[Future[list[Outcome]]] = set()
    with suppress(Empty):
        found.add(queue.get(timeout=LONGEST_WAIT))
        while True:
            found.add(queue.get_nowait())
    return found
