"""``mmmeta init``: the first verb in a folder as it is."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmmeta.cli.options import Settings, dry_run_option, json_option, settings_options
from mmmeta.cli.output import echo_json, note, rest_text, say
from mmmeta.cli.progress import progress_bar
from mmmeta.cli.targets import find_target
from mmmeta.clock import utcnow
from mmmeta.errors import MmmetaError
from mmmeta.layout import FILES_ROOT_ENVIRONMENT, PATH_ENVIRONMENT, Layout

if TYPE_CHECKING:
    from mmmeta.init.begin import Beginning, Proposed

PROJECT_ENVIRONMENT = "MMMETA_PROJECT"


@click.command("init")
@click.argument("folder", required=False, metavar="[FOLDER]")
@dry_run_option
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, folder: str | None, dry_run: bool, as_json: bool) -> None:
    """Look at a folder of documents and write a config.yml and a project file that fit it.

    Says which key identifies a file, how many have each key, of what types, which date formats there are, what is litter,
    and which documents have no metadata. It reads all of a small folder and a sample of a large one, writes _mmmeta/config.yml
    there and mmmeta.yaml in the current directory, and overwrites neither.

    \b
    Examples:
      mmmeta init ./documents
      mmmeta init --dry-run
    """
    from mmmeta.init.begin import begin

    layout, project = _places(ctx, folder)
    with progress_bar() as progress:
        beginning = begin(layout, project, now=utcnow(), dry_run=dry_run, progress=progress)
    if as_json:
        echo_json(_as_json(beginning))
    else:
        _tell(beginning, _next(layout, project, beginning))


def _places(ctx: click.Context, folder: str | None) -> tuple[Layout, Path]:
    """Where everything is or will be: argument, environment, current directory, in this order.

    Raises:
        click.UsageError: what was typed and the environment, which the next verbs follow, say different things.
    """
    settings = Settings.of(ctx)
    project = Path(settings.project or os.environ.get(PROJECT_ENVIRONMENT) or "mmmeta.yaml").expanduser().absolute()
    given_root = settings.files_root or os.environ.get(FILES_ROOT_ENVIRONMENT) or None
    if folder is not None and given_root is not None and not _same(folder, given_root):
        where = "--files-root" if settings.files_root else FILES_ROOT_ENVIRONMENT
        raise click.UsageError(
            f"Two folders of documents: {folder}, and {given_root} of {where}. Leave one of them out."
        )
    base: str | Path = settings.metadir or os.environ.get(PATH_ENVIRONMENT) or folder or "."
    root: str | Path = folder or given_root or base
    if folder is None and os.path.lexists(project):
        # What the project file says is what the next verbs act on.
        target = find_target(ctx)
        base, root = target.path, target.files_root or (target.config and target.config.files_root) or target.path
    return Layout.at(base, root), Path(os.path.normpath(project))


def _same(one: str, other: str) -> bool:
    return os.path.realpath(os.path.expanduser(one)) == os.path.realpath(os.path.expanduser(other))


def _next(layout: Layout, project: Path, beginning: Beginning) -> list[str]:
    """The commands that follow, as they can be typed here."""
    options = "" if project == Path.cwd() / "mmmeta.yaml" else f" --project {shlex.quote(str(project))}"
    environment = os.environ.get(PATH_ENVIRONMENT)
    if (environment and not _same(environment, str(layout.base))) or not _is_described(layout, beginning.project):
        options += f" --metadir {shlex.quote(str(layout.base))}"
    no_meta = " --no-meta" if beginning.proposal.no_meta else ""
    return [f"mmmeta{options} generate{no_meta}", f"mmmeta{options} run"]


def _is_described(layout: Layout, file: Proposed) -> bool:
    """Whether the project file has this metadir, and no other that a verb could mean instead."""
    from mmmeta.init.begin import LEFT
    from mmmeta.project import load_project

    if file.outcome != LEFT:
        return True
    try:
        metadirs = load_project(file.path).metadirs
    except MmmetaError:
        return False  # the next verb says what is wrong with it
    return [str(metadir.path) for metadir in metadirs.values()] == [str(layout.base)]


def _tell(beginning: Beginning, commands: list[str]) -> None:
    from mmmeta.cli.tables import draw_table
    from mmmeta.init.findings import findings, identity_sentences, key_rows, rest_of_keys

    folder, proposal = beginning.folder, beginning.proposal
    say(f"{folder.root}:")
    for finding in findings(folder):
        say(f"  {finding.sentence}")
        for example in finding.examples:
            say(f"    {example}")
        if rest := rest_text(len(finding.examples), finding.count):
            say(f"    {rest}")
    rows = key_rows(folder)
    if rows:
        draw_table(["key", "records", "values"], rows)
        if rest := rest_text(len(rows), len(rows) + rest_of_keys(folder)):
            say(f"  {rest}")
    for sentence in identity_sentences(folder, proposal):
        say(sentence)
    for file in (beginning.config, beginning.project):
        if file is not None:
            _tell_file(file)
    if beginning.config is None:
        note(
            "There is a metadata db that was made without a config.yml, so none is written: it would change what is there."
        )
    say("Next:")
    for command in commands:
        say(f"  {command}")


def _tell_file(file: Proposed) -> None:
    from mmmeta.init import begin

    if file.outcome == begin.WRITTEN:
        say(f"Written: {file.path}")
        return
    if file.outcome == begin.SAME:
        say(f"There already, and just this: {file.path}")
        return
    say(
        f"Would write {file.path}:"
        if file.outcome == begin.WOULD
        else f"There already and left as it is: {file.path}. Proposed:"
    )
    for line in file.text.splitlines():
        say(f"  {line}")


def _as_json(beginning: Beginning) -> dict[str, object]:
    from mmmeta.init.findings import describe

    folder, proposal = beginning.folder, beginning.proposal
    files = {"config": beginning.config, "project": beginning.project}
    return {
        "path": str(folder.root),
        "metadata_files": folder.metadata_files,
        "read": folder.read,
        "documents": folder.documents,
        "without_metadata": folder.bare,
        "without_document": folder.orphans.count,
        "ignored": folder.ignored,
        "set_aside": folder.set_aside.count,
        "problems": [str(problem) for problem in (*folder.set_aside.named, *folder.unseen.named)],
        "copies": folder.copies.count,
        "records": folder.keys.records,
        "keys": {
            key: {"records": facts.count, "types": dict(facts.types), "values": describe(facts)}
            for key, facts in folder.keys.facts.items()
        },
        "unique": proposal.unique,
        "without_unique": proposal.set_aside,
        "shared_unique": proposal.lost,
        "dates": proposal.dates,
        "files": {
            name: {"path": str(file.path), "outcome": file.outcome, "text": file.text}
            for name, file in files.items()
            if file is not None
        },
    }
