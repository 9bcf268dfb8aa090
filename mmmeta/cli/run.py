"""``mmmeta run``: update, then the jobs; made to be called by cron as often as one likes."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import click

from mmmeta.cli.at_work import JobResult, Stop, process, signals
from mmmeta.cli.health import find_problems, for_programs, health_line
from mmmeta.cli.jobs.names import JobName, jobs_to_run
from mmmeta.cli.jobs.plan import tell_plan
from mmmeta.cli.lock import run_lock
from mmmeta.cli.options import dry_run_option, json_option, settings_options
from mmmeta.cli.output import echo_report, note, plain, say
from mmmeta.cli.problems import DONE, ERROR, WITH_PROBLEMS, act_on, note_error, worst
from mmmeta.cli.progress import progress_bar
from mmmeta.cli.targets import Target, find_targets
from mmmeta.cli.update import Waiting, tell_update, tell_waiting, update_or_wait

if TYPE_CHECKING:
    from mmmeta.jobs.job import Job
    from mmmeta.metadir import Metadir


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
    with signals() as stop:
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
            job = metadir.job(name.name)
            work = partial(job.run, run_id=invocation.run_id, limit=invocation.limit, stop=invocation.stop)
            return process(job, name, work, quiet=invocation.quiet, as_json=invocation.as_json)
        if metadir.is_client:
            return _plan(metadir.job(name.name), name, invocation)
        if not invocation.as_json:
            say(f"{name.full}: not known before the first update")
        return JobResult(name.name, {"files": None}, DONE)
    except Exception as error:
        return JobResult(name.name, {"error": note_error(name.full, error)}, ERROR)


def _plan(job: Job, name: JobName, invocation: Invocation) -> JobResult:
    """What the job would do with what is merged so far."""
    plan = job.plan()
    if not invocation.as_json:
        tell_plan(name, job, plan)
    return JobResult(name.name, plain(plan), DONE if plan.problem is None else ERROR)
