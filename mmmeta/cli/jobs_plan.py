"""``mmmeta jobs plan``: what a run would do, before anything happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mmmeta.cli.group import json_option, one_line, settings_options
from mmmeta.cli.job_names import JobName, find_jobs, ledger_jobs
from mmmeta.cli.targets import Target, act_on, find_targets
from mmmeta.errors import MmmetaError

if TYPE_CHECKING:
    from mmmeta.jobs.job import Job, Plan


@click.command("plan")
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@json_option
@settings_options
@click.pass_context
def plan(ctx: click.Context, jobs: tuple[str, ...], as_json: bool) -> None:
    """Say what a run would do: files and bytes, and what a changed definition changes.

    It looks at what is merged, and writes nothing; without JOB at all jobs. Of a job that was made in Python or by a
    component it knows selection and rules from its last run, and no limit.

    \b
    Examples:
      mmmeta jobs plan
      mmmeta jobs plan archive/import_recent --json

    \b
    --json, a line a job: {metadir, path, job, files, bytes, newly_selected,
      left, left_done, retract, changed, redefined, lacking: {key: files},
      condition_words, outdated, problem}
    """
    chosen = find_jobs(ctx, jobs) if jobs else [name for target in find_targets(ctx) for name in _all(target)]

    def show(target: Target) -> int:
        from mmmeta.cli.output import echo_report, note_error, plain

        code = 0
        with target.open() as metadir:
            metadir.require_state()
            for name in (name for name in chosen if name.target is target):
                try:
                    job = name.of(metadir)
                    found = job.plan()
                except MmmetaError as error:  # what is wrong with one job is no reason to say nothing of the others
                    note_error(name.full, one_line(error) or "")
                    code = 1
                    continue
                code = 1 if found.problem is not None else code
                if as_json:
                    echo_report(target, {"job": name.name, **plain(found)})
                else:
                    tell(name.full, job, found)
        return code

    act_on(ctx, list(dict.fromkeys(name.target for name in chosen)), show)


def _all(target: Target) -> list[JobName]:
    """The jobs of the project file; where none describes the metadir, those that have run there."""
    return [JobName(target, name) for name in target.jobs or (() if target.config else ledger_jobs(target))]


def tell(name: str, job: Job, plan: Plan) -> None:
    """A plan in sentences."""
    from mmmeta.cli.output import files_text, say
    from mmmeta.quantities import format_size

    size = "" if plan.bytes is None else f" ({format_size(plan.bytes)})"
    known = " of what is merged; new metadata is not counted until `mmmeta update`" if plan.outdated else ""
    say(f"{name}: would process {files_text(plan.files)}{size}{known}")
    lines = [f"selection: {plan.condition_words}"]
    if plan.changed:
        done = f", {plan.left_done:,} of them done" if plan.left_done else ""
        lines.append(
            f"changed since it was last evaluated: {files_text(plan.newly_selected)} newly eligible, "
            f"{plan.left + plan.left_done:,} no longer{done}; what is done stays done"
        )
    elif plan.left:
        lines.append(f"set aside, because deleted: {files_text(plan.left)}")
    if plan.redefined:
        lines.append(
            "the action, its target or a rule changed: what is done stays done; to do it again: "
            f"`mmmeta jobs retry {name} FILE…`, or `mmmeta jobs forget {name}` for all of it"
        )
    if plan.retract:
        lines.append(f"to be undone, because deleted: {files_text(plan.retract)}")
    limit = job.config.limit
    if limit is not None and limit.files is not None and limit.files < plan.files:
        lines.append(f"at most {files_text(limit.files)} a run, so the rest waits for the next")
    if limit is not None and limit.bytes is not None and (plan.bytes or 0) > limit.bytes:
        lines.append(f"at most {format_size(limit.bytes)} a run, so the rest waits for the next")
    lines += [f"no {key}: {files_text(count)} cannot match" for key, count in plan.lacking.items()]
    if plan.problem is not None:
        lines.append(f"cannot run: {plan.problem}")
    for line in lines:
        say(f"  {line}")
