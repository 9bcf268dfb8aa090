"""One job at work on the command line: the signals that end it, what it says, and the exit code that it asks for."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from mmmeta.cli.jobs.names import JobName, note_dead, note_elsewhere
from mmmeta.cli.output import counts_text, listing, note, plain, say, waiting_text
from mmmeta.cli.problems import DONE, ERROR, WITH_PROBLEMS, failure_text
from mmmeta.cli.progress import progress_bar
from mmmeta.quantities import format_duration

if TYPE_CHECKING:
    from mmmeta.jobs.job import Job, RunReport


@dataclass
class Stop:
    """Whether a signal asked the run to end; jobs look at it between files.

    Attributes:
        signal_number: the signal that came, None while none did.
    """

    signal_number: int | None = None

    def __call__(self) -> bool:
        return self.signal_number is not None


@dataclass(frozen=True)
class JobResult:
    """What became of one job.

    Attributes:
        report: for programs.
        code: the exit code that it asks for.
        news: whether it is worth a line where nobody wants to hear that nothing happened.
    """

    job: str
    report: dict[str, Any]
    code: int
    news: bool = True


def process(job: Job, name: JobName, work: Callable[..., RunReport], *, quiet: bool, as_json: bool) -> JobResult:
    """Let a job work, and say what it did.

    Args:
        work: does it; takes ``progress``.
        quiet: say nothing where nothing happened and nothing is wrong.
    """
    with progress_bar(f"{name.target.name}/", shown=not quiet) as progress:
        report = work(progress=progress)
    code = _exit_code(job, report)
    happened = bool(
        report.attempted or report.lost or report.postponed or report.left or report.stopped or report.behind_words
    )
    news = not quiet or happened or code != DONE or report.elsewhere is not None
    if not as_json and news:
        _tell(name, report)
    return JobResult(name.name, plain(report), code, news)


def _exit_code(job: Job, report: RunReport) -> int:
    """An error only where more files failed than the job's ``fail_run_above`` allows; as long as dead files wait for a
    person, there are problems."""
    most = job.config.fail_run_above
    if most is not None and report.failed_share > most:
        return ERROR
    return WITH_PROBLEMS if report.failed or report.dead or report.all_dead else DONE


def _tell(name: JobName, report: RunReport) -> None:
    done = counts_text(
        {
            "done": report.done,
            "undone": report.retracted,
            "failed": report.failed,
            "dead": report.dead,
            "lost": report.lost,
            "postponed": report.postponed,
        }
    )
    dead_before = max(0, report.all_dead - report.dead)
    left = counts_text({"still pending": report.pending, "due later": report.due_later, "dead before": dead_before})
    facts = [format_duration(report.duration)]
    if report.stopped:
        facts.append("stopped")
    if report.attempted and report.run_id:
        # Where something was done, by which run: `mmmeta jobs history --run` tells the rest.
        facts.append(f"run {report.run_id[:8]}")
    say(f"{name.full}: {'; '.join(filter(None, [done or 'nothing to do', left]))} ({', '.join(facts)})")
    for one in report.waiting:
        note(f"  {name.full}: {waiting_text(one)}")
    failures = [f"  {failure.file}: {failure_text(failure.error_type, failure.message)}" for failure in report.failures]
    listing(f"  failed in {name.full}:", failures)
    if report.behind_words is not None:
        note(f"  {report.behind_words}")
    if report.all_dead:
        note_dead(name.full, indent="  ")
    if report.elsewhere is not None:
        note_elsewhere(name.full, report.elsewhere, indent="  ")


@contextmanager
def signals() -> Iterator[Stop]:
    """The first SIGINT or SIGTERM asks for the end, a second one ends at once."""
    stop = Stop()
    before: dict[signal.Signals, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, frame: FrameType | None) -> None:
        if stop():
            # On the way out, claims are given back untried.
            restore()
            raise SystemExit(128 + number)
        stop.signal_number = number
        click.echo("Stopping after the files at hand; once more to end at once.", err=True)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, ask)
    except ValueError:  # not in the main thread: the caller has its own way to stop
        pass
    try:
        yield stop
    finally:
        restore()
