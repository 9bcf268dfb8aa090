"""``mmmeta status``: where a client stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from mmmeta.cli.health import for_programs, health_line, limits_of
from mmmeta.cli.options import json_option, settings_options
from mmmeta.cli.output import echo_report, files_text, moment_text, plain, say
from mmmeta.cli.problems import DONE, WITH_PROBLEMS, act_on
from mmmeta.cli.tables import draw_table
from mmmeta.cli.targets import Target, find_targets

if TYPE_CHECKING:
    from datetime import datetime

    from mmmeta.health.checks import Finding
    from mmmeta.inspection import DatabaseFacts, Inspection
    from mmmeta.metadir import Metadir
    from mmmeta.state.status import JobStatus, Status

COLUMNS = ("pending", "claimed", "done", "failed", "postponed", "dead", "skipped")
"""Numbers of files in the table of jobs, in the order of its columns: fields of ``JobStatus``."""

ALWAYS = ("pending", "done", "failed")
"""The columns that everybody asks about; the others are there only where a job has such files."""


@click.command("status")
@click.option(
    "--check", "checking", is_flag=True, help="Only what needs a person, a line each; exit code 3 if anything does."
)
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, checking: bool, as_json: bool) -> None:
    """Say what is merged, what is outdated, and how far each job is.

    It looks into the databases and writes nothing; job counts are those of the last update. When it was published the
    server's clock says, the other times are this machine's.

    With --check it says instead what needs a person, by the limits under `checks` of the project file, as Dagster's
    asset checks do, each with the command that mends it: dead files, files that wait for too long, a copy that is old
    or not merged, results that are not in place, a changed job about which nobody has decided.

    \b
    Examples:
      mmmeta status
      mmmeta status --json | jq .jobs
      mmmeta status --check > report 2>&1 || mail -s "archive" me@example.org < report

    \b
    --check --json adds {problems, checks: [{job, check, passed, words, numbers,
      command, remedy}]} to the line
    """

    from mmmeta.health.checks import examine

    def status(target: Target) -> int:
        with target.open() as metadir:
            findings = examine(metadir, limits_of(target)) if checking else []
            problems = [finding for finding in findings if not finding.found.passed]
            if as_json or not checking:
                _show(target, metadir, as_json, findings if checking else None)
            else:
                if not metadir.is_client:
                    _require_something(metadir)
                for finding in problems:
                    say(health_line(target, finding))
                if not problems:
                    say(f"{target.name}: nothing needs you")
        return WITH_PROBLEMS if problems else DONE

    act_on(ctx, find_targets(ctx), status)


def _require_something(metadir: Metadir) -> bool | None:
    """Whether something was not merged yet. Asked with neither database as well, and with a damaged one: it is the error
    that says what is missing or broken."""
    return metadir.is_outdated if metadir.layout.has_metadata or not metadir.is_client else None


def _show(target: Target, metadir: Metadir, as_json: bool, findings: Sequence[Finding] | None) -> None:
    inspection = metadir.inspect()
    # What cannot be read is a finding as any other, and hides none.
    unreadable = findings is not None and metadir.is_client and inspection.metadata_db is None
    outdated = None if unreadable else _require_something(metadir)
    if inspection.is_server and inspection.state_db is None:
        outdated = None  # a server does not have to merge what it published
    status = metadir.status() if metadir.is_client else None
    jobs = {} if status is None else status.jobs
    if not as_json:
        _tell(target, inspection, outdated, status)
        return
    checks = None if findings is None else [for_programs(target, finding) for finding in findings]
    more = {} if checks is None else {"problems": sum(not one["passed"] for one in checks), "checks": checks}
    echo_report(
        target,
        {
            "is_server": inspection.is_server,
            "is_client": inspection.is_client,
            "outdated": outdated,
            "stale": _is_stale(inspection, status),
            "published": _facts(inspection.metadata_db),
            # What was merged is named as what was published, so that both can be compared; the state db's own id is
            # what receipts in a target carry.
            "merged": None if status is None else {**(_facts(inspection.state_db) or {}), "id": status.metadata_id},
            **plain(inspection.moments),
            "state_id": None if status is None else status.state_id,
            "shadowed": inspection.shadowed,
            "jobs": jobs,
            "not_run_yet": [name for name in target.jobs if name not in jobs],
            **more,
        },
    )


def _facts(facts: DatabaseFacts | None) -> dict[str, Any] | None:
    """The numbers of a database; the rest is what `mmmeta inspect` tells."""
    names = ("id", "revision", "files", "deleted")
    return None if facts is None else {name: getattr(facts, name) for name in names}


def _tell(target: Target, inspection: Inspection, outdated: bool | None, status: Status | None) -> None:
    jobs = {} if status is None else status.jobs
    moments = inspection.moments
    rows: list[tuple[str, object]] = [
        ("path", target.path),
        (
            "published",
            _revision(inspection.metadata_db, "cannot be read" if _unreadable(inspection) else "nothing here")
            + _when(moments.published_at),
        ),
    ]
    if moments.synced_at is not None:
        rows.append(("synced", moment_text(moments.synced_at)))
    rows += [
        ("merged", _revision(inspection.state_db, "never updated") + _when(moments.merged_at)),
        ("outdated", _outdated_text(inspection, outdated, status)),
    ]
    if status is not None and names_of(target, jobs):
        rows.append(("run last", moment_text(moments.run_at) or "not known"))
    if inspection.shadowed:
        rows.append(("shadowed keys", ", ".join(inspection.shadowed)))
    draw_table([target.name, ""], rows)
    if names := names_of(target, jobs):
        say()
        _draw_jobs(names, jobs)


def names_of(target: Target, jobs: Mapping[str, JobStatus]) -> list[str]:
    """The jobs of the project file, then those that only the ledger knows."""
    return list(dict.fromkeys([*target.jobs, *jobs]))


def _when(moment: datetime | None) -> str:
    return "" if moment is None else f", {moment_text(moment)}"


def _draw_jobs(names: Sequence[str], jobs: Mapping[str, JobStatus]) -> None:
    columns = [name for name in COLUMNS if name in ALWAYS or any(getattr(job, name) for job in jobs.values())]
    rows = []
    for name in names:
        if job := jobs.get(name):
            rows.append([name, *(f"{getattr(job, column):,}" for column in columns), _due_text(job)])
        else:
            rows.append([name, *("" for _ in columns), "not run yet"])
    draw_table(["job", *columns, "due"], rows, numbers=columns)


def _unreadable(inspection: Inspection) -> bool:
    """Whether something is published here and cannot be read, as while a sync is under way; the first problem says why."""
    return "metadata" in inspection.unreadable


def _is_stale(inspection: Inspection, status: Status | None) -> bool:
    """Whether the metadata db is an older copy than was merged, which an update refuses."""
    published = inspection.metadata_db
    if published is None or status is None or status.revision is None:
        return False
    return published.id == status.metadata_id and published.revision < status.revision


def _outdated_text(inspection: Inspection, outdated: bool | None, status: Status | None) -> str:
    if _unreadable(inspection):
        return f"not known: {inspection.problems[0]}"
    if inspection.metadata_db is None:
        return "not known: there is no metadata db, sync it again"
    if outdated is None:
        return "no, this is the server"
    if _is_stale(inspection, status):
        return "the copy is older than what was merged: sync it again (if the remote went back: `mmmeta update --accept-older`)"
    if inspection.state_db is not None and inspection.metadata_db.unique != inspection.state_db.unique:
        return f"yes, but files are identified by {inspection.metadata_db.unique} now: `mmmeta state rekey --dry-run` says what becomes of them"
    return "yes: run `mmmeta update`" if outdated else "no"


def _revision(facts: DatabaseFacts | None, nothing: str) -> str:
    if facts is None:
        return nothing
    deleted = f", {facts.deleted:,} deleted" if facts.deleted else ""
    return f"revision {facts.revision}, {files_text(facts.files)}{deleted}"


def _due_text(job: JobStatus) -> str:
    if job.due:
        return f"{job.due:,} now"
    return "" if job.earliest_due is None else f"{job.earliest_due.astimezone():%Y-%m-%d %H:%M:%S}"
