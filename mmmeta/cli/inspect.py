"""``mmmeta inspect``: what lies in a folder. It opens everything read-only and creates nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mmmeta.cli.options import json_option, settings_options
from mmmeta.cli.output import echo_report, listing, note, rest_text
from mmmeta.cli.problems import DONE, WITH_PROBLEMS, act_on
from mmmeta.cli.tables import draw_table
from mmmeta.cli.targets import Target, find_targets
from mmmeta.quantities import format_size

if TYPE_CHECKING:
    from mmmeta.inspection import DatabaseFacts, Inspection

KEYS = 40
"""Keys named before the rest is only counted; ``--json`` has all."""


@click.command("inspect")
@json_option
@settings_options
@click.pass_context
def verb(ctx: click.Context, as_json: bool) -> None:
    """Say what a folder holds: databases, roles, problems. Changes nothing.

    The exit code is 3 when something is wrong with what is there.

    \b
    Examples:
      mmmeta inspect
      mmmeta --metadir ./client inspect --json
    """

    def inspect(target: Target) -> int:
        with target.open() as metadir:
            inspection = metadir.inspect()
        if as_json:
            echo_report(target, inspection)
        else:
            _tell(target, inspection)
        return WITH_PROBLEMS if inspection.problems else DONE

    act_on(ctx, find_targets(ctx), inspect)


def _tell(target: Target, inspection: Inspection) -> None:
    rows: list[tuple[str, object]] = [("path", inspection.path), ("is", _role(inspection))]
    for role, facts in (("metadata", inspection.metadata_db), ("state", inspection.state_db)):
        rows += _database(f"{role} db", facts, "cannot be read" if role in inspection.unreadable else "none")
    if inspection.ignored:
        rows.append(
            (
                "ignored",
                f"{inspection.ignored:,} {'file or folder' if inspection.ignored == 1 else 'files and folders'} below the files root",
            )
        )
    if inspection.shadowed:
        rows.append(("shadowed keys", ", ".join(inspection.shadowed)))
    rows += [(f"store: {key}", value) for key, value in inspection.store.items()]
    draw_table([target.name, ""], rows)
    aside = inspection.set_aside
    if aside.rows:
        where = "here" if inspection.is_server else "at the server"
        title = f"  set aside {where}, {aside.problems:,} in all (`mmmeta why NAME` tells of one; --json has all):"
        listing(title, [f"{row.path}: {row.reason}" for row in aside.rows], len(aside.rows))
    for problem in inspection.problems:
        note(f"{target.name}: {problem}")


def _role(inspection: Inspection) -> str:
    if not inspection.exists:
        return "no metadir yet: generate makes one at a server, a sync brings one to a client"
    if inspection.is_legacy:
        return "a metadir of mmmeta 0.1-0.4"
    roles = {"a server": inspection.is_server, "a client": inspection.is_client}
    return " and ".join(role for role, held in roles.items() if held) or "a metadir, not updated yet"


def _database(name: str, facts: DatabaseFacts | None, nothing: str) -> list[tuple[str, object]]:
    if facts is None:
        return [(name, nothing)]
    keys = f"{', '.join(facts.keys[:KEYS])} {rest_text(KEYS, len(facts.keys))}".rstrip()
    return [
        (name, f"{facts.path} ({_size(facts)})"),
        ("  id", facts.id),
        ("  revision", facts.revision),
        ("  digest", facts.digest),
        ("  files", f"{facts.files:,}, and {facts.deleted:,} deleted"),
        ("  unique key", facts.unique),
        ("  keys", keys),
        ("  derived", _derived(facts)),
    ]


def _size(facts: DatabaseFacts) -> str:
    """Of a change log it is that of its segments, which lie beside the file that is named."""
    size = format_size(facts.bytes)
    return size if facts.path.endswith(".db") else f"its segments in changes/: {size}"


def _derived(facts: DatabaseFacts) -> str:
    """How many values the documents have told, in all and by key."""
    if facts.derived is None:
        return "not known before an update"
    if not facts.derived:
        return "no values"
    each = ", ".join(f"{key} {count:,}" for key, count in list(facts.derived.items())[:KEYS])
    return f"{sum(facts.derived.values()):,} values: {each} {rest_text(KEYS, len(facts.derived))}".rstrip()
