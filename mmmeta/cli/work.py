"""``mmmeta work``: help with what is due, without update and without evaluation."""

from __future__ import annotations

import uuid
from functools import partial

import click

from mmmeta.cli.at_work import JobResult, Stop, process, signals
from mmmeta.cli.jobs.names import JobName, jobs_to_run
from mmmeta.cli.options import json_option, settings_options
from mmmeta.cli.output import echo_report, note
from mmmeta.cli.problems import DONE, ERROR, act_on, note_error, worst
from mmmeta.cli.targets import Target, find_targets


@click.command("work")
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Process at most N files a job, this time.")
@click.option("--quiet", is_flag=True, help="Say nothing where nothing happened and nothing is wrong.")
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, jobs: tuple[str, ...], limit: int | None, quiet: bool, as_json: bool) -> None:
    """Help with what is due, until nothing is: no update, no evaluation.

    What is due an update or a run has found, here or, where the state is in PostgreSQL, on any machine: then nothing is needed here
    but the project file. Any number of processes may work at once, and each file is in the hands of one. Without JOB it helps
    with all jobs of the project file, in their order there. A worker whose project file defines a job otherwise than it was
    evaluated says so and leaves it alone. Ctrl-C and SIGTERM end it after the files at hand. It ends with 3 where files failed.

    \b
    Examples:
      mmmeta update && (mmmeta work & mmmeta work & wait)
      mmmeta work archive/extract --limit 100
    """
    with signals() as stop:
        run_id = str(uuid.uuid4())
        chosen = jobs_to_run(find_targets(ctx), jobs)

        def act(target: Target) -> int:
            return DONE if stop() else _work(target, chosen[target], run_id, limit, stop, quiet=quiet, as_json=as_json)

        try:
            act_on(ctx, list(chosen), act)
        except click.exceptions.Exit:
            if not stop():  # that it was stopped says more than that files failed
                raise
    if stop.signal_number is not None:
        ctx.exit(128 + stop.signal_number)


def _work(
    target: Target, names: list[JobName], run_id: str, limit: int | None, stop: Stop, *, quiet: bool, as_json: bool
) -> int:
    """The jobs of one metadir. Returns the exit code that this part asks for."""
    if not names and not quiet and not as_json:
        note(f"{target.name}: {target.without_jobs}")
    results: list[JobResult] = []
    with target.open(worker=True) as metadir:
        metadir.require_ledger()
        for name in names:
            if stop():
                break
            try:
                job = metadir.job(name.name)
                work = partial(job.work, run_id=run_id, limit=limit, stop=stop)
                results.append(process(job, name, work, quiet=quiet, as_json=as_json))
            except Exception as error:  # one that cannot work stops no other
                results.append(JobResult(name.name, {"error": note_error(name.full, error)}, ERROR))
    if as_json and (not quiet or any(result.news for result in results)):
        echo_report(target, {"jobs": [{"job": result.job, **result.report} for result in results]})
    return worst([DONE, *(result.code for result in results)])
