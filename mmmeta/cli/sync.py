"""``mmmeta sync``: a metadir from where a server publishes it, or to there."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from mmmeta.cli.group import OrderedGroup
from mmmeta.cli.options import dry_run_option, json_option, read_filters, settings_options
from mmmeta.cli.output import count_text, echo_report, files_text, listing, note, say
from mmmeta.cli.problems import DONE, WITH_PROBLEMS, act_on
from mmmeta.cli.progress import progress_bar
from mmmeta.cli.targets import Target, find_targets
from mmmeta.masking import shown
from mmmeta.quantities import format_duration, format_size

if TYPE_CHECKING:
    from mmmeta.filters.conditions import Condition
    from mmmeta.metadir import Metadir
    from mmmeta.project.syncing import SyncConfig
    from mmmeta.sync.documents import DocumentsReport
    from mmmeta.sync.report import SyncReport


@click.group("sync", cls=OrderedGroup, invoke_without_command=True)
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, as_json: bool) -> None:
    """Bring a metadir from where a server publishes it, or to there; only what is missing moves.

    For those who have no sync tool of their own. Places are folders, s3://, gs://, sftp:// and what else fsspec reads and writes;
    http:// and https:// are only read. The project file says them once, or names a program that does it:

    \b
    metadirs:
      archive:
        path: ./archive
        sync: {pull: "s3://bucket/archive"}

    Without a command it says where each metadir is pulled from and pushed to.

    \b
    Examples:
      mmmeta sync
      mmmeta sync pull && mmmeta run
      mmmeta sync push

    \b
    --json: {metadir, path, pull, push}
    """
    if ctx.invoked_subcommand is not None:
        return
    for target in find_targets(ctx):
        places = {direction: _place_text(target, direction) for direction in ("pull", "push")}
        if as_json:
            echo_report(target, places)
        else:
            said = [f"{direction} {place}" for direction, place in places.items() if place is not None]
            say(f"{target.name}: {'; '.join(said) or 'nothing says where to'}")


@verb.command("pull")
@click.argument("remote", required=False)
@click.option("--accept-older", is_flag=True, help="Take an older revision than the copy here has.")
@click.option("--documents", is_flag=True, help="Merge what came, and bring the documents that are missing as well.")
@click.option(
    "--where",
    "filters",
    multiple=True,
    metavar="FILTER",
    help="With --documents: of these files only, as `find` takes it.",
)
@dry_run_option
@json_option
@settings_options
@click.pass_context
def pull(
    ctx: click.Context,
    remote: str | None,
    accept_older: bool,
    documents: bool,
    filters: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Bring a client's copy to what the remote has published (client).

    REMOTE is the base path there, the folder that holds _mmmeta, as a path or URL; without it what the project file says under
    `sync:` counts. What is here does not move again, and a pull that was cut off goes on where it was; until all is here and
    proved, the copy stays as it was. Another archive's metadir, an older one, and one that two servers write are refused. The
    documents of --documents keep the places that they have below the remote's base path, below --files-root or `files_root:`.

    \b
    Examples:
      mmmeta sync pull && mmmeta run
      mmmeta --metadir ./client sync pull s3://bucket/archive
      mmmeta sync pull --documents --where document_type=contract

    \b
    --json: {metadir, path, place, revision_before, revision, is_new, files, bytes, removed, notes, duration, dry_run, documents}
    """
    condition = read_filters(filters) if filters else None
    if condition is not None and not documents:
        raise click.UsageError("--where chooses documents: add --documents.")

    def act(target: Target) -> int:
        config = _config(target, remote, "pull")
        return _pull(
            target, config, condition, accept_older=accept_older, documents=documents, dry_run=dry_run, as_json=as_json
        )

    act_on(ctx, _concerned(find_targets(ctx), remote, "pull"), act)


@verb.command("push")
@click.argument("remote", required=False)
@dry_run_option
@json_option
@settings_options
@click.pass_context
def push(ctx: click.Context, remote: str | None, dry_run: bool, as_json: bool) -> None:
    """Publish a metadir at another place, from where clients pull it (server).

    REMOTE is the base path there, as a path or URL; without it what the project file says under `sync:` counts. Segments of the
    change log go first, head.json and the store last, so that whoever pulls meanwhile has one revision or the other. A revision
    that was never here is not overwritten: that of another server, or of a newer copy.

    \b
    Examples:
      mmmeta generate && mmmeta sync push
      mmmeta sync push s3://bucket/archive

    \b
    --json: {metadir, path, place, revision_before, revision, is_new, files, bytes, removed, notes, duration, dry_run}
    """

    def act(target: Target) -> int:
        from mmmeta.sync import push as push_to

        config = _config(target, remote, "push")
        with target.open() as metadir, progress_bar() as progress:
            report = push_to(metadir.layout, config, dry_run=dry_run, progress=progress)
        if as_json:
            echo_report(target, report)
        else:
            _tell(target, report, "pushed", "to")
        return DONE

    act_on(ctx, _concerned(find_targets(ctx), remote, "push"), act)


def _pull(
    target: Target,
    config: SyncConfig,
    condition: Condition | None,
    *,
    accept_older: bool,
    documents: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    from mmmeta.sync import pull as pull_from

    with target.open() as metadir:
        with progress_bar() as progress:
            report = pull_from(metadir.layout, config, accept_older=accept_older, dry_run=dry_run, progress=progress)
        if not as_json:
            _tell(target, report, "pulled", "from")
        brought = None
        if documents or config.documents is not None:
            if dry_run:
                note("  documents are known after the pull: none is looked at in a dry run")
            else:
                brought = _documents(target, metadir, config, condition, report, accept_older=accept_older)
    if as_json:
        echo_report(target, report, documents=brought)
    elif brought is not None:
        _tell_documents(target, brought)
    return WITH_PROBLEMS if brought is not None and brought.failed else DONE


def _documents(
    target: Target,
    metadir: Metadir,
    config: SyncConfig,
    condition: Condition | None,
    report: SyncReport,
    *,
    accept_older: bool,
) -> DocumentsReport:
    from mmmeta.errors import SyncError
    from mmmeta.filters import to_where
    from mmmeta.project.download_targets import kept_from_remotes
    from mmmeta.sync.documents import pull_documents

    layout = metadir.layout
    if config.pull is None:
        raise SyncError("documents are brought from pull: only, for a program brings what it was told to")
    if layout.files_root == layout.base:
        raise SyncError(
            "nothing says where documents belong: name a folder for them with --files-root, or as files_root: in the project file"
        )
    metadir.update(accept_older=accept_older)
    chosen = to_where(condition) if condition is not None else config.documents or {}
    with progress_bar() as progress:
        return pull_documents(
            metadir.files.find(chosen),
            config.pull,
            layout.files_root,
            metadir.config,
            since=report.revision_before or 0,
            kept=kept_from_remotes(metadir.job_configs.values(), [layout.state], target.project),
            progress=progress,
        )


def _concerned(targets: list[Target], remote: str | None, direction: str) -> list[Target]:
    """The metadirs of which somebody says where to sync them.

    Raises:
        click.UsageError: none is, or one place is given for several.
    """
    if remote is not None:
        if len(targets) > 1:
            names = ", ".join(target.name for target in targets)
            raise click.UsageError(f"One place for several metadirs: name one with --metadir ({names}).")
        return targets
    found = [target for target in targets if _place_text(target, direction) is not None]
    if found:
        return found
    command = "command" if direction == "pull" else "push_command"
    example = f'sync: {{{direction}: "s3://bucket/archive"}}'
    raise click.UsageError(
        f"Nothing says where to {direction}: add the place (mmmeta sync {direction} s3://bucket/archive), or write {example}, or "
        f"a program as sync: {{{command}: […]}}, into the project file."
    )


def _place_text(target: Target, direction: str) -> str | None:
    """Where the project file says to pull from or push to, without secrets; None where it says nothing."""
    if target.config is None:
        return None
    sync = target.config.sync
    place, command = (sync.pull, sync.command) if direction == "pull" else (sync.push, sync.push_command)
    if command is not None:
        return f"by {shown(shlex.join(command))}"
    return None if place is None else f"{'from' if direction == 'pull' else 'to'} {shown(place)}"


def _config(target: Target, remote: str | None, direction: str) -> SyncConfig:
    """What the project file says, the place that was typed before it."""
    from pydantic import ValidationError

    from mmmeta.project.syncing import SyncConfig

    said = target.config.sync if target.config is not None else SyncConfig()
    if remote is None:
        return said
    try:
        if direction == "pull":
            return SyncConfig(pull=remote, documents=said.documents)
        return SyncConfig(push=remote)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise click.BadParameter(reason, param_hint="REMOTE") from None


def _tell(target: Target, report: SyncReport, done: str, way: str) -> None:
    facts = [f"{files_text(report.files)}, {format_size(report.bytes)}"] if report.files else []
    facts.append(format_duration(report.duration))
    if report.dry_run:
        facts += ["dry run", "nothing written"]
    revision = "nothing" if report.revision is None else f"revision {report.revision}"
    if report.dry_run and report.is_new:
        what = f"would be {done}: {revision} {way} {report.place}"
    elif report.is_new:
        what = f"{done} {revision} {way} {report.place}"
    else:
        what = f"nothing new, {revision} is there"
    say(f"{target.name}: {what} ({', '.join(facts)})")
    for sentence in report.notes:
        note(f"  {sentence}")


def _tell_documents(target: Target, report: DocumentsReport) -> None:
    facts = [f"{report.there:,} there already"] if report.there else []
    if report.bytes:
        facts.append(format_size(report.bytes))
    facts.append(format_duration(report.duration))
    say(f"{target.name}: {count_text(report.fetched, 'document')} brought ({', '.join(facts)})")
    listing(f"  {count_text(report.failed, 'document')} could not be had:", report.failures, report.failed)
