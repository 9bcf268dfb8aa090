"""``mmmeta why``: what became of one file, whatever of it a person has at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mmmeta.cli.jobs.names import JobName, find_job, ledger_jobs, project_jobs
from mmmeta.cli.options import json_option, settings_options
from mmmeta.cli.output import SHOWN, echo_report, moment_text, note, plain, say
from mmmeta.cli.problems import DONE, ERROR, note_error
from mmmeta.cli.tables import draw_table
from mmmeta.cli.targets import Target, find_targets
from mmmeta.errors import MmmetaError, near_misses

if TYPE_CHECKING:
    from mmmeta.files.file import File
    from mmmeta.metadata.setaside import SetAside
    from mmmeta.metadir import Metadir


@click.command("why")
@click.argument("file")
@click.argument("job", required=False)
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, file: str, job: str | None, as_json: bool) -> None:
    """Say why a job has done a file, or has not.

    Whether the selection means it, and by which condition not; pending, done when and by which run, failed with what,
    waiting until when; and what the server has set aside. FILE is its unique value or how that begins (a hash), the
    name or the path of the document or of its metadata file, its address, or how its title begins. Without JOB all jobs
    are asked. Where several files are meant they are listed, and the exit code is 1.

    \b
    Examples:
      mmmeta why contract-003 download_contracts
      mmmeta why 7c4a8d0 archive/extract --json
      mmmeta why contracts/2024/lease.pdf
      mmmeta why "Lease of"

    \b
    --json, a line a job: {metadir, path, file, job, deleted, selected,
      unmet: [{condition, actual}], entry (as in `jobs failed --each`, or null),
      attempts (as in `jobs history`), most_attempts, again, set_aside, lines};
      for a file that no job has seen job is null; for several {word, matches, more}
    """
    name = None if job is None else find_job(ctx, job)
    targets = find_targets(ctx) if name is None else [name.target]
    codes = []
    for target in targets:
        try:
            codes.append(_answer(target, name, file, as_json))
        except Exception as error:
            if len(targets) == 1:
                raise
            note_error(target.name, error)
            codes.append(ERROR)
    if all(code is None for code in codes):
        raise MmmetaError(_never_seen(targets, file))
    if ERROR in codes:
        ctx.exit(ERROR)


def _answer(target: Target, name: JobName | None, word: str, as_json: bool) -> int | None:
    """Say what one metadir knows of a word; the exit code, or None where it knows nothing of it."""
    with target.open() as metadir:
        if name is not None:
            metadir.require_state()
        metadir.require_files()
        metadir.ignore_news()
        found = metadir.files.look_up(word, limit=SHOWN + 1)
        if len(found) > 1:
            return _list(target, metadir, word, found, as_json)
        merged = metadir.is_client
        if not found and merged and metadir.layout.meta_db.exists():
            found = metadir.files.look_up(word, limit=1, published=True)
            merged = not found
        aside = _set_aside(metadir, word, found)
        if not found and not aside:
            return None
        if not found or not merged:
            lines = _without_state(found, aside, is_client=metadir.is_client)
            file = found[0].unique_value if found else None
            _say(target, {"file": file, "job": None}, aside, lines, as_json)
            return DONE
        return _of_jobs(target, metadir, name, word, found[0], aside, as_json)


def _of_jobs(
    target: Target,
    metadir: Metadir,
    name: JobName | None,
    word: str,
    file: File,
    aside: Sequence[SetAside],
    as_json: bool,
) -> int:
    """What each job makes of a file."""
    names = [*project_jobs(target), *ledger_jobs(target)] if name is None else [name]
    if not as_json and word != file.unique_value:
        say(f"{word}: {_description(metadir, file)}")
    if not names:
        lines = [f"{file.unique_value}: merged (revision {file.revision}); {target.without_jobs}."]
        _say(target, {"file": file.unique_value, "job": None}, aside, lines, as_json)
    code = DONE
    for at, one in enumerate(names):
        try:
            explanation = one.find_in(metadir).why(file.unique_value)
        except MmmetaError as error:
            if name is not None:
                raise
            note_error(one.full, error)
            code = ERROR
            continue
        lines = list(explanation.lines)
        if name is None and not as_json:
            lines[0] = f"{one.full}: {lines[0]}"
        _say(target, explanation, aside if as_json or at == len(names) - 1 else (), lines, as_json)
    return code


def _say(target: Target, report: object, aside: Sequence[SetAside], lines: Sequence[str], as_json: bool) -> None:
    lines = [*lines, *(_aside_text(row) for row in aside if not any(row.path in line for line in lines))]
    if as_json:
        echo_report(target, report, set_aside=[plain(row) for row in aside], lines=lines)
        return
    first, *others = lines
    say(first)
    for line in others:
        say(f"  {line}")


def _set_aside(metadir: Metadir, word: str, found: Sequence[File]) -> list[SetAside]:
    """What the server has set aside of this file, or of what the word names."""
    from mmmeta.files.lookup import read_word
    from mmmeta.metadata.setaside import matching

    rows = metadir.inspect().set_aside.rows
    if found:
        return [row for row in rows if row.path == found[0].source]
    return matching(rows, read_word(word, metadir.layout.files_root).paths)[:SHOWN]


def _aside_text(row: SetAside) -> str:
    from mmmeta.metadata.setaside import DUPLICATE

    if row.kind == DUPLICATE:
        return f"{row.path}: passed over at the server: it {row.reason}."
    since = "" if row.since is None else f" since {moment_text(row.since)}"
    return f"{row.path}: set aside at the server{since}: {row.reason}"


def _without_state(found: Sequence[File], aside: Sequence[SetAside], *, is_client: bool) -> list[str]:
    """What can be said where no job can have seen the file."""
    if not found:
        return [_aside_text(row) for row in aside]
    file = found[0]
    more = "not merged yet: run `mmmeta update`" if is_client else "nothing was merged here, so no job has seen it"
    return [f"{file.unique_value}: published (revision {file.revision}); {more}."]


def _list(target: Target, metadir: Metadir, word: str, found: Sequence[File], as_json: bool) -> int:
    """Several files: what tells them apart."""
    rows = [
        {
            "file": file.unique_value,
            "name": file.get(metadir.config.metadata.file_name),
            "title": file.get("title"),
            "source": file.source,
            "deleted": file.deleted,
        }
        for file in found[:SHOWN]
    ]
    more = len(found) > SHOWN
    if as_json:
        echo_report(target, {"word": word, "matches": rows, "more": more})
        return ERROR
    columns = [key for key in ("file", "name", "title", "source", "deleted") if any(row[key] for row in rows)]
    draw_table(
        columns, [[row[key] for key in columns] for row in rows], below=["source"] if "source" in columns else []
    )
    count = f"more than {SHOWN}" if more else f"{len(rows)}"
    note(f"{target.name}: {count} files are meant by {word!r}: give one of these, by its first column")
    return ERROR


def _description(metadir: Metadir, file: File) -> str:
    parts: list[Any] = [file.get("title"), file.get(metadir.config.metadata.file_name)]
    words = [file.unique_value, *(repr(part) for part in parts if isinstance(part, str) and part)]
    return ", ".join(words) + (f", from {file.source}" if file.source else "")


def _never_seen(targets: Sequence[Target], word: str) -> str:
    """That no metadata file of that name was seen, with the near misses."""
    names: list[str] = []
    for target in targets:
        with target.open() as metadir:
            names += metadir.files.near_names(word)
            names += [row.path.rpartition("/")[2] for row in metadir.inspect().set_aside.rows]
    unique = f"there is no file {word!r}: no metadata file of that name was seen, nor is it a unique value or how one or a title begins."
    longer = [name for name in names if word and name.startswith(word)][:3]
    hint = f" Did you mean {' or '.join(map(repr, longer))}?" if longer else near_misses(word, dict.fromkeys(names))
    return unique + hint
