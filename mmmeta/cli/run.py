"""``mmmeta run``: update, then the jobs; made to be called by cron as often as one likes."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from mmmeta.cli.health import find_problems, for_programs, health_line
from mmmeta.cli.jobs.names import JobName, jobs_to_run, note_dead, note_elsewhere
from mmmeta.cli.jobs.plan import tell_plan
from mmmeta.cli.lock import run_lock
from mmmeta.cli.options import dry_run_option, json_option, settings_options
from mmmeta.cli.output import counts_text, echo_report, listing, note, plain, say, waiting_text
from mmmeta.cli.problems import DONE, ERROR, WITH_PROBLEMS, act_on, failure_text, note_error, worst
from mmmeta.cli.progress import progress_bar
from mmmeta.cli.targets import Target, find_targets
from mmmeta.cli.update import Waiting, tell_update, tell_waiting, update_or_wait
from mmmeta.quantities import format_duration

if TYPE_CHECKING:
    from mmmeta.jobs.job import Job, RunReport
    from mmmeta.metadir import Metadir


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
class Invocation:
    """What was typed, and the id under which the ledger remembers this run."""

    limit: int | None
    exclusive: bool
    dry_run: bool
    as_json: bool
    quiet: bool = False
    stop: Stop = field(default_factory=Stop)
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))


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


@click.command("run")
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--exclusive", is_flag=True, help="Refuse to start while another run is at work on the metadir.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Process at most N files a job, this time.")
@click.option("--quiet", is_flag=True, help="Say nothing where nothing happened and nothing is wrong.")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def verb(
    ctx: click.Context,
    jobs: tuple[str, ...],
    exclusive: bool,
    limit: int | None,
    quiet: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Update, then run the jobs of the project file: the one line for cron.

    Without JOB all jobs run, in the order of the project file. A job is named `archive/extract`, or `extract` where
    only one metadir has a job of that name. A second run beside this one shares the work. Ctrl-C and SIGTERM end the
    run after the files at hand; what is left stays pending. It ends with 3 where files failed, and as long as
    something needs a person, as `mmmeta status --check` says it: dead files, files that wait for too long, results that
    are not in place, a changed job about which nobody has decided.

    \b
    Examples:
      mmmeta run
      mmmeta run archive/download_contracts --limit 100
      */15 * * * *  cd /srv/archive && mmmeta run --exclusive --quiet
    """
    with _signals() as stop:
        invocation = Invocation(limit, exclusive, dry_run, as_json, quiet, stop)
        chosen = jobs_to_run(find_targets(ctx), jobs)
        try:
            act_on(ctx, list(chosen), lambda target: DONE if stop() else _run(target, chosen[target], invocation))
        except click.exceptions.Exit:
            if not stop():  # that it was stopped says more than that files failed
                raise
    if stop.signal_number is not None:
        ctx.exit(128 + stop.signal_number)


def _run(target: Target, names: list[JobName], invocation: Invocation) -> int:
    """One metadir: update, then its jobs. Returns the exit code that this part asks for."""
    from mmmeta.health.checks import DEAD
    from mmmeta.state.update import NOTHING_NEW

    with target.open() as metadir, run_lock(metadir.layout, exclusive=invocation.exclusive, dry_run=invocation.dry_run):
        with progress_bar(shown=not invocation.quiet) as progress:
            update = update_or_wait(metadir, dry_run=invocation.dry_run, progress=progress)
        if isinstance(update, Waiting):
            news = True
        else:
            news = not invocation.quiet or update.how != NOTHING_NEW or bool(update.notes)
        if not invocation.as_json and news:
            if isinstance(update, Waiting):
                tell_waiting(target, update)
            else:
                tell_update(target, update)
            if not target.jobs:
                note(f"  {target.without_jobs}")
        results = []
        for name in names:
            if invocation.stop():
                break
            results.append(_job(metadir, name, invocation))
        # A job that could not run has said why.
        ran = [result.job for result in results if result.code != ERROR]
        problems = [] if invocation.dry_run or invocation.stop() else find_problems(target, metadir, ran)
    if not invocation.as_json:
        for problem in problems:
            if problem.check != DEAD and not any(
                problem.job == one.job and one.report.get("elsewhere") for one in results
            ):
                note(f"  {health_line(target, problem)}")
    elif news or problems or any(result.news for result in results):
        jobs = [{"job": result.job, **result.report} for result in results]
        unhealthy = [for_programs(target, problem) for problem in problems]
        echo_report(target, {"update": update, "jobs": jobs, "unhealthy": unhealthy})
    return worst([*(result.code for result in results), WITH_PROBLEMS if problems else DONE])


def _job(metadir: Metadir, name: JobName, invocation: Invocation) -> JobResult:
    """Run one job, or in a dry run plan it. One that cannot run stops no other."""
    try:
        if not invocation.dry_run:
            return _process(metadir.job(name.name), name, invocation)
        if metadir.is_client:
            return _plan(metadir.job(name.name), name, invocation)
        if not invocation.as_json:
            say(f"{name.full}: not known before the first update")
        return JobResult(name.name, {"files": None}, DONE)
    except Exception as error:
        return JobResult(name.name, {"error": note_error(name.full, error)}, ERROR)


def _process(job: Job, name: JobName, invocation: Invocation) -> JobResult:
    with progress_bar(f"{name.target.name}/", shown=not invocation.quiet) as progress:
        report = job.run(run_id=invocation.run_id, limit=invocation.limit, progress=progress, stop=invocation.stop)
    code = _exit_code(job, report)
    happened = bool(
        report.attempted or report.lost or report.postponed or report.left or report.stopped or report.behind_words
    )
    news = not invocation.quiet or happened or code != DONE or report.elsewhere is not None
    if not invocation.as_json and news:
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


def _plan(job: Job, name: JobName, invocation: Invocation) -> JobResult:
    """What the job would do with what is merged so far."""
    plan = job.plan()
    if not invocation.as_json:
        tell_plan(name, job, plan)
    return JobResult(name.name, plain(plan), DONE if plan.problem is None else ERROR)


@contextmanager
def _signals() -> Iterator[Stop]:
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
