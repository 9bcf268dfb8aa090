"""The verbs with which an operator keeps a state db, and the table of all verbs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import syncs
import verbs
from verbs import STATE, Say, Verb, delivered, quiet
from worlds import NAMES, World, ledger, rows

from mmmeta.clock import utcnow
from mmmeta.errors import JobError, StateDbError
from mmmeta.jobs.versions import same_version
from mmmeta.state.backup import back_up, restore
from mmmeta.state.moved import moved
from mmmeta.state.prune import prune
from mmmeta.state.rekey import BEFORE as BEFORE_REKEY
from mmmeta.state.rekey import rekey

COPY = "copy.db"
RENAMED = "renamed"
KEPT = ".kept"


def worked(world: World) -> None:
    """Merged, a value of the client's own, and a job that has done all files."""
    delivered(world)
    verbs.save(world, quiet)
    verbs.loop(world, quiet)


def backed_up(root: Path, said: list[str]) -> Iterator[str]:
    """The copy is whole or not there; an older one is never lost."""
    found = rows(root / COPY, "SELECT count(*) FROM ledger WHERE status = 'done'")
    if found != [(len(NAMES),)]:
        yield f"the copy has {found}"


def copied_before(world: World) -> None:
    worked(world)
    copy(world, quiet)


def copy(world: World, say: Say) -> None:
    back_up(world.client.layout.state, world.root / COPY)
    say("copied")


def put_back(world: World, say: Say) -> None:
    layout = world.client.layout
    restore(world.root / COPY, layout, before=KEPT)
    take_away(layout.state.with_name(layout.state.name + KEPT))
    say("restored")


def take_away(path: Path) -> None:
    """What was there before: it depends on what had happened until then."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StateDbError(f"{path}: {error.strerror}") from error


def work_kept(root: Path, said: list[str]) -> Iterator[str]:
    """Before and after it, and whatever happened: the client's own values and what the job has done."""
    found = rows(root / STATE, "SELECT count(*) FROM ledger WHERE status = 'done'")
    if found != [(len(NAMES),)]:
        yield f"{found} of {len(NAMES)} done"
    columns = rows(root / STATE, "SELECT column_name FROM registry WHERE owner = 'client' AND key = 'note'")
    for (column,) in columns or [("none",)]:
        if (
            not columns
            or rows(root / STATE, f'SELECT "{column}" FROM files WHERE "{column}" IS NOT NULL') != [("own",)] * 2
        ):
            yield "the client's own values are not there"


def other_unique(world: World) -> None:
    worked(world)
    (world.server_path / "_mmmeta" / "config.yml").write_text("metadata:\n  unique: content_hash\n")
    world.server.close()
    World(world.root).server.generate(replace=True, allow_mass_delete=True)
    shutil.rmtree(world.client_path / "_mmmeta" / "changes", ignore_errors=True)
    world.sync()


def bring_along(world: World, say: Say) -> None:
    layout = world.client.layout
    try:
        rekey(layout, same_version)
    except StateDbError as error:
        if "nothing to do" not in str(error):
            raise
    take_away(layout.state.with_name(layout.state.name + BEFORE_REKEY))
    world.client.update()
    say("rekeyed")


def downloads_elsewhere(world: World) -> None:
    delivered(world)
    verbs.run_download(world, quiet)
    shutil.copytree(world.downloads, world.root / "elsewhere")


def tell_moved(world: World, say: Say) -> None:
    try:
        moved(world.client.layout, world.downloads, world.root / "elsewhere")
    except StateDbError as error:
        if "no job has put anything" not in str(error):
            raise
    say("moved")


def nothing_lost(root: Path, said: list[str]) -> Iterator[str]:
    """All results are at one of the two places."""
    found = {name for (name,) in rows(root / STATE, "SELECT target FROM targets")}
    places = {Path(place).name for place in found}
    if places not in ({"downloads"}, {"elsewhere"}) or (said and places != {"elsewhere"}):
        yield f"the results are in {found}"


def long_deleted(world: World) -> None:
    verbs.gone(world, lambda world: verbs.loop(world, quiet))
    world.client.job("loop").run(lambda file: None)


def make_smaller(world: World, say: Say) -> None:
    prune(world.client.layout, utcnow() + timedelta(days=999), history=timedelta(0), deleted=timedelta(0))
    say("pruned")


def pruned(root: Path, said: list[str]) -> Iterator[str]:
    statuses = {name: status for name, (status, *_) in ledger(root, "loop").items()}
    if {statuses.get(name) for name in ("a", "c")} != {"done"}:
        yield f"the job knows {statuses}"


def loaded(world: World) -> None:
    delivered(world)
    verbs.run_load(world, quiet)


def rename(world: World, say: Say) -> None:
    try:
        world.client.rename_job("load", RENAMED)
    except JobError as error:
        if "was it renamed before" not in str(error):
            raise
    say("renamed")


def renamed(root: Path, said: list[str]) -> Iterator[str]:
    """One of the two names has all, and its receipts with it."""
    known = [job for job in ("load", RENAMED) if len(ledger(root, job)) == len(NAMES)]
    receipts = {name for (name,) in rows(root / "target.db", "SELECT job FROM _mmmeta_receipts")}
    if len(known) != 1 or known[0] not in receipts:
        yield f"the ledger knows {known}, the receipts {receipts}"
    elif said and (known != [RENAMED] or receipts != {RENAMED}):
        yield f"renamed, and the ledger knows {known}, the receipts {receipts}"


VERBS: dict[str, Verb] = {
    **verbs.VERBS,
    "back up": Verb(copied_before, copy, backed_up),
    "restore": Verb(copied_before, put_back, work_kept),
    "rekey": Verb(other_unique, bring_along, work_kept),
    "moved": Verb(downloads_elsewhere, tell_moved, nothing_lost),
    "prune": Verb(long_deleted, make_smaller, pruned),
    "rename": Verb(loaded, rename, renamed),
    **syncs.VERBS,
}
