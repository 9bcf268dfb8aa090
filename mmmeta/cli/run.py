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

from mmmeta.cli.group import dry_run_option, json_option, one_line, settings_options
from mmmeta.cli.job_names import choose_jobs
from mmmeta.cli.targets import Target, act_on, find_targets

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
class Options:
    """What was typed, and the id under which the ledger remembers this run."""

    limit: int | None
    exclusive: bool
    dry_run: bool
    as_json: bool
    stop: Stop = field(default_factory=Stop)
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))


@click.command("run")
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--exclusive", is_flag=True, help="Refuse to start while another run is at work on the metadir.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Process at most N files a job, this time.")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def verb(
    ctx: click.Context, jobs: tuple[str, ...], exclusive: bool, limit: int | None, dry_run: bool, as_json: bool
) -> None:
    """Update, then run the jobs of the project file: the one line for cron.

    Without JOB all jobs run, in the order of the project file. A job is named `archive/extract`, or `extract` where
    only one metadir has a job of that name. A second run beside this one shares the work. Ctrl-C and SIGTERM end the
    run after the files at hand; what is left stays pending.

    \b
    Examples:
      mmmeta run
      mmmeta run archive/download_contracts --limit 100
      */15 * * * *  cd /srv/archive && mmmeta run --exclusive
    """
    with _signals() as stop:
        options = Options(limit, exclusive, dry_run, as_json, stop)
        chosen = choose_jobs(find_targets(ctx), jobs)
        try:
            act_on(ctx, list(chosen), lambda target: 0 if stop() else _run(target, chosen[target], options))
        except click.exceptions.Exit:
            if not stop():  # that it was stopped says more than that files failed
                raise
    if stop.signal_number is not None:
        ctx.exit(128 + stop.signal_number)


def _run(target: Target, names: list[str], options: Options) -> int:
    """One metadir: update, then its jobs. Returns the exit code that this part asks for."""
    from mmmeta.cli.lock import run_lock
    from mmmeta.cli.output import echo_report, note
    from mmmeta.cli.progress import progress_bar
    from mmmeta.cli.update import tell

    code = 0
    with target.open() as metadir, run_lock(metadir.layout, exclusive=options.exclusive, dry_run=options.dry_run):
        with progress_bar() as progress:
            update = metadir.update(dry_run=options.dry_run, progress=progress)
        if not options.as_json:
            tell(target, update)
            if not target.jobs:
                where = f"{target.project} has none for it" if target.project else "there is no project file"
                note(f"  no jobs: {where}")
        results: list[dict[str, Any]] = []
        for name in names:
            if options.stop():
                break
            result, worse = _job(target, metadir, name, options)
            results.append({"job": name, **result})
            code = max(code, worse, key=(0, 3, 1).index)
    if options.as_json:
        echo_report(target, {"update": update, "jobs": results})
    return code


def _job(target: Target, metadir: Metadir, name: str, options: Options) -> tuple[dict[str, Any], int]:
    """One job; its result for programs, and the exit code that it asks for. One that cannot run stops no other."""
    from mmmeta.cli.output import note_error, say

    try:
        if not options.dry_run:
            return _process(target, metadir.job(name), options)
        if metadir.is_client:
            return _plan(target, metadir.job(name), options)
        if not options.as_json:
            say(f"{target.name}/{name}: not known before the first update")
        return {"files": None}, 0
    except Exception as error:
        message = one_line(error)
        if message is None:
            raise
        note_error(f"{target.name}/{name}", message)
        return {"error": message}, 1


def _process(target: Target, job: Job, options: Options) -> tuple[dict[str, Any], int]:
    from mmmeta.cli.output import plain
    from mmmeta.cli.progress import progress_bar

    with progress_bar(f"{target.name}/") as progress:
        report = job.run(run_id=options.run_id, limit=options.limit, progress=progress, stop=options.stop)
    if not options.as_json:
        _tell(target, job, report)
    return plain(report), _exit_code(job, report)


def _exit_code(job: Job, report: RunReport) -> int:
    """3 when files failed; 1 when they are more than the job's ``fail_run_above`` allows."""
    most = job.config.fail_run_above
    if most is not None and report.failed_share > most:
        return 1
    return 3 if report.failed or report.dead else 0


def _tell(target: Target, job: Job, report: RunReport) -> None:
    from mmmeta.cli.output import counts, listing, say
    from mmmeta.quantities import format_duration

    done = counts(done=report.done, undone=report.retracted, failed=report.failed, dead=report.dead, lost=report.lost)
    left = counts(still_pending=report.pending, due_later=report.due_later)
    rest = "" if left == "nothing" else f"; {left}"
    did = "nothing to do" if done == "nothing" else done
    stopped = ", stopped" if report.stopped else ""
    # Where something was done, by which run: `mmmeta jobs history --run` tells the rest.
    run = f", run {report.run_id[:8]}" if report.attempted and report.run_id else ""
    say(f"{target.name}/{job.name}: {did}{rest} ({format_duration(report.duration)}{stopped}{run})")
    failures = [f"  {failure.file}: {failure.error_type}: {failure.message}" for failure in report.failures]
    listing(f"  failed in {target.name}/{job.name}:", failures)


def _plan(target: Target, job: Job, options: Options) -> tuple[dict[str, Any], int]:
    """What a job would do with what is merged so far."""
    from mmmeta.cli.jobs_plan import tell
    from mmmeta.cli.output import plain

    plan = job.plan()
    if not options.as_json:
        tell(f"{target.name}/{job.name}", job, plan)
    return plain(plan), 0 if plan.problem is None else 1


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
