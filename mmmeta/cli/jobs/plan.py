"""``mmmeta jobs plan``: what a run would do, before anything happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mmmeta.cli.jobs.names import JobName, act_on_jobs, find_jobs, ledger_jobs, project_jobs
from mmmeta.cli.options import json_option, settings_options
from mmmeta.cli.output import echo_report, files_text, plain, say
from mmmeta.cli.problems import DONE, ERROR, note_error, worst
from mmmeta.cli.targets import Target, find_targets
from mmmeta.errors import MmmetaError
from mmmeta.quantities import format_size
from mmmeta.values import json_text

if TYPE_CHECKING:
    from mmmeta.jobs.job import Job, Plan
    from mmmeta.metadir import Metadir
    from mmmeta.state.candidates import Mismatch

WIDTH = 40
"""Letters of a value that is named; a longer one is cut."""


@click.command("plan")
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, jobs: tuple[str, ...], as_json: bool) -> None:
    """Say what a run would do: files and bytes, and what a changed definition changes.

    It looks at what is merged, and writes nothing; without JOB at all jobs. Of a job that was made in Python or by a
    component it knows selection and rules from its last run, and no limit.

    \b
    Examples:
      mmmeta jobs plan
      mmmeta jobs plan archive/import_recent --json

    \b
    --json, a line a job: {metadir, path, job, files, bytes, newly_selected,
      left, left_done, retract, same, changed, redefined, lacking: {key: files},
      never_again, without_content, mismatched: [{key, what, files, such_as:
      {file: value}}], condition_words, outdated, elsewhere, problem}
    """

    def show(target: Target, names: list[JobName]) -> int:
        with target.open() as metadir:
            metadir.require_state()
            return worst([_show(metadir, name, as_json) for name in names])

    chosen = find_jobs(ctx, jobs) if jobs else [name for target in find_targets(ctx) for name in _all(target)]
    act_on_jobs(ctx, chosen, show)


def _all(target: Target) -> list[JobName]:
    """The jobs of the project file; where none describes the metadir, those that have run there."""
    return project_jobs(target) or ([] if target.config else ledger_jobs(target))


def _show(metadir: Metadir, name: JobName, as_json: bool) -> int:
    try:
        job = name.find_in(metadir)
        plan = job.plan()
    except MmmetaError as error:  # what is wrong with one job is no reason to say nothing of the others
        note_error(name.full, error)
        return ERROR
    if as_json:
        echo_report(name.target, {"job": name.name, **plain(plan)})
    else:
        tell_plan(name, job, plan)
    return DONE if plan.problem is None else ERROR


def tell_plan(name: JobName, job: Job, plan: Plan) -> None:
    """A plan in sentences."""
    size = "" if plan.bytes is None else f" ({format_size(plan.bytes)})"
    work = f"{name.full}: would process {files_text(plan.files)}{size}"
    say(f"{work} of what is merged; new metadata is not counted until `mmmeta update`" if plan.outdated else work)
    for sentence in _sentences(name, job, plan):
        say(f"  {sentence}")


def _sentences(name: JobName, job: Job, plan: Plan) -> list[str]:
    from mmmeta.jobs.elsewhere import what_to_do

    sentences = [f"selection: {plan.condition_words}"]
    if plan.changed:
        done = f", {plan.left_done:,} of them done" if plan.left_done else ""
        sentences.append(
            f"changed since it was last evaluated: {files_text(plan.newly_selected)} newly eligible, "
            f"{plan.left + plan.left_done:,} no longer{done}; what is done stays done"
        )
    elif plan.left:
        sentences.append(f"set aside, because deleted: {files_text(plan.left)}")
    if plan.elsewhere is not None:
        sentences += [plan.elsewhere, what_to_do(name.full)]
    elif plan.redefined:
        sentences.append(
            "the action, its target or a rule changed: what is done stays done; to do it again: "
            f"`mmmeta jobs retry {name.full} FILE…`, or `mmmeta jobs forget {name.full}` for all of it"
        )
    if plan.retract:
        sentences.append(f"to be undone, because deleted: {files_text(plan.retract)}")
    if plan.same:
        sentences.append(
            f"set aside, because another file with the same {job.config.once_per} is done instead: {files_text(plan.same)}"
        )
    limit = job.config.limit
    if limit is not None and limit.files is not None and limit.files < plan.files:
        sentences.append(f"at most {files_text(limit.files)} a run, so the rest waits for the next")
    if limit is not None and limit.bytes is not None and (plan.bytes or 0) > limit.bytes:
        sentences.append(f"at most {format_size(limit.bytes)} a run, so the rest waits for the next")
    sentences += [f"no {key}: {files_text(count)} cannot match" for key, count in plan.lacking.items()]
    if plan.never_again is not None:
        sentences.append(f"what is done comes again only if a person says so: {plan.never_again}")
    if plan.without_content:
        sentences.append(
            f"without a content key: {files_text(plan.without_content)}; any change of their metadata makes them due again"
        )
    sentences += [_of_mismatch(mismatch) for mismatch in plan.mismatched]
    if plan.problem is not None:
        sentences.append(f"cannot run: {plan.problem}")
    return sentences


def _of_mismatch(mismatch: Mismatch) -> str:
    texts = {file: json_text(value) for file, value in mismatch.such_as.items()}
    such_as = ", ".join(
        f"{file}: {text if len(text) <= WIDTH else text[: WIDTH - 1] + '…'}" for file, text in texts.items()
    )
    return f"{mismatch.key} {mismatch.what}: {files_text(mismatch.files)} cannot match, such as {such_as}"
